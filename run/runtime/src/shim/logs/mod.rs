//! The way of an instance's output into its log: [`lines`] makes lines of it, a thread writes them to
//! [`file`]. Called by the shim's loop.
//!
//! Invariant: the instance never waits for the disk longer than [`PATIENCE`] at a time. What is not
//! written by then is dropped, counted, and said in the log itself; memory is bounded by [`BUFFER`].

mod file;
mod lines;

use crate::{launch::LogLimits, logs::LONGEST_LINE};
use file::LogFile;
use freehold_model::logs::LogStream;
use lines::Lines;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// So much waits for the disk, and as much again is being written.
const BUFFER: usize = 4 << 20;
/// The instance waits so long for a disk that cannot follow; then lines are dropped.
const PATIENCE: Duration = Duration::from_millis(100);
/// And the shim so long for the last lines.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// Takes lines to where they are kept.
trait Sink: Send + 'static {
    /// Writes whole lines. What it cannot write it counts, and says so with what comes next.
    fn write(&mut self, lines: &[u8]);
}

/// The log of one instance, opened for writing. It has a thread: nothing may fork after it was made.
pub(super) struct LogWriter {
    lines: Lines,
    shared: Arc<Shared>,
    /// Since when the buffer has no room for what `lines` holds.
    full: Option<Instant>,
    /// Lines are dropped until half of the buffer is free again.
    dropping: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// An event after each write.
    written: OwnedFd,
}

#[derive(Default)]
struct State {
    /// Waits to be written.
    ready: Vec<u8>,
    closed: bool,
    finished: bool,
}

impl LogWriter {
    /// Goes on where an earlier run stopped. A directory that cannot be written to is a full disk.
    ///
    /// # Errors
    /// When there is no thread or no descriptor to be had.
    pub(super) fn open(dir: &Path, limits: LogLimits) -> io::Result<LogWriter> {
        LogWriter::to(LogFile::open(dir, limits))
    }

    fn to(mut sink: impl Sink) -> io::Result<LogWriter> {
        let written = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), written });
        let writing = Arc::clone(&shared);
        let thread = thread::Builder::new().name("log".into()).stack_size(128 << 10);
        thread.spawn(move || writing.write_all(&mut sink))?;
        Ok(LogWriter { lines: Lines::default(), shared, full: None, dropping: false })
    }

    /// Takes output as it comes. To be followed by [`Self::pass_on`].
    pub(super) fn push(&mut self, stream: LogStream, bytes: &[u8]) {
        self.lines.push(stream, bytes);
    }

    /// Passes complete lines on to the thread. Afterwards [`Self::has_room`] says whether more may come.
    pub(super) fn pass_on(&mut self) {
        if self.lines.ready.is_empty() {
            return;
        }
        let mut state = self.shared.lock();
        let room = if self.dropping { BUFFER / 2 } else { BUFFER };
        if state.ready.is_empty() || state.ready.len() + self.lines.ready.len() <= room {
            state.ready.append(&mut self.lines.take());
            drop(state);
            self.shared.changed.notify_all();
            (self.full, self.dropping) = (None, false);
            return;
        }
        drop(state);
        let since = *self.full.get_or_insert_with(Instant::now);
        if self.dropping || since.elapsed() >= PATIENCE {
            self.lines.drop_ready();
            (self.full, self.dropping) = (None, true);
        }
    }

    /// Whether output may be read. Otherwise [`Self::written`] tells when to pass on again, or
    /// [`Self::patience`] is over.
    pub(super) fn has_room(&self) -> bool {
        self.full.is_none()
    }

    /// How much longer to wait for room.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.full.map(|since| PATIENCE.saturating_sub(since.elapsed()))
    }

    /// Readable after something was written.
    pub(super) fn written(&self) -> BorrowedFd<'_> {
        self.shared.written.as_fd()
    }

    /// Forgets that something was written.
    pub(super) fn noticed(&self) {
        let _ = rustix::io::read(&self.shared.written, &mut [0; 8]);
    }

    /// For the end, when nobody is held up: waits until there is room, though not for ever.
    pub(super) fn wait_for_room(&mut self) {
        let deadline = Instant::now() + LAST_PATIENCE;
        self.dropping = false;
        self.pass_on();
        while !self.has_room() && Instant::now() < deadline {
            let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            let _ = poll(&mut [PollFd::new(&self.shared.written, PollFlags::IN)], Some(&timeout));
            self.noticed();
            self.full = Some(Instant::now());
            self.pass_on();
        }
    }

    /// Writes the last lines, which may have no line feed, and waits until they are written.
    pub(super) fn finish(mut self) {
        self.lines.finish();
        self.wait_for_room();
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.changed.notify_all();
        let unfinished = |state: &mut State| !state.finished;
        let waited = self.shared.changed.wait_timeout_while(state, LAST_PATIENCE, unfinished);
        drop(waited);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn write_all(&self, sink: &mut impl Sink) {
        loop {
            let nothing = |state: &mut State| state.ready.is_empty() && !state.closed;
            let waited = self.changed.wait_while(self.lock(), nothing);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            let ready = std::mem::take(&mut state.ready);
            if ready.is_empty() {
                state.finished = true;
                self.changed.notify_all();
                return;
            }
            drop(state);
            sink.write(&ready);
            let _ = rustix::io::write(&self.written, &1_u64.to_ne_bytes());
        }
    }
}

/// More than the longest line and what stands before it always fits an empty buffer.
const _: () = assert!(BUFFER > 2 * LONGEST_LINE);

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
