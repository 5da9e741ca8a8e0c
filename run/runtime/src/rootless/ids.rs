//! Which users and groups there are in the namespace: root, who is the user that started Freehold, and
//! after it those that /etc/subuid and /etc/subgid give to that user (subuid(5)), set by `newuidmap` and
//! `newgidmap`. Where one of these is missing there is root alone.

use nix::{
    sched::{CloneFlags, unshare},
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Uid, User, fork, getgid, getuid, setgroups},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt, fs,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
    process::Command,
};

/// How many ids, from which number on, are which ones outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    inside: u32,
    outside: u32,
    count: u32,
}

/// The users and groups of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    users: Vec<Range>,
    groups: Vec<Range>,
    /// Why there is root alone, with what to do about it.
    #[serde(skip)]
    lack: Option<String>,
}

impl Ids {
    /// What the user of this process may have. Nothing is tried.
    pub fn allowed() -> Ids {
        let (uid, gid) = (getuid(), getgid());
        let (users, groups) = given_to(uid);
        match Ids::lack_of(uid.as_raw()) {
            Some(lack) => Ids { lack: Some(lack), ..Ids::root_alone(uid.as_raw(), gid.as_raw()) },
            None => {
                Ids { users: behind(uid.as_raw(), &users), groups: behind(gid.as_raw(), &groups), lack: None }
            }
        }
    }

    /// What a user of the machine lacks to have other users than root in a namespace, and how to get it.
    pub(super) fn lack_of(uid: u32) -> Option<String> {
        let missing = ["newuidmap", "newgidmap"].into_iter().find(|program| find(program).is_none());
        if let Some(program) = missing {
            return Some(format!("`{program}` is not installed: `sudo apt install uidmap`"));
        }
        let (users, groups) = given_to(Uid::from_raw(uid));
        let who = name_of(Uid::from_raw(uid)).unwrap_or_else(|| uid.to_string());
        (users.is_empty() || groups.is_empty()).then(|| {
            format!(
                "user {who} has no ids of its own in /etc/subuid and /etc/subgid: \
                 `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {who}` \
                 (or another range, which nobody else has there)"
            )
        })
    }

    fn root_alone(uid: u32, gid: u32) -> Ids {
        Ids { users: behind(uid, &[]), groups: behind(gid, &[]), lack: None }
    }

    /// Those of the user namespace that this process is in.
    pub fn current() -> Ids {
        let read = |file| parse_map(&fs::read_to_string(file).unwrap_or_default());
        Ids { users: read("/proc/self/uid_map"), groups: read("/proc/self/gid_map"), lack: None }
    }

    /// Why there is no other user than root, and what to do about it.
    pub fn lack(&self) -> Option<&str> {
        self.lack.as_deref()
    }

    /// Whether there is root alone.
    pub fn is_root_alone(&self) -> bool {
        self.users.iter().map(|range| range.count).sum::<u32>() <= 1
    }

    /// How many users there are.
    pub fn users(&self) -> u32 {
        self.users.iter().fold(0, |sum, range| sum.saturating_add(range.count))
    }

    /// The user outside who is root inside.
    pub(crate) fn owner(&self) -> u32 {
        self.users.iter().find(|range| range.inside == 0).map_or(0, |range| range.outside)
    }

    pub(super) fn has_user(&self, uid: u32) -> bool {
        self.users.iter().any(|range| range.has(uid))
    }

    /// The last of those that follow each other from 0.
    pub(super) fn last_group(&self) -> u32 {
        let mut next = 0;
        while let Some(range) = self.groups.iter().find(|range| range.has(next)) {
            next = range.inside.saturating_add(range.count);
        }
        next.saturating_sub(1).min(i32::MAX.cast_unsigned())
    }

    pub(super) fn has_group(&self, gid: u32) -> bool {
        self.groups.iter().any(|range| range.has(gid))
    }

