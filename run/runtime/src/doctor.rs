//! Says what this machine can run, by trying each thing, and how to mend what it cannot.
//!
//! What is tried is tried on a thread that left the namespaces it changes and then ends, so nothing of
//! it is seen or kept. Called by `GET /v1/doctor`; takes some milliseconds.

mod data;
mod disk;
mod ordinary;
mod probe;

pub use disk::Room;

use crate::cgroup::{Hierarchy, hierarchies};
use freehold_model::{
    api::{Doctor, Finding},
    manifest::Driver,
};
use nix::sched::CloneFlags;
use std::{fs, io, path::Path};

/// Tries everything; `data` is the data directory, whose file system must carry overlays.
pub fn examine(data: &Path) -> Doctor {
    if crate::rootless::is_rootless() {
        return ordinary::examine(data);
    }
    let process = [rights(), namespace("mount namespaces", CloneFlags::CLONE_NEWNS), overlay(data)];
    let container = [
        namespace("pid namespaces", CloneFlags::CLONE_NEWPID),
        namespace("network namespaces", CloneFlags::CLONE_NEWNET),
        namespace("host name and IPC namespaces", CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC),
        namespace("cgroup namespaces", CloneFlags::CLONE_NEWCGROUP),
        cgroups(&hierarchies()),
        veth(),
        packet_filter(),
    ];
    let mut drivers = Vec::new();
    if process.iter().all(|finding| finding.ok) {
        if container.iter().all(|finding| finding.ok) {
            drivers.push(Driver::Container);
        }
        drivers.push(Driver::Process);
    }
    let useful = [
        data::private(data),
        disk::room(data),
        forwarding(),
        user_namespaces(),
        seccomp(),
        open_files(),
        kernel(),
    ];
    Doctor { drivers, findings: process.into_iter().chain(container).chain(useful).collect() }
}

/// What an ordinary user's machine lacks, when [`crate::rootless::enter`] said so.
pub fn refused(error: &crate::rootless::RootlessError) -> Doctor {
    let text = error.to_string();
    let (found, remedy) =
        text.split_once('\n').unwrap_or((&text, "start Freehold as root: `sudo freehold up`"));
    let found = Err(io::Error::other(found.to_owned()));
    Doctor { drivers: vec![], findings: vec![finding("rights", found, remedy)] }
}

fn finding(name: &str, found: io::Result<String>, remedy: &str) -> Finding {
    let ok = found.is_ok();
    let found = found.unwrap_or_else(|error| error.to_string());
    Finding { name: name.into(), ok, found, remedy: (!ok).then(|| remedy.into()), fix: vec![] }
}

/// A finding that, where it is not as needed, `command` mends without asking anybody.
fn mended_by(command: &str, finding: Finding) -> Finding {
    let fix = if finding.ok { vec![] } else { vec![command.to_owned()] };
    Finding { fix, ..finding }
}

fn rights() -> Finding {
    let root = nix::unistd::geteuid().is_root();
    let found = match (root, effective_capabilities()) {
        (true, Some(caps)) if has(caps, CAP_SYS_ADMIN) && has(caps, CAP_NET_ADMIN) => {
            Ok("root, with the rights to make mounts and networks".into())
        }
        (true, _) => Err(io::Error::other("root, but without CAP_SYS_ADMIN or CAP_NET_ADMIN")),
        (false, _) => Err(io::Error::other(format!("user {}", nix::unistd::geteuid()))),
    };
    finding(
        "rights",
        found,
        "nothing can be run without root: start Freehold with `sudo freehold up`; in a container, start that one with `--privileged`",
    )
}

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;

fn has(capabilities: u64, number: u32) -> bool {
    capabilities >> number & 1 == 1
}

fn effective_capabilities() -> Option<u64> {
    let text = status_field("CapEff")?;
    u64::from_str_radix(&text, 16).ok()
}

