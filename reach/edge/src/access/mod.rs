//! The access log: one line for each connection that has ended, in files that are bounded and rotated.
//!
//! Who carries traffic only leaves a record in memory; a thread of its own formats and writes. Invariant:
//! traffic never waits for the disk, and what could not be kept is counted.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use reader::read;

use freehold_model::{EndpointId, traffic::AccessLine};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle, Thread},
};

/// At most so many lines wait to be written.
const WAITING: usize = 100_000;

/// Where lines are left, by whoever carries traffic.
#[derive(Clone)]
pub(crate) struct Access(Option<Arc<Shared>>);

struct Shared {
    queue: Mutex<Queue>,
    lost: Mutex<BTreeMap<EndpointId, u64>>,
    writer: Thread,
}

#[derive(Default)]
struct Queue {
    lines: Vec<AccessLine>,
    is_closed: bool,
}

/// The thread that writes them. Dropping it writes what still waits.
pub(crate) struct Writing {
    access: Access,
    thread: Option<JoinHandle<()>>,
}

impl Access {
    /// Writes to files in `folder`; nowhere if there is none.
    pub(crate) fn start(folder: Option<PathBuf>) -> (Access, Writing) {
        let Some(folder) = folder else {
            return (Access(None), Writing { access: Access(None), thread: None });
        };
        // The thread is there before what it shares: it is given that once both are.
        let (give, given) = std::sync::mpsc::channel();
        let work =
            move || given.recv().into_iter().for_each(|shared: Arc<Shared>| writer::run(&shared, &folder));
        let thread = match thread::Builder::new().name("access-log".into()).spawn(work) {
            Ok(thread) => thread,
            Err(error) => {
                tracing::error!(%error, "there is no access log");
                return (Access(None), Writing { access: Access(None), thread: None });
            }
        };
        let (queue, lost) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { queue, lost, writer: thread.thread().clone() });
        let _ = give.send(Arc::clone(&shared));
        let access = Access(Some(shared));
        (access.clone(), Writing { access, thread: Some(thread) })
    }

    /// Leaves a line to be written, or counts it as lost when too many wait.
    pub(crate) fn note(&self, line: AccessLine) {
        let Some(shared) = &self.0 else { return };
        let mut queue = shared.queue();
        if queue.lines.len() >= WAITING {
            drop(queue);
            return shared.lose(line.endpoint, 1);
        }
        queue.lines.push(line);
        if queue.lines.len() == 1 {
            shared.writer.unpark();
        }
    }

    /// How many lines of an endpoint could not be kept.
    pub(crate) fn lost(&self, endpoint: EndpointId) -> u64 {
        let lost = self.0.as_ref().map(|shared| shared.lost.lock().unwrap_or_else(PoisonError::into_inner));
        lost.and_then(|lost| lost.get(&endpoint).copied()).unwrap_or(0)
    }
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, endpoint: EndpointId, count: u64) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner).entry(endpoint).or_default() += count;
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let (Some(shared), Some(thread)) = (&self.access.0, self.thread.take()) {
            shared.queue().is_closed = true;
            shared.writer.unpark();
            let _ = thread.join();
        }
    }
}

/// The file of an endpoint: the one that is written now, or the one before it.
fn path(folder: &Path, endpoint: EndpointId, is_old: bool) -> PathBuf {
    folder.join(format!("{endpoint}.log{}", if is_old { ".1" } else { "" }))
}