    /// Whether every file of those who had `before` belongs to the same now.
    pub(super) fn extends(&self, before: &Ids) -> bool {
        let all = |now: &[Range], before: &[Range]| before.iter().all(|range| now.contains(range));
        all(&self.users, &before.users) && all(&self.groups, &before.groups)
    }

    /// Makes a user namespace with these ids and enters it. Where the programs that set them fail, it has
    /// root alone. Answers with what it has.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub(super) fn enter(self) -> io::Result<Ids> {
        let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
        if self.is_root_alone() {
            unshare(CloneFlags::CLONE_NEWUSER)?;
            return set_root_alone(uid, gid).map(|()| self);
        }
        let helper = Helper::fork(&self)?;
        unshare(CloneFlags::CLONE_NEWUSER)?;
        match helper.run() {
            Ok(()) => {
                // What its user could read by a group, the house's instances need not.
                let _ = setgroups(&[]);
                Ok(self)
            }
            Err(why) => {
                set_root_alone(uid, gid)?;
                Ok(Ids { lack: Some(why), ..Ids::current() })
            }
        }
    }
}

impl Range {
    fn has(&self, id: u32) -> bool {
        id.checked_sub(self.inside).is_some_and(|offset| offset < self.count)
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.users.iter().map(|range| match range.count {
            1 => range.outside.to_string(),
            count => format!("{}-{}", range.outside, u64::from(range.outside) + u64::from(count) - 1),
        });
        f.write_str(&ranges.collect::<Vec<_>>().join(", "))
    }
}

/// Root, who is `own` outside, and after it what was `given`.
fn behind(own: u32, given: &[(u32, u32)]) -> Vec<Range> {
    let mut ranges = vec![Range { inside: 0, outside: own, count: 1 }];
    for (outside, count) in given {
        let inside = ranges.last().map_or(0, |last| last.inside + last.count);
        ranges.push(Range { inside, outside: *outside, count: *count });
    }
    ranges
}

fn name_of(uid: Uid) -> Option<String> {
    User::from_uid(uid).ok().flatten().map(|user| user.name)
}

/// The users and groups that the machine gives to a user.
#[expect(clippy::type_complexity, reason = "two lists of ranges")]
fn given_to(uid: Uid) -> (Vec<(u32, u32)>, Vec<(u32, u32)>) {
    let name = name_of(uid);
    let read = |file| given(&fs::read_to_string(file).unwrap_or_default(), name.as_deref(), uid);
    (read("/etc/subuid"), read("/etc/subgid"))
}

/// The ranges of a user in a file like /etc/subuid: `name:first:count`, the name may be a number.
fn given(text: &str, name: Option<&str>, uid: Uid) -> Vec<(u32, u32)> {
    let uid = uid.to_string();
    let of = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (first, count): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let fits = first.checked_add(count).is_some() && count > 0;
        (fits && (Some(owner) == name || owner == uid)).then_some((first, count))
    };
    // newuidmap(1) takes no more.
    text.lines().filter_map(of).take(300).collect()
}

/// The lines of `/proc/<pid>/uid_map` (user_namespaces(7)).
fn parse_map(text: &str) -> Vec<Range> {
    let of = |line: &str| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().ok());
        Some(Range { inside: numbers.next()??, outside: numbers.next()??, count: numbers.next()?? })
    };
    text.lines().filter_map(of).collect()
}

fn set_root_alone(uid: u32, gid: u32) -> io::Result<()> {
    // Otherwise a group that denies something could be left.
    fs::write("/proc/self/setgroups", "deny")?;
    for (file, id) in [("/proc/self/uid_map", uid), ("/proc/self/gid_map", gid)] {
        // A map is written once: what one of two programs did stays.
        if fs::read_to_string(file)?.trim().is_empty() {
            fs::write(file, format!("0 {id} 1"))?;
        }
    }
    Ok(())
}

