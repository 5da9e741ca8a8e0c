//! The shim's socket: tells everyone who connects how the instance is, and takes orders.
//!
//! Nothing here ever blocks: who does not read what it is told is disconnected.

use crate::wire::{Order, Report};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
};

/// Longer orders are nonsense.
const LONGEST_ORDER: usize = 4096;

/// The listening socket and everyone connected to it.
pub(super) struct Control {
    listener: UnixListener,
    peers: Vec<Peer>,
    /// What a newcomer is told.
    latest: Option<Report>,
    /// The instance's secrets, for those who run commands in it.
    secrets: Option<OwnedFd>,
}

struct Peer {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Control {
    pub(super) fn new(listener: OwnedFd, secrets: Option<OwnedFd>) -> io::Result<Control> {
        let listener = UnixListener::from(listener);
        listener.set_nonblocking(true)?;
        Ok(Control { listener, peers: Vec::new(), latest: None, secrets })
    }

    /// What to wait on.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd()).chain(self.peers.iter().map(|peer| peer.stream.as_fd()))
    }

    /// Tells everyone, now and later.
    pub(super) fn report(&mut self, report: Report) {
        self.latest = Some(report);
        let latest = &self.latest;
        self.peers.retain_mut(|peer| peer.tell(latest.as_ref()));
        self.accept();
    }

    /// Takes what arrived.
    pub(super) fn serve(&mut self) -> Vec<Order> {
        self.accept();
        let mut orders = Vec::new();
        let secrets = self.secrets.as_ref();
        self.peers.retain_mut(|peer| peer.read(&mut orders, secrets));
        orders
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let mut peer = Peer { stream, received: Vec::new() };
            if peer.stream.set_nonblocking(true).is_ok() && peer.tell(self.latest.as_ref()) {
                self.peers.push(peer);
            }
        }
    }
}

impl Peer {
    /// Whether it is still there. A report is far smaller than a socket's buffer: one write takes it.
    fn tell(&mut self, report: Option<&Report>) -> bool {
        let Some(report) = report else { return true };
        let Ok(mut line) = serde_json::to_vec(report) else { return false };
        line.push(b'\n');
        matches!(self.stream.write(&line), Ok(n) if n == line.len())
    }

    /// Whether it is still there.
    fn read(&mut self, orders: &mut Vec<Order>, secrets: Option<&OwnedFd>) -> bool {
        let mut buffer = [0; 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(n) => self.received.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if self.received.len() > LONGEST_ORDER {
                return false;
            }
        }
        while let Some(end) = self.received.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Order::Secrets) if self.give(secrets) => {}
                Ok(Order::Secrets) | Err(_) => return false,
                Ok(order) => orders.push(order),
            }
        }
        true
    }

    /// Whether it was given the secrets.
    fn give(&self, secrets: Option<&OwnedFd>) -> bool {
        let Some(secrets) = secrets else { return false };
        let fds = [secrets.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        message.push(SendAncillaryMessage::ScmRights(&fds))
            && sendmsg(&self.stream, &[IoSlice::new(b"\n")], &mut message, SendFlags::NOSIGNAL).is_ok()
    }
}
