//! Does what a volume was asked to do: snapshot, restore, removal of a snapshot. Called by the keeper, in a
//! task of its own.
//!
//! Invariant: doing it again after a crash ends as if it had been done once. That a restore was done is noted
//! on the disk before anybody may write to the volume again. Whatever waits for somebody has a deadline.

use super::{Hold, Volumes, store::Store, work::Work};
use freehold_model::{Bytes, Name, TaskState, TaskStatus, VolumeAction, VolumeId, VolumeTask};
use freehold_runtime::volume::Frozen;
use jiff::Timestamp;
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// An instance is gone so soon after it was killed, or something is wrong with it.
const AFTER_KILL: Duration = Duration::from_secs(30);

/// Does `task` and notes how it ended.
pub(super) async fn perform(volumes: &Arc<Volumes>, id: VolumeId, task: &VolumeTask, size: Bytes) {
    let (store, work) = (volumes.store(id), Work::begin(volumes, id));
    if task.cancelled {
        volumes.call_off(id);
    }
    let done = match (work.goes_on(), &task.action) {
        (Err(off), _) => Err(off),
        (_, VolumeAction::Snapshot(name)) => snapshot(volumes, id, name, task.asked, &work).await,
        (_, VolumeAction::Restore(name)) => restore(volumes, id, name, task, size, &work).await,
        (_, VolumeAction::Drop(name)) => {
            let (store, name) = (store.clone(), name.clone());
            blocking(move || store.drop_snapshot(&name)).await.map(|()| "removed".into())
        }
    };
    let status = match done {
        Ok(message) => TaskStatus { message, ..as_done(task) },
        Err(error) => failed(task, &error.to_string()),
    };
    volumes.note_ended(id, &status);
    if let Err(error) = blocking(move || store.note_task(&status)).await {
        tracing::warn!(volume = %id, %error, "how a volume's task ended is not noted on the disk");
    }
}

/// That a task ended without being done.
pub(super) fn failed(task: &VolumeTask, why: &str) -> TaskStatus {
    TaskStatus { id: task.id.clone(), state: TaskState::Failed, message: why.to_owned() }
}

fn as_done(task: &VolumeTask) -> TaskStatus {
    TaskStatus { id: task.id.clone(), state: TaskState::Done, message: "restored".into() }
}

async fn snapshot(
    volumes: &Arc<Volumes>,
    id: VolumeId,
    name: &Name,
    asked: Timestamp,
    work: &Arc<Work>,
) -> io::Result<String> {
    let (store, writer) = (volumes.store(id), volumes.writer(id).map(|writer| writer.instance));
    let (name, work) = (name.clone(), Arc::clone(work));
    work.say(match writer {
        Some(writer) => format!("copies what it holds; {writer} stands still meanwhile"),
        None => "copies what it holds".into(),
    });
    blocking(move || {
        // Its time is that of the request: this one was taken before a crash, and not noted.
        if store.snapshots().iter().any(|it| it.name == name && it.taken == asked) {
            return Ok("taken".into());
        }
        let begin = Instant::now();
        let frozen = writer.map(Frozen::freeze).transpose()?;
        let draft = store.take_snapshot(&name, asked, &|| work.goes_on())?;
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

async fn restore(
    volumes: &Arc<Volumes>,
    id: VolumeId,
    name: &Name,
    task: &VolumeTask,
    size: Bytes,
    work: &Arc<Work>,
) -> io::Result<String> {
    let (store, name, ended) = (volumes.store(id), name.clone(), as_done(task));
    work.say("copies the snapshot beside what it holds".into());
    let (drafting, going_on) = (store.clone(), Arc::clone(work));
    // Its note, too: what is left to do needs no room on the disk.
    let drafted = blocking(move || {
        drafting.draft_restore(&name, size, &|| going_on.goes_on())?;
        drafting.draft_note(&ended)
    });
    let swapped = match drafted.await {
        Err(error) => Err(error),
        Ok(()) => match hold(volumes, id, work).await {
            Err(error) => Err(error),
            Ok(hold) => {
                let swapping = store.clone();
                let swapped = blocking(move || swapping.swap_restored()).await;
                drop(hold);
                swapped
            }
        },
    };
    forget_replaced(id, store).await;
    swapped.map(|()| as_done(task).message)
}

async fn forget_replaced(id: VolumeId, store: Store) {
    if let Err(error) = blocking(move || store.forget_replaced()).await {
        tracing::warn!(volume = %id, %error, "what a restore replaced cannot be removed yet");
    }
}

/// Has the instance that writes to the volume stopped, and keeps the volume from others.
async fn hold(volumes: &Arc<Volumes>, id: VolumeId, work: &Work) -> io::Result<Hold> {
    let writer = volumes.writer(id);
    let longest = writer.as_ref().map_or(AFTER_KILL, |writer| writer.patience + AFTER_KILL);
    let who = writer.map_or_else(String::new, |it| format!("{} ({})", it.process, it.instance));
    if !who.is_empty() {
        work.say(format!("waits until {who} has stopped, {}s at most", longest.as_secs()));
    }
    let hold = tokio::select! {
        biased;
        () = work.called_off() => None,
        hold = volumes.hold(id) => Some(hold),
        () = sleep(longest) => return Err(io::Error::other(format!(
            "{who} has not stopped within {}s; the volume is as before",
            longest.as_secs()
        ))),
    };
    work.goes_on()?;
    hold.ok_or_else(|| io::Error::other("it was called off"))
}

pub(super) async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(act).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
