//! Containers without root: an ordinary user's Freehold lives in a user namespace in which it is root.
//!
//! [`enter`] is called by `freehold up` before any thread exists. It joins the namespace in which this data
//! directory's instances run already, or makes a new one ([`ids`] says who may be in it); from there on
//! everything is as for root, but for the network: what instances are connected to is a network namespace
//! of our own ([`house`]), because the machine's belongs to its root. Invariants: nothing here does
//! anything when root starts Freehold; shims and exec helpers are started by a process that has entered.

mod cover;
mod house;
mod ids;
mod kin;

pub use house::{connect, inside, socket};
pub use ids::Ids;

pub(crate) use cover::cover_cgroups;
pub(crate) use house::{join, namespace};

use crate::user::User;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    unistd::geteuid,
};
use serde::{Deserialize, Serialize};
use std::{
    env, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Names the user namespace that this program entered, for the program that is started in its place.
const MARK: &str = "FREEHOLD_USER_NAMESPACE";

/// Whether this process is, or works for, a Freehold without root.
static ROOTLESS: AtomicBool = AtomicBool::new(false);

/// Why there are not all users that images may want; empty: there are.
static LACK: OnceLock<Option<String>> = OnceLock::new();

/// What does not hold without root.
pub const LIMITS: &str = "limits of cpu, memory and processes are not enforced without root";
/// What cannot be done without root.
pub const EGRESS: &str = "instances reach each other and the resolver, but nothing outside, without root";

/// Why there is no other user than root for images, with what to do about it.
pub fn lack() -> Option<String> {
    let known = LACK.get().cloned();
    known.unwrap_or_else(|| {
        Ids::current().is_root_alone().then(|| Ids::lack_of(Ids::current().owner())).flatten()
    })
}

/// The first port of the machine at which endpoints may listen; 0 for root, who may everywhere.
pub fn lowest_port() -> u16 {
    if !is_rootless() {
        return 0;
    }
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    text.trim().parse().unwrap_or(1024)
}

/// Why an ordinary user's Freehold cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RootlessError {
    /// The kernel does not let this user make a user namespace, or do anything in it.
    #[error(
        "this machine does not let an ordinary user {what}: {source}\n\
         Allow it with `sudo sysctl -w user.max_user_namespaces=15000`, on Debian before 11 also \
         `sudo sysctl -w kernel.unprivileged_userns_clone=1`, on Ubuntu from 24.04 on also \
         `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`; or start Freehold as root."
    )]
    NotAllowed {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// What is in the directory belongs to users that this start would not have.
    #[error(
        "{data} was written by user {owner} with the ids {was}; this start would have {now}, and what \
         images and volumes hold there would belong to others.\n\
         {way_out}, or name another directory with --data."
    )]
    OtherIds {
        /// The data directory.
        data: PathBuf,
        /// Who wrote it.
        owner: u32,
        /// What was mapped then.
        was: String,
        /// What would be now.
        now: String,
        /// What to do.
        way_out: &'static str,
    },
    /// A file of ours cannot be read or written.
    #[error("cannot use {path}: {source}; see that it belongs to the user who starts Freehold")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What the data directory remembers of the user namespace: `rootless.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    owner: u32,
    ids: Ids,
}

/// Whether instances run without root.
pub fn is_rootless() -> bool {
    ROOTLESS.load(Ordering::Relaxed)
}

/// Whether root started this program: then nothing of this module is needed.
pub fn is_started_by_root() -> bool {
    geteuid().is_root() && !was_entered()
}

/// The program was started anew in its own place, within the namespace.
fn was_entered() -> bool {
    let mark = env::var(MARK).ok().and_then(|mark| mark.parse::<u64>().ok());
    mark.is_some() && mark == namespace_of("self")
}

fn namespace_of(process: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{process}/ns/user")).ok().map(|namespace| namespace.ino())
}

/// For a shim or an exec helper: what started it has entered already.
pub(crate) fn assume(rootless: bool) {
    ROOTLESS.store(rootless, Ordering::Relaxed);
}

