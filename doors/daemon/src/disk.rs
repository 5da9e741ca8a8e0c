//! Looks at the node's disk every minute and says in the node's status when it has too little room.

use crate::tasks::periodically;
use freehold_model::{Actor, Condition, Node, NodeId, NodeSpec, NodeStatus, Txn};
use freehold_reconcile::{Clock, Store, TaskHandle, TaskSpec, ViewExt as _};
use freehold_runtime::doctor::Room;
use serde_json::json;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
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
    let told = Told::default();
    periodically(task, (Duration::ZERO, EVERY), shutdown, async || match Room::of(&data) {
        Ok(room) => say(&*store, &*clock, node, room, &told).await,
        Err(_) => Ok(()),
    })
    .await;
}

/// How much was free when that was said last; 0 before.
#[derive(Default)]
struct Told(AtomicU64);

/// Whether it is worth an event that there is `room` where it was `low` before. With enough room, how much it is
/// is none; with too little, less than a tenth of the reserve more or less is none, and neither is so much above
/// the reserve: a disk in use would make an event each minute.
fn is_news(low: Option<bool>, told: u64, room: Room) -> bool {
    let (free, step) = (room.free.0, room.reserve.0 / 10);
    match (low, room.is_low()) {
        (None, _) | (Some(false), true) => true,
        (Some(false), false) => false,
        (Some(true), true) => free.abs_diff(told) >= step,
        (Some(true), false) => free - room.reserve.0 >= step,
    }
}

/// Commits what is news.
async fn say(
    store: &dyn Store,
    clock: &dyn Clock,
    node: NodeId,
    room: Room,
    told: &Told,
) -> anyhow::Result<()> {
    let view = store.view().await?;
    let Some(known) = view.find::<NodeSpec>(node)? else { return Ok(()) };
    drop(view);
    let old = known.status.conditions.iter().find(|it| it.kind == NodeStatus::DISK);
    let message = if room.is_low() { room.to_string() } else { "enough is free".into() };
    if !is_news(old.map(|old| !old.state), told.0.load(Relaxed), room)
        || old.is_some_and(|old| old.message == message)
    {
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
    store.commit(txn).await?;
    told.0.store(room.free.0, Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::Bytes;

    #[test]
    fn a_disk_in_use_about_its_reserve_is_no_news_each_minute() {
        let room = |free| Room { free: Bytes(free), reserve: Bytes(1000) };
        let rows = [
            (None, 0, 2000, true),
            (Some(false), 0, 1500, false),
            (Some(false), 0, 999, true),
            (Some(true), 999, 950, false),
            (Some(true), 999, 899, true),
            (Some(true), 899, 1050, false),
            (Some(true), 899, 1100, true),
        ];
        for (low, told, free, news) in rows {
            assert_eq!(is_news(low, told, room(free)), news, "{low:?}, {told} before, {free} now");
        }
    }
}
