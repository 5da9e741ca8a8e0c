//! The user of an image's configuration (`user`, `uid`, `user:group`, `uid:gid`), looked up in the
//! files of the image itself and never outside its root.

use rustix::fs::{Mode, OFlags, ResolveFlags, Uid, fchown, openat2};
use std::{
    io::{self, Read},
    os::fd::AsFd,
};

/// Who runs, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups; its own is one of them, so that no set-group program sheds it (CVE-2022-36109).
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

impl User {
    /// Makes what `fd` is of this user's. The group stays.
    pub(crate) fn own(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(fchown(fd, Some(Uid::from_raw(self.uid)), None)?)
    }
}

/// A user that the image does not know.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("the image has no user `{0}` in /etc/passwd; name one that it has, or a number")]
    NoUser(String),
    #[error("the image has no group `{0}` in /etc/group; name one that it has, or a number")]
    NoGroup(String),
}

/// Looks `wanted` up in the file system at `root`.
pub(crate) fn look_up(root: impl AsFd, wanted: Option<&str>) -> Result<User, UserError> {
    let root = root.as_fd();
    resolve(wanted.unwrap_or(""), &read_file(root, "etc/passwd"), &read_file(root, "etc/group"))
}

/// Missing and unreadable files are empty: many images have none.
fn read_file(root: impl AsFd, path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let Ok(fd) = openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) else {
        return String::new();
    };
    let mut bytes = Vec::new();
    let _ = std::fs::File::from(fd).take(1 << 20).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn resolve(wanted: &str, passwd: &str, group: &str) -> Result<User, UserError> {
    let (name, group_name) = match wanted.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|g| !g.is_empty())),
        None => (wanted, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let number = name.parse::<u32>().ok();
    let entry = rows(passwd).find(|row| match number {
        Some(uid) => row.get(2).and_then(|text| text.parse().ok()) == Some(uid),
        None => row[0] == name,
    });
    let mut user = match (entry, number) {
        (Some(row), _) => User {
            uid: field(&row, 2).ok_or_else(|| UserError::NoUser(name.into()))?,
            gid: field(&row, 3).unwrap_or(0),
            groups: Vec::new(),
            home: row.get(5).copied().filter(|home| home.starts_with('/')).unwrap_or("/").into(),
        },
        (None, Some(uid)) => User { uid, home: "/".into(), ..User::default() },
        (None, None) => return Err(UserError::NoUser(name.into())),
    };
    match group_name {
        Some(group_name) => user.gid = find_group(group, group_name)?,
        None => user.groups = supplementary(passwd, group, &user),
    }
    user.groups.insert(0, user.gid);
    Ok(user)
}

fn find_group(group: &str, name: &str) -> Result<u32, UserError> {
    if let Ok(gid) = name.parse() {
        return Ok(gid);
    }
    let row = rows(group).find(|row| row[0] == name);
    row.and_then(|row| field(&row, 2)).ok_or_else(|| UserError::NoGroup(name.into()))
}

fn supplementary(passwd: &str, group: &str, user: &User) -> Vec<u32> {
    let Some(name) = rows(passwd).find(|row| field(row, 2) == Some(user.uid)).map(|row| row[0]) else {
        return Vec::new();
    };
    let has =
        |row: &Vec<&str>| row.get(3).is_some_and(|members| members.split(',').any(|member| member == name));
    rows(group).filter(has).filter_map(|row| field(&row, 2)).filter(|gid| *gid != user.gid).collect()
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split(':').collect())
}

fn field(row: &[&str], index: usize) -> Option<u32> {
    row.get(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:34:www:/var/www:/bin/false\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlogs:x:44:root,www\nown:x:45:www\n";

    fn user(wanted: &str) -> User {
        resolve(wanted, PASSWD, GROUP).unwrap()
    }

    #[test]
    fn names_and_numbers() {
        let www = User { uid: 33, gid: 34, groups: vec![34, 44, 45], home: "/var/www".into() };
        assert_eq!(user("www"), www);
        assert_eq!(user("33"), www);
        assert_eq!(user("www:logs"), User { gid: 44, groups: vec![44], ..www.clone() });
        assert_eq!(user("www:7"), User { gid: 7, groups: vec![7], ..www });
        assert_eq!(user("1000"), User { uid: 1000, gid: 0, groups: vec![0], home: "/".into() });
        assert_eq!(user("1000:1000").gid, 1000);
        assert_eq!(user("").uid, 0);
        assert_eq!(user("").home, "/root");
    }

    #[test]
    fn the_unknown_is_refused() {
        assert!(matches!(resolve("nobody", PASSWD, GROUP), Err(UserError::NoUser(_))));
        assert!(matches!(resolve("www:nobody", PASSWD, GROUP), Err(UserError::NoGroup(_))));
    }
}
