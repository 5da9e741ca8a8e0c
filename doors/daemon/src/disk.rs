//! Looks at the node's disk every minute and says in the node's status when it has too little room.

use crate::tasks::periodically;
use freehold_model::{Actor, Condition, Node, NodeId, NodeSpec, NodeStatus, Txn};
use freehold_reconcile::{Clock, Store, TaskHandle, TaskSpec, ViewExt as _};
use freehold_runtime::doctor::Room;
use serde_json::json;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(60);

/// What [`run`] is on the board of tasks.
pub(crate) fn spec() -> TaskSpec {
    TaskSpec::new("watch-disk", "Says when the node's disk has too little room.").every(EVERY)
}

/// Looks until `shutdown`.
pub(crate) async fn run(
    (store, clock): (Arc<dyn Store>, Arc<dyn Clock>),
    node: NodeId,
    data: PathBuf,
    task: TaskHandle,
    shutdown: CancellationToken,
) {
    periodically(task, (Duration::ZERO, EVERY), shutdown, async || match Room::of(&data) {
        Ok(room) => say(&*store, &*clock, node, room).await,
        Err(_) => Ok(()),
    })
    .await;
}

/// Commits what is news: with enough room, how much it is is none.
async fn say(store: &dyn Store, clock: &dyn Clock, node: NodeId, room: Room) -> anyhow::Result<()> {
    let view = store.view().await?;
    let Some(known) = view.find::<NodeSpec>(node)? else { return Ok(()) };
    drop(view);
    let old = known.status.conditions.iter().find(|it| it.kind == NodeStatus::DISK);
    let message = if room.is_low() { room.to_string() } else { "enough is free".into() };
    if old.is_some_and(|old| old.message == message) {
        return Ok(());
    }
    let since = old.filter(|old| old.state != room.is_low()).map_or(clock.now(), |old| old.since);
    let (was_low, is_low) = (old.is_some_and(|old| !old.state), room.is_low());
    let mut status = known.status.clone();
    status.conditions.retain(|it| it.kind != NodeStatus::DISK);
    status.conditions.push(Condition {
        kind: NodeStatus::DISK.into(),
        state: !is_low,
        reason: if is_low { "LowDisk" } else { "Room" }.into(),
        message,
        since,
    });
    let mut txn = Txn::new(Actor::Node(node.to_string()), "observed", "agent");
    // Others write conditions of their own: who came between is read a minute later.
    txn.put_status(&Node { status, ..known });
    if was_low != is_low {
        let what = if is_low { "node.low_disk" } else { "node.disk_room" };
        txn.event(node, what, json!({ "free": room.free, "reserve": room.reserve }));
    }
    Ok(store.commit(txn).await.map(drop)?)
}
