//! One direction of a connection: from one socket to the other, to the end, as an end.
//!
//! Bytes that come in small pieces are copied through a buffer that the thread's connections share;
//! a stream that fills it is spliced through a pipe until it is slow again. Invariant: nothing is read
//! while something read before is not written yet, so memory is bounded and order is kept; the end is
//! passed on only after the last byte.

use super::pipe::{Pipe, Pipes};
use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

/// The buffer of a thread. A read that fills it speaks for more to come.
const SCRATCH: usize = 64 << 10;
/// After so many full reads in a row splicing begins.
const FAST: u8 = 2;
/// After so many small pieces in a row it ends.
const SLOW: u8 = 16;
/// What a small piece is, where a copy costs less than a second call to look for more.
const SMALL: usize = 16 << 10;

/// After so many bytes it is another connection's turn. Longer gulps starve the others, and make the
/// kernel offer the sender a window that it then fills.
const TURN: u64 = 128 << 10;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// The way from one socket to the other.
#[derive(Default)]
pub(super) struct Flow {
    way: Way,
    /// Read, but not written yet.
    rest: Vec<u8>,
    written: usize,
    /// Full reads, or small pieces, in a row.
    streak: u8,
    is_at_end: bool,
    /// Bytes that were passed on.
    pub(super) bytes: u64,
}

#[derive(Default)]
enum Way {
    #[default]
    Copy,
    Splice(Pipe),
    /// The kernel cannot splice these sockets.
    CopyOnly,
}

/// Where a flow broke.
#[derive(Debug, Clone, Copy)]
pub(super) enum Broken {
    /// Where it comes from.
    Reading,
    /// Where it goes.
    Writing,
}

impl Flow {
    /// Moves what can be moved; ready once the end was passed on.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        pipes: &Pipes,
    ) -> Poll<Result<(), Broken>> {
        let turn = self.bytes + TURN;
        loop {
            ready!(self.poll_rest(cx, to)).map_err(|_| Broken::Writing)?;
            if self.bytes >= turn && !self.is_at_end {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.is_at_end {
                return Pin::new(to).poll_shutdown(cx).map_err(|_| Broken::Writing);
            }
            match &mut self.way {
                Way::Splice(pipe) => {
                    ready!(poll_io(cx, from, Interest::READABLE, |from| pipe.fill(from)))
                        .map(|moved| self.spliced(moved))
                        .or_else(|error| self.cannot_splice(error))
                        .map_err(|_| Broken::Reading)?;
                }
                Way::Copy | Way::CopyOnly => ready!(self.poll_copy(cx, from, to, pipes))?,
            }
        }
    }

    /// Writes what was read before.
    fn poll_rest(&mut self, cx: &mut Context<'_>, to: &mut TcpStream) -> Poll<io::Result<()>> {
        while self.written < self.rest.len() {
            let wrote = ready!(Pin::new(&mut *to).poll_write(cx, &self.rest[self.written..]))?;
            self.written += wrote;
            self.bytes += wrote as u64;
        }
        if self.written > 0 {
            (self.rest, self.written) = (vec![], 0);
        }
        while let Way::Splice(pipe) = &mut self.way
            && pipe.held() > 0
        {
            let moved = ready!(poll_io(cx, to, Interest::WRITABLE, |to| pipe.drain(to)))?;
            self.bytes += moved as u64;
        }
        if self.streak >= SLOW && matches!(self.way, Way::Splice(_)) {
            (self.way, self.streak) = (Way::Copy, 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes at once; what the other side does not take is kept.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        pipes: &Pipes,
    ) -> Poll<Result<(), Broken>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(from).poll_read(cx, &mut buffer)).map_err(|_| Broken::Reading)?;
            let read = buffer.filled();
            if read.is_empty() {
                // Not even an empty write: it would swallow the error that tells of a reset.
                self.is_at_end = true;
                return Poll::Ready(Ok(()));
            }
            let wrote = match Pin::new(to).poll_write(cx, read) {
                Poll::Ready(wrote) => wrote.map_err(|_| Broken::Writing)?,
                Poll::Pending => 0,
            };
            self.bytes += wrote as u64;
            self.rest.extend_from_slice(&read[wrote..]);
            self.streak = if read.len() == SCRATCH { self.streak.saturating_add(1) } else { 0 };
            if self.streak >= FAST && matches!(self.way, Way::Copy) {
                self.streak = 0;
                // None to be had: asked again after as many full reads.
                self.way = pipes.take().map_or(Way::Copy, Way::Splice);
            }
            Poll::Ready(Ok(()))
        })
    }

    fn spliced(&mut self, moved: usize) {
        self.is_at_end = moved == 0;
        self.streak = if moved < SMALL { self.streak.saturating_add(1) } else { 0 };
    }

    /// What a kernel, or a kind of socket, that cannot splice says is no fault of the connection.
    fn cannot_splice(&mut self, error: io::Error) -> io::Result<()> {
        match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => {
                self.way = Way::CopyOnly;
                Ok(())
            }
            _ => Err(error),
        }
    }
}

/// One call on a socket, as soon as it is ready for it.
fn poll_io<T>(
    cx: &mut Context<'_>,
    socket: &TcpStream,
    interest: Interest,
    mut call: impl FnMut(&TcpStream) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        ready!(match interest.is_readable() {
            true => socket.poll_read_ready(cx),
            false => socket.poll_write_ready(cx),
        })?;
        match socket.try_io(interest, || call(socket)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return Poll::Ready(done),
        }
    }
}
