//! Carries one connection both ways until both ways have ended, one breaks, or nothing moves for long.
//!
//! Invariant: who is cut off sees a reset, never an end. An answer that was cut short must not look
//! whole, so every relay that did not come to its end resets both sockets, whatever the reason.

mod flow;
mod pipe;
#[cfg(test)]
mod tests;

pub(crate) use pipe::Pipes;

use flow::{Broken, Flow};
use rustix::net::sockopt;
use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

/// Bytes are counted for others to see after so many of them, and at the end.
const COUNTED: u64 = 256 << 10;

/// How a relay came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides have ended, all was passed on.
    Done,
    /// Nothing moved for too long.
    Idle,
    /// The client broke it off.
    Client,
    /// The backend broke it off.
    Backend,
}

/// Who adds up what was carried.
pub(crate) struct Counted<'a> {
    /// From clients.
    pub(crate) bytes_in: &'a AtomicU64,
    /// To clients.
    pub(crate) bytes_out: &'a AtomicU64,
}

/// A client and its backend.
pub(crate) struct Relay<'a> {
    client: TcpStream,
    backend: TcpStream,
    up: Flow,
    down: Flow,
    up_ended: Option<Result<(), Broken>>,
    down_ended: Option<Result<(), Broken>>,
    counted: Counted<'a>,
    told: (u64, u64),
    is_done: bool,
}

impl<'a> Relay<'a> {
    /// Joins the two.
    pub(crate) fn new(client: TcpStream, backend: TcpStream, counted: Counted<'a>) -> Relay<'a> {
        Relay {
            client,
            backend,
            up: Flow::default(),
            down: Flow::default(),
            up_ended: None,
            down_ended: None,
            counted,
            told: (0, 0),
            is_done: false,
        }
    }

    /// Carries until the end.
    pub(crate) async fn run(&mut self, idle: Duration, pipes: &Pipes) -> End {
        let mut last = Instant::now();
        let mut timer = pin!(sleep(idle));
        let end = poll_fn(|cx| {
            let before = self.moved();
            if let Some(end) = self.poll(cx, pipes) {
                return Poll::Ready(end);
            }
            if self.moved() != before {
                last = Instant::now();
            }
            while timer.as_mut().poll(cx).is_ready() {
                if last.elapsed() >= idle {
                    return Poll::Ready(End::Idle);
                }
                timer.as_mut().reset(last + idle);
            }
            Poll::Pending
        });
        let end = end.await;
        self.is_done = end == End::Done;
        end
    }

    /// Bytes that were passed on: from the client, and to it.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.up.bytes, self.down.bytes)
    }

    fn moved(&self) -> u64 {
        self.up.bytes + self.down.bytes
    }

    fn poll(&mut self, cx: &mut Context<'_>, pipes: &Pipes) -> Option<End> {
        if self.up_ended.is_none()
            && let Poll::Ready(ended) = self.up.poll(cx, &mut self.client, &mut self.backend, pipes)
        {
            self.up_ended = Some(ended);
        }
        if self.down_ended.is_none()
            && let Poll::Ready(ended) = self.down.poll(cx, &mut self.backend, &mut self.client, pipes)
        {
            self.down_ended = Some(ended);
        }
        if self.moved() - self.told.0 - self.told.1 >= COUNTED {
            self.tell();
        }
        self.end()
    }

    /// A backend that takes no more may still have something to say: who refuses an upload has answered
    /// before it broke off. So a failure to write there ends one way, and the other goes on.
    fn end(&self) -> Option<End> {
        use Broken::{Reading, Writing};
        match (&self.up_ended, &self.down_ended) {
            (Some(Err(Reading)), _) | (_, Some(Err(Writing))) => Some(End::Client),
            (_, Some(Err(Reading))) | (Some(Err(Writing)), Some(_)) => Some(End::Backend),
            (Some(Ok(())), Some(Ok(()))) => Some(End::Done),
            _ => None,
        }
    }

    fn tell(&mut self) {
        self.counted.bytes_in.fetch_add(self.up.bytes - self.told.0, Relaxed);
        self.counted.bytes_out.fetch_add(self.down.bytes - self.told.1, Relaxed);
        self.told = self.bytes();
    }
}

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        self.tell();
        if !self.is_done {
            for socket in [&self.client, &self.backend] {
                let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
            }
        }
    }
}
