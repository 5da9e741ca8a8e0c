//! What the kernel tells of changes, as they happen: of links, addresses, routes, rules, settings and the
//! packet filter. A notice is a hint to look, never more: what it says of is not read.

use crate::rootless;
use netlink_sys::{
    Socket, SocketAddr,
    protocols::{NETLINK_NETFILTER, NETLINK_ROUTE},
};
use nix::{errno::Errno, sys::socket};
use rustix::net::sockopt;
use std::{io, os::fd::AsRawFd};
use tokio::{io::unix::AsyncFd, sync::watch};

/// Links, IPv4 addresses, routes, rules and settings (rtnetlink(7)).
const ROUTE: [u32; 5] = [1, 5, 7, 8, 24];
/// The packet filter's tables.
const TABLES: [u32; 1] = [7];

/// Counts notices for as long as somebody listens.
pub(crate) fn follow() -> io::Result<watch::Receiver<u64>> {
    let (said, heard) = watch::channel(0);
    for (protocol, groups) in [(NETLINK_ROUTE, &ROUTE[..]), (NETLINK_NETFILTER, &TABLES[..])] {
        let groups = groups.to_vec();
        let socket = rootless::inside(move || listen(protocol, &groups))?;
        // SAFETY: it is closed when it is dropped, and only then.
        let socket = unsafe { AsyncFd::register(socket)? };
        tokio::spawn(count(socket, said.clone()));
    }
    Ok(heard)
}

fn listen(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.set_non_blocking(true)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    // What does not fit is a notice too.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, 256 << 10);
    groups.iter().try_for_each(|group| socket.add_membership(*group))?;
    Ok(socket)
}

async fn count(socket: AsyncFd<Socket>, said: watch::Sender<u64>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let ready = tokio::select! {
            ready = socket.readable() => ready,
            () = said.closed() => return,
        };
        let Ok(mut ready) = ready else { return };
        let mut received = false;
        loop {
            match socket::recv(socket.get_ref().as_raw_fd(), &mut buffer, socket::MsgFlags::MSG_DONTWAIT) {
                Ok(_) => received = true,
                Err(Errno::EAGAIN) => break,
                // More came than fits: something changed, whatever it was.
                Err(Errno::ENOBUFS) => received = true,
                Err(Errno::EINTR) => {}
                Err(error) => {
                    tracing::warn!(%error, "the kernel's notices of changes are not heard any more");
                    return;
                }
            }
        }
        ready.clear_ready();
        if received {
            said.send_modify(|count| *count += 1);
        }
    }
}
