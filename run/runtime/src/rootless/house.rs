//! The house's own network namespace: the node's side of every instance's link is in it. This process
//! stays in the machine's, where endpoints listen; what has to do with instances is done by one thread that
//! has entered the house's. A socket keeps the namespace in which it was made, whoever uses it.
//!
//! Invariant: for root there is no house, and everything is done where it was asked for.

use crate::netlink::Netlink;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::{
    fs::File,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{
        OnceLock,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};
use tokio::net::{TcpSocket, TcpStream};

type Job = Box<dyn FnOnce() + Send>;

struct House {
    jobs: Sender<Job>,
    namespace: File,
}

static HOUSE: OnceLock<House> = OnceLock::new();

/// Opens the house in `existing`, or in a new network namespace.
pub(super) fn open(existing: Option<File>) -> io::Result<()> {
    let (opened, answer) = channel();
    let (jobs, work) = channel::<Job>();
    thread::Builder::new().name("house".into()).spawn(move || {
        let result = enter(existing);
        let failed = result.is_err();
        let _ = opened.send(result);
        if !failed {
            live(&work);
        }
    })?;
    let namespace = answer.recv().map_err(io::Error::other)??;
    let _ = HOUSE.set(House { jobs, namespace });
    Ok(())
}

fn enter(existing: Option<File>) -> io::Result<File> {
    match existing {
        Some(namespace) => setns(namespace, CloneFlags::CLONE_NEWNET)?,
        None => {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let netlink = Netlink::open()?;
            netlink.set_up(netlink.index_of("lo")?)?;
        }
    }
    File::open("/proc/thread-self/ns/net")
}

fn live(work: &Receiver<Job>) {
    while let Ok(job) = work.recv() {
        job();
    }
}

/// Runs `act` in the network that instances are connected to. It must not block for long: everybody
/// shares one thread.
///
/// # Panics
/// When `act` does.
pub fn inside<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let Some(house) = HOUSE.get() else { return act() };
    let (done, result) = channel();
    let job = move || {
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        let _ = done.send(acted);
    };
    house.jobs.send(Box::new(job)).expect("the house's thread lives as long as the program");
    match result.recv().expect("the house's thread answers") {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A socket that reaches instances, not connected yet; it never blocks.
///
/// # Errors
/// When there are no more files.
pub fn socket(kind: SocketType, to: IpAddr) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(inside(move || socket_with(family, kind, flags, None))?)
}

/// Connects to an instance.
///
/// # Errors
/// Those of connect(2).
pub async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    if HOUSE.get().is_none() {
        return TcpStream::connect(to).await;
    }
    let socket = socket(SocketType::STREAM, to.ip())?;
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

/// The namespace's descriptor, which stays open; for a child of ours that is to [`join`].
pub(crate) fn namespace() -> Option<RawFd> {
    HOUSE.get().map(|house| house.namespace.as_raw_fd())
}

/// Moves the calling thread into the house; async-signal-safe.
pub(crate) fn join(namespace: RawFd) -> io::Result<()> {
    // SAFETY: setns(2) takes plain numbers.
    match unsafe { nix::libc::setns(namespace, nix::libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
