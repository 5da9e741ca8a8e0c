//! The container as the OCI runtime specification writes it (opencontainers/runtime-spec 1.0,
//! `config.json`): what libcontainer is given.

use super::cgroups;
use crate::{
    cgroup::{self, CPU_PERIOD},
    launch::{InstanceDir, Launch},
    rootless, seccomp,
    user::User,
};
use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};

/// What images may rely on, less what lets a process forge packets (NET_RAW), make devices (MKNOD) or
/// write the node's audit log (AUDIT_WRITE). Docker's default set otherwise.
pub(crate) const CAPABILITIES: [(&str, u8); 11] = [
    ("CAP_CHOWN", 0),
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_FOWNER", 3),
    ("CAP_FSETID", 4),
    ("CAP_KILL", 5),
    ("CAP_SETGID", 6),
    ("CAP_SETUID", 7),
    ("CAP_SETPCAP", 8),
    ("CAP_NET_BIND_SERVICE", 10),
    ("CAP_SYS_CHROOT", 18),
    ("CAP_SETFCAP", 31),
];

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/dev/block",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The whole configuration.
pub(super) fn container(dir: &InstanceDir, launch: &Launch, user: &User) -> Value {
    let rootless = rootless::is_rootless();
    let namespaces = ["pid", "mount", "uts", "ipc", "network", "cgroup"].map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": dir.root() },
        "hostname": launch.hostname,
        "process": process(launch, user),
        "mounts": mounts(dir, launch),
        "linux": {
            "namespaces": namespaces,
            "cgroupsPath": cgroup::path_of(launch),
            // Nobody keeps limits that cannot be set; what is not named is not tried.
            "resources": (!rootless).then(|| resources(launch)),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
            "seccomp": seccomp::profile(),
        },
    })
}

fn process(launch: &Launch, user: &User) -> Value {
    let capabilities = CAPABILITIES.map(|(name, _)| name);
    let env = environment(launch, user).into_iter().map(|(key, value)| format!("{key}={value}"));
    let (soft, hard) = open_files();
    json!({
        "terminal": false,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.groups },
        "args": launch.args,
        "env": env.collect::<Vec<_>>(),
        "cwd": workdir(launch),
        "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": soft, "hard": hard }],
        // Not `noNewPrivileges`: set-user programs and capabilities of files are part of images. What they
        // give stays within the bounding set.
    })
}

/// Where the command starts.
pub(crate) fn workdir(launch: &Launch) -> &str {
    if launch.workdir.is_empty() { "/" } else { &launch.workdir }
}

/// The launch's environment and what every program expects of one.
pub(crate) fn environment(launch: &Launch, user: &User) -> Vec<(String, String)> {
    let mut env = launch.env.clone();
    for (key, value) in [("PATH", DEFAULT_PATH), ("HOSTNAME", &launch.hostname), ("HOME", &user.home)] {
        if !env.iter().any(|(k, _)| k == key) {
            env.push((key.into(), value.into()));
        }
    }
    env
}

/// Many, but never more than the node gives: raising a hard limit takes a right that it may not have.
pub(crate) fn open_files() -> (u64, u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    (hard.min(65_536), hard.min(1 << 20))
}

fn mounts(dir: &InstanceDir, launch: &Launch) -> Vec<Value> {
    let mount = |kind: &str, to: &str, options: &[&str]| json!({ "type": kind, "source": kind, "destination": to, "options": options });
    // The kernel has some thousands for everybody: one instance does not take them all.
    let mut terminals = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "max=256"];
    if rootless::has_group(5) {
        terminals.push("gid=5");
    }
    let mut mounts = vec![
        mount("proc", "/proc", &["nosuid", "noexec", "nodev"]),
        mount("tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("devpts", "/dev/pts", &terminals),
        mount("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
        mount("sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    // An ordinary user's instance has no groups to show.
    if !rootless::is_rootless() {
        mounts.extend(cgroups::mounts(dir, launch));
    }
    mounts
}

fn resources(launch: &Launch) -> Value {
    let mut resources = json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "pids": { "limit": launch.pids },
    });
    if launch.cpu.0 > 0 {
        let shares = (u64::from(launch.cpu.0) * 1024 / 1000).max(2);
        let quota = cgroup::cpu_quota(launch.cpu);
        resources["cpu"] = json!({ "shares": shares, "quota": quota, "period": CPU_PERIOD });
    }
    if launch.memory.0 > 0 {
        resources["memory"] = json!({ "limit": launch.memory.0 });
        if cgroup::counts_swap() {
            // Memory and swap together: the same number means no swap.
            resources["memory"]["swap"] = json!(launch.memory.0);
        }
    }
    resources
}