fn status_field(name: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

fn namespace(name: &str, flags: CloneFlags) -> Finding {
    let found = probe::apart(flags, || Ok("they work".into()));
    finding(
        name,
        found,
        "start Freehold as root on a kernel with CONFIG_NAMESPACES: `sudo freehold up`; in a container, start that one with `--privileged`",
    )
}

fn overlay(data: &Path) -> Finding {
    let found = probe::overlay(data).map(|kind| format!("works on {} ({kind})", data.display()));
    let finding = finding(
        "overlayfs",
        found,
        "images cannot be unpacked there: load it with `sudo modprobe overlay`, and keep the data directory on ext4, xfs or btrfs: `freehold up --data DIR`",
    );
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    match known.lines().any(|line| line.ends_with("\toverlay")) {
        true => finding,
        false => mended_by("modprobe overlay", finding),
    }
}

fn cgroups(all: &[Hierarchy]) -> Finding {
    let finding = finding(
        "cgroups",
        probe::cgroups(all),
        "limits cannot be set: boot with `systemd.unified_cgroup_hierarchy=1`, or without systemd `sudo mount -t cgroup2 none /sys/fs/cgroup`; in a container, start that one with `--privileged --cgroupns=host`",
    );
    match all.is_empty() {
        true => mended_by("mount -t cgroup2 none /sys/fs/cgroup", finding),
        false => finding,
    }
}

fn veth() -> Finding {
    let found = probe::veth().map(|()| "links between namespaces can be made".into());
    let remedy = "instances get no address: load the driver with `sudo modprobe veth`";
    mended_by("modprobe veth", finding("network links", found, remedy))
}

fn packet_filter() -> Finding {
    let found = probe::packet_filter().map(|()| "nf_tables has what egress is enforced with".into());
    const MODULES: &str = "modprobe -a nf_tables nft_ct nft_nat nft_masq nft_redir nft_reject_ipv4";
    let remedy = format!(
        "no container starts unguarded: `sudo {MODULES}`, on a kernel with CONFIG_NF_TABLES and CONFIG_NF_CONNTRACK"
    );
    mended_by(MODULES, finding("packet filter", found, &remedy))
}

fn forwarding() -> Finding {
    finding(
        "forwarding",
        probe::forwarding(),
        "egress opens nothing: `sudo sysctl -w net.ipv4.ip_forward=1`; in a container, start that one with `--privileged`",
    )
}

fn user_namespaces() -> Finding {
    let allowed = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    let found = match allowed.trim().parse::<u64>() {
        Ok(n) if n > 0 => Ok(format!("up to {n}; an ordinary user's Freehold lives in one")),
        _ => Err(io::Error::other("none are allowed")),
    };
    let remedy =
        "only root can run Freehold; allow them with `sudo sysctl -w user.max_user_namespaces=15000`";
    let allow = "echo 15000 > /proc/sys/user/max_user_namespaces";
    mended_by(allow, finding("user namespaces", found, remedy))
}

fn seccomp() -> Finding {
    let found = match status_field("Seccomp") {
        Some(_) => Ok("the kernel has it".into()),
        None => Err(io::Error::other("the kernel does not have it")),
    };
    finding(
        "seccomp",
        found,
        "containers are refused dangerous system calls by it; use a kernel with CONFIG_SECCOMP_FILTER",
    )
}

/// Every instance and every connection takes some.
const ENOUGH_FILES: u64 = 4096;

fn open_files() -> Finding {
    let (_, hard) = crate::shim::spec::open_files();
    let found =
        if hard >= ENOUGH_FILES { Ok(format!("{hard}")) } else { Err(io::Error::other(format!("{hard}"))) };
    finding(
        "open files",
        found,
        "busy endpoints run out of connections: `ulimit -Hn 65536`, or LimitNOFILE= in the service's unit",
    )
}

fn kernel() -> Finding {
    // setns(2) takes a pidfd from 5.8 on, which `exec` uses.
    kernel_from((5, 8), "`freehold exec` does not work before Linux 5.8: upgrade the system's kernel")
}

fn kernel_from(needed: (u32, u32), remedy: &str) -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let found = if version >= needed {
        Ok(format!("Linux {release}"))
    } else {
        Err(io::Error::other(format!("Linux {release}")))
    };
    finding("kernel", found, remedy)
}