/// Enters the user namespace over `data`, unless root started this program. Must be called before any
/// thread exists.
///
/// # Errors
/// When the machine does not allow it, or `data` was written with other ids.
pub fn enter(data: &Path) -> Result<(), RootlessError> {
    if is_started_by_root() {
        return Ok(());
    }
    let kin = kin::find(data);
    if !was_entered() {
        match kin.as_ref().and_then(|kin| kin.user.as_ref()) {
            Some(user) => {
                setns(user, CloneFlags::CLONE_NEWUSER).map_err(refused("enter its own user namespace"))?
            }
            None => new_namespace(data)?,
        }
        own_mounts().map_err(refused("make mounts in a user namespace"))?;
        if let Some(namespace) = namespace_of("self") {
            // SAFETY: the caller says that there is no other thread.
            unsafe { env::set_var(MARK, namespace.to_string()) };
        }
    }
    ROOTLESS.store(true, Ordering::Relaxed);
    house::open(kin.and_then(|kin| kin.network)).map_err(refused("make a network namespace"))
}

fn refused<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> RootlessError {
    move |source| RootlessError::NotAllowed { what, source: source.into() }
}

fn new_namespace(data: &Path) -> Result<(), RootlessError> {
    let owner = nix::unistd::getuid().as_raw();
    let ids = Ids::allowed();
    if let Some(memory) = remembered(data)?
        && !(memory.owner == owner && ids.extends(&memory.ids))
    {
        return Err(other_ids(data, &memory, ids.to_string()));
    }
    let ids = ids.enter().map_err(refused("make a user namespace"))?;
    let _ = LACK.set(ids.lack().map(str::to_owned));
    match remembered(data)? {
        // The ranges are there, but could not be had this time.
        Some(memory) if !ids.extends(&memory.ids) => Err(other_ids(data, &memory, ids.to_string())),
        _ => Ok(()),
    }
}

fn other_ids(data: &Path, memory: &Memory, now: String) -> RootlessError {
    RootlessError::OtherIds {
        data: data.to_owned(),
        owner: memory.owner,
        was: memory.ids.to_string(),
        now,
        way_out: "Start it as that user, with the same lines in /etc/subuid and /etc/subgid",
    }
}

/// What is unmounted outside does not stay busy here.
fn own_mounts() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
}

fn memory_of(data: &Path) -> PathBuf {
    data.join("rootless.json")
}

fn remembered(data: &Path) -> Result<Option<Memory>, RootlessError> {
    let path = memory_of(data);
    let failed = |source| RootlessError::File { path: path.clone(), source };
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| failed(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Remembers in `data` whose ids its files have; root is refused where an ordinary user's are.
///
/// # Errors
/// When root starts over a directory that is not root's, or the file cannot be written.
pub fn note(data: &Path) -> Result<(), RootlessError> {
    let memory = remembered(data)?;
    if !is_rootless() {
        return memory.map_or(Ok(()), |memory| Err(other_ids(data, &memory, "those of root".into())));
    }
    let ids = Ids::current();
    let owner = ids.owner();
    let now = Memory { owner, ids };
    if memory.as_ref() == Some(&now) {
        return Ok(());
    }
    let path = memory_of(data);
    let text = serde_json::to_vec(&now).unwrap_or_default();
    fs::write(&path, text).map_err(|source| RootlessError::File { path, source })
}

/// Refuses a user that there is not in this process's user namespace, and leaves out groups that there are not.
pub(crate) fn fit(user: &mut User) -> Result<(), String> {
    if !is_rootless() {
        return Ok(());
    }
    let ids = Ids::current();
    if !ids.has_user(user.uid) || !ids.has_group(user.gid) {
        return Err(format!(
            "the image runs as user {}:{}, and Freehold without root has {} here; \
             `freehold doctor` says how to have more, or run Freehold as root",
            user.uid,
            user.gid,
            if ids.is_root_alone() { "user 0 alone".into() } else { format!("{} users", ids.users()) },
        ));
    }
    // Where there is root alone nobody has the right to choose groups.
    user.groups.retain(|group| !ids.is_root_alone() && ids.has_group(*group));
    Ok(())
}

/// The highest group such that instances can have all up to it.
pub(crate) fn last_group() -> u32 {
    if is_rootless() { Ids::current().last_group() } else { i32::MAX.cast_unsigned() }
}

/// Whether instances can have this group.
pub(crate) fn has_group(gid: u32) -> bool {
    !is_rootless() || Ids::current().has_group(gid)
}
