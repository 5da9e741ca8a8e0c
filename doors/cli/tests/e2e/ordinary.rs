//! A machine whose Freehold an ordinary user starts. The user exists for the test's own commands alone:
//! each sees user databases of the test's own, in a mount namespace of its own.

use crate::world::{Ended, FREEHOLD, World};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    process::Command,
};

/// A user that only the test knows.
pub(crate) struct User {
    uid: u32,
    ids: Option<u32>,
    script: String,
}

/// So many users and groups an image may have.
const IDS: u32 = 65_536;

impl World {
    /// A machine on which nothing runs yet, for a user with or without ids in /etc/subuid and /etc/subgid.
    pub(crate) fn ordinary(with_ids: bool) -> Option<World> {
        let mut world = World::new()?;
        let uid = 1_000_000 + std::process::id();
        let ids = with_ids.then_some(0x2000_0000 + (std::process::id() % 4096) * IDS);
        let dir = world.path("");
        chown(&dir, Some(uid), Some(uid)).unwrap();
        let given = ids.map(|first| format!("tester:{first}:{IDS}\n")).unwrap_or_default();
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        world.write("subuid", &given);
        world.write("passwd", &format!("{passwd}tester:x:{uid}:{uid}::/nonexistent:/bin/sh\n"));
        // The user's own: a build directory may be hidden, and only its owner replaces a program.
        let program = world.path("freehold");
        fs::copy(FREEHOLD, &program).unwrap();
        chown(&program, Some(uid), Some(uid)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let dir = dir.display();
        let script = world.write(
            "as-user",
            &format!(
                "set -e\n\
                 touch /etc/subuid /etc/subgid\n\
                 mount --bind {dir}/passwd /etc/passwd\n\
                 mount --bind {dir}/subuid /etc/subuid\n\
                 mount --bind {dir}/subuid /etc/subgid\n\
                 export HOME={dir}\n\
                 exec setpriv --reuid {uid} --regid {uid} --clear-groups -- \"$@\"\n"
            ),
        );
        world.become_user(User { uid, ids, script });
        Some(world)
    }

    /// What root is told who starts Freehold over the user's data.
    pub(crate) fn up_as_root(&self) -> Ended {
        Ended::of(
            self.command_of(None, FREEHOLD)
                .args(["up", "--listen", "127.0.0.1:7412", "--data"])
                .arg(self.data()),
        )
    }

    /// Starts `freehold up` as the user, and waits until it is ready.
    pub(crate) fn ordinary_up(&mut self) {
        self.up_from(&self.path("freehold"));
    }
}

impl User {
    /// Makes `command`, which has no arguments yet, run what follows as this user.
    pub(crate) fn lead(&self, command: &mut Command) {
        command.args(["unshare", "--mount", "--propagation", "private", "sh", &self.script]);
    }

    /// The processes of this user, and of the users of its namespaces.
    pub(crate) fn processes(&self) -> Vec<String> {
        let ours =
            |uid: u32| uid == self.uid || self.ids.is_some_and(|first| (first..first + IDS).contains(&uid));
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let found = processes.filter_map(|entry| {
            entry.file_name().to_str()?.parse::<u32>().ok()?;
            ours(entry.metadata().ok()?.uid()).then_some(())?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
        // One that has ended has no command line any more.
        found.filter(|line| !line.is_empty()).collect()
    }
}
