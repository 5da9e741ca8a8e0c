//! The secrets of an instance, for one more command in it: asked of its shim, which holds them.

use crate::{Secrets, launch::InstanceDir, local::connect, wire::Order};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg,
    sockopt::{Timeout, set_socket_timeout},
};
use std::{
    io::{self, IoSliceMut, Write as _},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    time::Duration,
};

/// A shim answers at once, unless it is stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// The secrets that the instance in `dir` was started with.
pub(super) fn of(dir: &InstanceDir) -> io::Result<Secrets> {
    let mut shim = connect(dir)?;
    set_socket_timeout(&shim, Timeout::Recv, Some(PATIENCE))?;
    let mut order = serde_json::to_vec(&Order::Secrets)?;
    order.push(b'\n');
    shim.write_all(&order)?;
    loop {
        let mut bytes = [0; 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&shim, &mut [IoSliceMut::new(&mut bytes)], &mut message, RecvFlags::CMSG_CLOEXEC)?;
        if let Some(memory) = descriptor(&mut message) {
            return Secrets::from_memory(memory);
        }
        // What else it says is how the instance is, as to everybody who connects.
        if received.bytes == 0 || received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("its shim does not give its secrets"));
        }
    }
}

fn descriptor(message: &mut RecvAncillaryBuffer<'_>) -> Option<OwnedFd> {
    message.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    })
}
