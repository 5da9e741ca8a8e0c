//! A network card of a host: a TAP device in its namespace, whose other end is a file here.

use crate::hardware;
use anyhow::{Context, Result};
use nix::{
    libc,
    sched::{CloneFlags, setns},
};
use std::{
    fs::{File, OpenOptions},
    os::fd::AsRawFd,
    path::Path,
};

nix::ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);

/// Makes `eth0` in the namespace `netns`. It goes when the file is closed.
pub(crate) fn make(netns: &Path) -> Result<File> {
    let namespace = File::open(netns).with_context(|| netns.display().to_string())?;
    // A thread of its own: it enters the namespace for good.
    let made = std::thread::spawn(move || -> Result<File> {
        setns(namespace, CloneFlags::CLONE_NEWNET).context("entering a network namespace")?;
        let tap = OpenOptions::new().read(true).write(true).open("/dev/net/tun").context("/dev/net/tun")?;
        // SAFETY: a zeroed ifreq is a valid one: it holds numbers and a name.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(b"eth0") {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
        // SAFETY: the request lives through the call, which only reads and fills it.
        unsafe { set_interface(tap.as_raw_fd(), &request) }.context("making a network card")?;
        Ok(tap)
    });
    made.join().map_err(|_| anyhow::anyhow!("making a network card panicked"))?
}

/// A hardware address as `ip` reads it.
pub(crate) fn hardware_text(index: usize) -> String {
    hardware(index).map(|byte| format!("{byte:02x}")).join(":")
}
