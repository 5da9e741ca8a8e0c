//! Which system calls a container may not make (seccomp(2)): what no capability guards and what lets a
//! process reach past its namespaces or into seldom used corners of the kernel.
//!
//! One profile for the first process ([`crate::shim`] gives it to libcontainer) and for every command
//! beside it ([`crate::exec`]). It names what is forbidden, so that programs newer than this file run.

use libcontainer::{oci_spec::runtime::LinuxSeccomp, seccomp::initialize_seccomp};
use nix::libc;
use serde_json::{Value, json};
use std::io;

/// Keys of the node, new user namespaces (in which every capability is had again), the kernel's
/// interpreters and queues, other processes' memory; and, should a capability ever leak, what it guards.
const FORBIDDEN: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "delete_module",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pivot_root",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "setns",
    "swapoff",
    "swapon",
    "syslog",
    "umount",
    "umount2",
    "unshare",
    "userfaultfd",
    "vhangup",
];

/// The flags of clone(2) that make namespaces.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWCGROUP,
];

/// ioctl(2) of btrfs that make, copy and remove subvolumes, for which no right is needed: what is in one more
/// subvolume counts to no limit, and is in no snapshot (BTRFS_IOC_SNAP_CREATE, SUBVOL_CREATE, SNAP_DESTROY,
/// SNAP_CREATE_V2, SUBVOL_CREATE_V2).
const SUBVOLUMES: [u64; 5] = [0x5000_9401, 0x5000_940e, 0x5000_940f, 0x5000_9417, 0x5000_9418];

/// Programs of 32 bits make other calls; of any other kind none may run.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: &[&str] = &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: &[&str] = &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURES: &[&str] = &["SCMP_ARCH_NATIVE"];

/// The profile as the OCI runtime specification writes it.
pub(crate) fn profile() -> Value {
    let refuse = |names: &[&str], errno: i32, args: Value| json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": args });
    let new_namespaces = NAMESPACES.map(|flag| {
        refuse(
            &["clone"],
            libc::EPERM,
            json!([{ "index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ" }]),
        )
    });
    let vsock = json!([{ "index": 0, "value": libc::AF_VSOCK, "op": "SCMP_CMP_EQ" }]);
    let mut calls = vec![
        refuse(FORBIDDEN, libc::EPERM, json!([])),
        // Its flags are behind a pointer, where no filter sees them: C libraries then use `clone`.
        refuse(&["clone3"], libc::ENOSYS, json!([])),
        // A way to the hypervisor that no network namespace closes.
        refuse(&["socket"], libc::EPERM, vsock),
    ];
    calls.extend(new_namespaces);
    // The kernel looks at the lower half of the number alone, and so must this.
    calls.extend(SUBVOLUMES.map(|number| {
        let args =
            json!([{ "index": 1, "value": 0xffff_ffff_u64, "valueTwo": number, "op": "SCMP_CMP_MASKED_EQ" }]);
        refuse(&["ioctl"], libc::EPERM, args)
    }));
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ARCHITECTURES, "syscalls": calls })
}

/// Binds this process, for ever, and all it becomes. It must be root of its user namespace still.
pub(crate) fn confine() -> io::Result<()> {
    let profile: LinuxSeccomp = serde_json::from_value(profile())?;
    initialize_seccomp(&profile).map(drop).map_err(io::Error::other)
}
