//! What about an image keeps it from running, found before anything of it runs and said in plain words:
//! libcontainer would fail at it too, in words of its own. Called once the root is mounted.
//!
//! Only what is certain is refused here; what only an exec can tell ([`super::program`]) is told by it.

use super::{StartError, spec};
use crate::{launch::Launch, user::User};
use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2, statat},
    io::Errno,
};
use std::{fs::File, os::fd::OwnedFd};

/// Refuses a root in which the kernel's files and ours have no place.
pub(super) fn folders(root: &File) -> Result<(), StartError> {
    let refuse = |why: String| Err(StartError::because("the image cannot run")(why));
    for place in ["proc", "sys"] {
        // The kernel's own files are never put where a link leads.
        let found = statat(root, place, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
        match found.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Directory) | Err(_) => {}
            Ok(kind) => return refuse(in_the_way(place, kind)),
        }
    }
    for place in ["dev", "etc"] {
        match open(root, place).and_then(|place| fstat(&place)) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
            Ok(stat) => return refuse(in_the_way(place, FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) if is_absent(root, place) => {}
            Err(Errno::NOENT) => return refuse(format!("it has a link at /{place} that leads nowhere")),
            Err(error) => return refuse(format!("its /{place}: {}", std::io::Error::from(error))),
        }
    }
    Ok(())
}

/// Refuses a program that is not there, or that nobody may execute.
pub(super) fn program(root: &File, launch: &Launch, user: &User) -> Result<(), StartError> {
    let what = || format!("cannot run `{}`", launch.args[0]);
    find_program(root, launch, user).map_err(StartError::because(what()))
}

/// Says that the working directory cannot be made, and what is in its place.
pub(super) fn workdir(path: &str, error: &std::io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOTDIR) => {
            format!("the image has a file in its place, or on the way to {path}; name another, or rebuild it")
        }
        Some(Errno::LOOP) => format!("{path} is a link that leads to itself"),
        Some(Errno::NOENT | Errno::EXIST) => format!("{path} is a link that leads nowhere in the image"),
        _ => error.to_string(),
    }
}

fn in_the_way(place: &str, kind: FileType) -> String {
    let kind = match kind {
        FileType::Symlink => "a link",
        FileType::RegularFile => "a file",
        _ => "something that is no folder",
    };
    format!("it has {kind} at /{place}, where Linux needs a folder; rebuild it without that")
}

fn open(root: &File, path: &str) -> Result<OwnedFd, Errno> {
    openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
}

fn is_absent(root: &File, place: &str) -> bool {
    statat(root, place, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_err()
}

/// As execvp(3) looks for it, but for who may: `Err` says what is wrong.
fn find_program(root: &File, launch: &Launch, user: &User) -> Result<(), String> {
    let program = &launch.args[0];
    if program.contains('/') {
        let path = if program.starts_with('/') {
            program.clone()
        } else {
            format!("{}/{program}", spec::workdir(launch))
        };
        // Those are not there yet.
        if ["/proc/", "/dev/", "/sys/"].iter().any(|start| path.starts_with(start)) {
            return Ok(());
        }
        return match runnable(root, &path) {
            Ok(None) => Ok(()),
            Ok(Some(why)) => Err(why),
            Err(_) => {
                Err("not found in the image; see its path in `command` or the image's entrypoint".into())
            }
        };
    }
    let env = spec::environment(launch, user);
    let path = env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    let mut trouble = None;
    for folder in path.split(':') {
        match runnable(root, &format!("{}/{program}", if folder.is_empty() { "." } else { folder })) {
            Ok(None) => return Ok(()),
            Ok(Some(why)) => trouble = trouble.or(Some(format!("{folder}/{program}: {why}"))),
            Err(_) => {}
        }
    }
    Err(trouble.unwrap_or_else(|| format!("not found in the image's PATH, {path}")))
}

/// What keeps the file at `path` from being run by anybody; `Err`: there is none.
fn runnable(root: &File, path: &str) -> Result<Option<String>, Errno> {
    let stat = fstat(open(root, path)?)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_mode & 0o111 != 0 => None,
        FileType::RegularFile => Some(format!(
            "it is not executable (mode {:04o}); `chmod +x` it where the image is built",
            stat.st_mode & 0o7777
        )),
        FileType::Directory => Some("it is a folder".into()),
        _ => Some("it is no program".into()),
    })
}
