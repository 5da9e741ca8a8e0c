//! The same for a Freehold without root: what its user has here, and what that user lacks.

use super::{data, disk, finding, kernel_from, namespace, open_files, packet_filter, probe, seccomp, veth};
use crate::rootless::{self, Ids};
use freehold_model::{
    api::{Doctor, Finding},
    manifest::Driver,
};
use nix::sched::CloneFlags;
use std::{io, path::Path};

/// Tries everything, in the user namespace that was entered.
pub(super) fn examine(data: &Path) -> Doctor {
    let needed = [
        namespace("mount namespaces", CloneFlags::CLONE_NEWNS),
        overlay(data),
        namespace("pid namespaces", CloneFlags::CLONE_NEWPID),
        namespace("network namespaces", CloneFlags::CLONE_NEWNET),
        namespace("host name and IPC namespaces", CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC),
        namespace("cgroup namespaces", CloneFlags::CLONE_NEWCGROUP),
        veth(),
        packet_filter(),
    ];
    let works = needed.iter().all(|finding| finding.ok);
    let drivers = if works { vec![Driver::Container] } else { vec![] };
    let first = [rights(), users()];
    let useful = [
        data::private(data),
        disk::room(data),
        limits(),
        egress(),
        low_ports(),
        seccomp(),
        open_files(),
        kernel_from((5, 11), KERNEL),
    ];
    Doctor { drivers, findings: first.into_iter().chain(needed).chain(useful).collect() }
}

const KERNEL: &str = "an ordinary user cannot mount images before Linux 5.11: upgrade the system's kernel, or run Freehold as root";

fn rights() -> Finding {
    let owner = Ids::current().owner();
    finding("rights", Ok(format!("user {owner}, as root of a user namespace")), "")
}

fn users() -> Finding {
    let ids = Ids::current();
    let found = match rootless::lack() {
        None => Ok(format!("{} for images to have ({ids})", ids.users())),
        Some(lack) => Err(io::Error::other(format!("root alone ({ids}): {lack}"))),
    };
    finding(
        "users",
        found,
        "images with other users than root do not run: do that, then stop Freehold and all its apps and start it again",
    )
}

fn overlay(data: &Path) -> Finding {
    let found = probe::overlay(data).map(|kind| format!("works on {} ({kind})", data.display()));
    finding(
        "overlayfs",
        found,
        "images cannot be unpacked there: keep the data directory on ext4, xfs or btrfs (`freehold up --data DIR`), with Linux 5.11 or newer",
    )
}

fn limits() -> Finding {
    finding(
        "limits",
        Err(io::Error::other(rootless::LIMITS)),
        "what a manifest says of cpu and memory is used for placing alone; run Freehold as root to have it enforced",
    )
}

fn egress() -> Finding {
    finding(
        "egress",
        Err(io::Error::other(rootless::EGRESS)),
        "a manifest with `egress` is not deployed: remove it there, or run Freehold as root",
    )
}

fn low_ports() -> Finding {
    let first = rootless::lowest_port();
    let found = format!("endpoints may listen from {first} on");
    finding(
        "low ports",
        if first <= 80 { Ok(found) } else { Err(io::Error::other(found)) },
        "for endpoints at 80 and 443: `sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80`",
    )
}
