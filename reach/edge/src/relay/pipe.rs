//! Pipes, through which `splice` moves bytes between sockets without a copy to this process.
//!
//! Invariant: a pipe that is given back is empty; one that still holds bytes is closed instead, so that
//! no connection ever sees another's bytes.

use rustix::{
    io,
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// How much a pipe shall hold; the kernel allows everybody 1 MiB (pipe(7), `pipe-max-size`).
const CAPACITY: usize = 256 << 10;
/// How many unused pipes are kept.
const KEPT: usize = 64;

/// A bounded number of pipes.
#[derive(Clone)]
pub(crate) struct Pipes(Arc<Shared>);

struct Shared {
    free: Mutex<Vec<Ends>>,
    made: AtomicUsize,
    most: usize,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

/// A pipe on loan.
pub(crate) struct Pipe {
    ends: Option<Ends>,
    held: usize,
    of: Pipes,
}

impl Pipes {
    /// At most `most` at a time.
    pub(crate) fn new(most: usize) -> Pipes {
        Pipes(Arc::new(Shared { free: Mutex::default(), made: AtomicUsize::new(0), most }))
    }

    /// An empty pipe, if one may be had.
    pub(crate) fn take(&self) -> Option<Pipe> {
        let kept = self.free().pop();
        let ends = match kept {
            Some(ends) => ends,
            None if self.0.made.fetch_add(1, Relaxed) < self.0.most => match Ends::new() {
                Ok(ends) => ends,
                Err(error) => {
                    tracing::debug!(%error, "no pipe: copying instead");
                    self.0.made.fetch_sub(1, Relaxed);
                    return None;
                }
            },
            None => {
                self.0.made.fetch_sub(1, Relaxed);
                return None;
            }
        };
        Some(Pipe { ends: Some(ends), held: 0, of: self.clone() })
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Ends>> {
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ends {
    fn new() -> io::Result<Ends> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A user who has many pipes is refused a larger one: what there is will do.
        let capacity = fcntl_setpipe_size(&write, CAPACITY).unwrap_or(4096);
        Ok(Ends { read, write, capacity })
    }
}

impl Pipe {
    /// How many bytes are in it.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Moves what a socket has into the pipe, which is empty: so `WouldBlock` speaks of the socket. 0 is
    /// its end.
    pub(crate) fn fill(&mut self, from: impl AsFd) -> std::io::Result<usize> {
        debug_assert_eq!(self.held, 0);
        let Some(ends) = &self.ends else { return Ok(0) };
        self.held = splice(from, None, &ends.write, None, ends.capacity, FLAGS)?;
        Ok(self.held)
    }

    /// Moves what the pipe holds to a socket, as much as it takes.
    pub(crate) fn drain(&mut self, to: impl AsFd) -> std::io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let moved = splice(&ends.read, None, to, None, self.held, FLAGS)?;
        self.held -= moved;
        Ok(moved)
    }
}

const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        let mut free = self.of.free();
        if self.held == 0 && free.len() < KEPT {
            free.push(ends);
        } else {
            self.of.0.made.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    #[test]
    fn a_pipe_that_still_holds_bytes_is_not_lent_again() {
        let pipes = Pipes::new(1);
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"secret").unwrap();
        let mut pipe = pipes.take().unwrap();
        assert!(pipes.take().is_none(), "one is all there may be");
        assert_eq!(pipe.fill(&theirs).unwrap(), 6);
        drop(pipe);
        let mut pipe = pipes.take().expect("another was made for it");
        ours.write_all(b"open").unwrap();
        pipe.fill(&theirs).unwrap();
        let (mut reader, writer) = UnixStream::pair().unwrap();
        assert_eq!(pipe.drain(&writer).unwrap(), 4);
        drop((pipe, writer));
        let mut got = String::new();
        reader.read_to_string(&mut got).unwrap();
        assert_eq!(got, "open");
        assert!(pipes.take().is_some(), "an empty one is lent again");
    }
}