/// Where a program is: a service's PATH may lack the directories of most.
fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let dirs = path.split(':').chain(["/usr/bin", "/usr/local/bin", "/bin"]);
    dirs.filter(|dir| dir.starts_with('/'))
        .map(|dir| Path::new(dir).join(program))
        .find(|file| file.is_file())
}

/// A child that stays outside, where it may give us ids.
struct Helper {
    go: OwnedFd,
    said: OwnedFd,
    child: nix::unistd::Pid,
}

impl Helper {
    fn fork(ids: &Ids) -> io::Result<Helper> {
        let (wait, go) = nix::unistd::pipe()?;
        let (said, say) = nix::unistd::pipe()?;
        let target = std::process::id().to_string();
        // SAFETY: there is one thread, so the child may do anything.
        match unsafe { fork()? } {
            ForkResult::Parent { child } => Ok(Helper { go, said, child }),
            ForkResult::Child => {
                drop((go, said));
                let _ = fs::File::from(wait).read(&mut [0]);
                let done = set("newuidmap", &target, &ids.users)
                    .and_then(|()| set("newgidmap", &target, &ids.groups));
                if let Err(why) = &done {
                    let _ = fs::File::from(say).write_all(why.as_bytes());
                }
                // SAFETY: ends the process without running what is the parent's.
                unsafe { nix::libc::_exit(i32::from(done.is_err())) }
            }
        }
    }

    /// Lets it begin, and says why it failed if it did.
    fn run(self) -> Result<(), String> {
        drop(self.go);
        let status = waitpid(self.child, None);
        if let Ok(WaitStatus::Exited(_, 0)) = status {
            return Ok(());
        }
        let _ = rustix::io::ioctl_fionbio(&self.said, true);
        let mut why = String::new();
        let _ = fs::File::from(self.said).read_to_string(&mut why);
        Err(if why.is_empty() { "the ids could not be set".into() } else { why })
    }
}

fn set(program: &str, target: &str, ranges: &[Range]) -> Result<(), String> {
    let file =
        find(program).ok_or_else(|| format!("`{program}` is not installed: `sudo apt install uidmap`"))?;
    let numbers = ranges.iter().flat_map(|range| [range.inside, range.outside, range.count]);
    let output = Command::new(file).arg(target).args(numbers.map(|number| number.to_string())).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("`{program}` failed: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("`{program}` cannot be run: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(own: u32, given: &[(u32, u32)]) -> Ids {
        Ids { users: behind(own, given), groups: behind(own, given), lack: None }
    }

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "# none\nann:100000:65536\nbob:1:1\n1000:300000:10\nann:x:1\nann:4294967295:9\nann:7:0\n";
        assert_eq!(given(text, Some("ann"), Uid::from_raw(1000)), [(100_000, 65_536), (300_000, 10)]);
        assert_eq!(given(text, None, Uid::from_raw(7)), []);
    }

    #[test]
    fn root_comes_first_and_the_others_follow_without_a_gap() {
        let ids = ids(1000, &[(100_000, 10), (300_000, 5)]);
        assert!(ids.has_user(0) && ids.has_user(10) && ids.has_user(15) && !ids.has_user(16));
        assert_eq!((ids.owner(), ids.users()), (1000, 16));
        assert_eq!(ids.to_string(), "1000, 100000-100009, 300000-300004");
        let text = "         0       1000          1\n         1     100000         10\n        11     300000          5\n";
        assert_eq!(parse_map(text), ids.users);
    }

    #[test]
    fn more_ids_keep_what_is_there_and_others_do_not() {
        let (alone, more) = (ids(1000, &[]), ids(1000, &[(100_000, 10)]));
        assert!(more.extends(&alone) && more.extends(&more));
        assert!(!alone.extends(&more), "whose files would they be?");
        assert!(!ids(1000, &[(200_000, 10)]).extends(&more));
        assert!(!ids(1001, &[]).extends(&alone));
    }
}
