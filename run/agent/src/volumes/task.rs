//! Does what a volume was asked to do: snapshot, restore, removal of a snapshot. Called by the keeper, in a
//! task of its own.
//!
//! Invariant: doing it again after a crash ends as if it had been done once. What was done is noted on the
//! disk before anybody may write to the volume again.

use super::{Volumes, store::Store};
use freehold_model::{Bytes, Name, TaskState, TaskStatus, VolumeAction, VolumeId, VolumeTask};
use freehold_runtime::volume::Frozen;
use jiff::Timestamp;
use std::{io, sync::Arc, time::Instant};

/// Does `task` and notes how it ended.
pub(super) async fn perform(volumes: &Arc<Volumes>, id: VolumeId, task: &VolumeTask, size: Bytes) {
    let store = volumes.store(id);
    let done = match &task.action {
        VolumeAction::Snapshot(name) => snapshot(volumes, id, name.clone(), task.asked).await,
        VolumeAction::Restore(name) => return restore(volumes, id, name.clone(), task, size).await,
        VolumeAction::Drop(name) => {
            let (store, name) = (store.clone(), name.clone());
            blocking(move || store.drop_snapshot(&name)).await.map(|()| "removed".into())
        }
    };
    note(&store, task, done).await;
}

async fn note(store: &Store, task: &VolumeTask, done: io::Result<String>) {
    let status = match done {
        Ok(message) => TaskStatus { id: task.id.clone(), state: TaskState::Done, message },
        Err(error) => {
            TaskStatus { id: task.id.clone(), state: TaskState::Failed, message: error.to_string() }
        }
    };
    let store = store.clone();
    if let Err(error) = blocking(move || store.note_task(&status)).await {
        tracing::error!(%error, "how a volume's task ended cannot be noted; it is done again");
    }
}

async fn snapshot(volumes: &Arc<Volumes>, id: VolumeId, name: Name, asked: Timestamp) -> io::Result<String> {
    let (store, writer) = (volumes.store(id), volumes.holder(id));
    blocking(move || {
        // Its time is that of the request: this one was taken before a crash, and not noted.
        if store.snapshots().iter().any(|it| it.name == name && it.taken == asked) {
            return Ok("taken".into());
        }
        let begin = Instant::now();
        let frozen = writer.map(Frozen::freeze).transpose()?;
        let draft = store.take_snapshot(&name, asked)?;
        drop(frozen);
        let stood = begin.elapsed();
        store.keep_snapshot(&draft, &name)?;
        Ok(match writer {
            Some(writer) => format!("taken; {writer} stood still for {stood:.1?}"),
            None => "taken; nobody wrote meanwhile".into(),
        })
    })
    .await
}

async fn restore(volumes: &Arc<Volumes>, id: VolumeId, name: Name, task: &VolumeTask, size: Bytes) {
    let store = volumes.store(id);
    let drafting = store.clone();
    if let Err(error) = blocking(move || drafting.draft_restore(&name, size)).await {
        return note(&store, task, Err(error)).await;
    }
    let hold = volumes.hold(id).await;
    let swapping = store.clone();
    let swapped = blocking(move || swapping.swap_restored()).await;
    note(&store, task, swapped.map(|()| "restored".into())).await;
    drop(hold);
    let forgetting = store;
    if let Err(error) = blocking(move || forgetting.forget_replaced()).await {
        tracing::warn!(volume = %id, %error, "what a restore replaced cannot be removed yet");
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(act).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
