//! Everything that a process is given, item by item, beside podman with runc: as root and as a user of the
//! image, as the first process and as one more command. What differs is in one table, with its reason.
//!
//! podman's answers are in files here. Where this machine has podman it is asked again, and those are the
//! answers that count; `UPDATE=1` writes them into the files.

mod podman;

use crate::world::{self, World, world};
use freehold_model::exec::ExecRequest;
use freehold_runtime::{ExecOutput, Launch, Runtime};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

const PROBE: &str = include_str!("probe.sh");
const TRIES: &str = include_str!("tries.c");

/// Who runs the probe, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// As the image's root.
    Root,
    /// As the image's user `app`.
    App,
    /// One more command, as root.
    ExecRoot,
    /// One more command, as `app`.
    ExecApp,
}

impl Case {
    const ALL: [Case; 4] = [Case::Root, Case::App, Case::ExecRoot, Case::ExecApp];

    fn name(self) -> &'static str {
        match self {
            Case::Root => "root",
            Case::App => "app",
            Case::ExecRoot => "exec-root",
            Case::ExecApp => "exec-app",
        }
    }

    fn user(self) -> Option<&'static str> {
        matches!(self, Case::App | Case::ExecApp).then_some("app")
    }

    fn is_exec(self) -> bool {
        matches!(self, Case::ExecRoot | Case::ExecApp)
    }
}

/// What may not be as podman has it, whatever it is there: the item's name (`*` stands for how it goes on),
/// what it is here, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("env TERM", "-", "as with Docker: only where there is a terminal"),
    ("env container", "-", "podman's own"),
    ("file /etc/resolv.conf", "regular file 644 0:0 0:0", "podman without a network has no name server"),
    ("id", "uid=0(root) gid=0(root) groups=0(root),78(more)", EXEC_GROUPS),
    ("id", "uid=1234(app) gid=1235(app) groups=77(extra),78(more),1235(app)", EXEC_GROUPS),
    ("status Groups", "0 78", EXEC_GROUPS),
    ("status Groups", "77 78 1235", EXEC_GROUPS),
    ("kernel /proc/interrupts", "shows nothing, writable: nowhere", "what the machine does; as Docker 28"),
    ("mount /proc/interrupts", "tmpfs rw,nosuid,size=65536k,mode=755", "what the machine does; as Docker 28"),
    ("kilobytes of /dev/shm", "65536", "64 MiB, as Docker"),
    ("mount /dev/shm", "tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k", "64 MiB, as Docker"),
    ("kernel /*", "-", "another kernel than when podman was asked"),
    ("kernel /*", "shows nothing, writable: no", "another kernel than when podman was asked"),
    ("kernel /*", "shows nothing, writable: nowhere", "another kernel than when podman was asked"),
    ("mount /proc/*", "-", "another kernel than when podman was asked"),
    ("mount /proc/*", "tmpfs ro,relatime", "another kernel than when podman was asked"),
    ("mount /sys/*", "-", "another kernel than when podman was asked"),
    ("mount /sys/*", "tmpfs ro,relatime", "another kernel than when podman was asked"),
    ("mount / nodev", "1", "a device that an image brings along is dead"),
    ("mount /dev", "tmpfs rw,nosuid,size=65536k,mode=755", "as Docker"),
    (
        "mount /dev/pts",
        "devpts rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666,max=256",
        "no instance takes every terminal of the machine",
    ),
    ("mount /proc/keys", "tmpfs rw,nosuid,size=65536k,mode=755", "/dev/null, which is of /dev"),
    ("mount /proc/timer_list", "tmpfs rw,nosuid,size=65536k,mode=755", "/dev/null, which is of /dev"),
    ("status SigIgn", "0000000000000000", "what ignores signals may have started Freehold"),
    ("stdin", "pipe:", "of a command: what its caller sends"),
    ("sysctl net/ipv4/ip_unprivileged_port_start", "0", "as Docker"),
    ("sysctl net/ipv4/ping_group_range", "0 2147483647", "as Docker"),
    ("port 80 by *", "yes", "ip_unprivileged_port_start"),
    ("ping by *", "yes", "ping_group_range"),
];

const EXEC_GROUPS: &str = "podman gives its own group to the first process alone";

type Items = BTreeMap<String, String>;

#[tokio::test]
async fn it_is_given_what_podman_gives() {
    let world = world!();
    let layer = make_layer(&world);
    let podman = podman::answers(&layer);
    let mut wrong = Vec::new();
    for case in Case::ALL {
        let ours = items(&of_ours(&world, case).await);
        let theirs = items(&podman.texts[case.name()]);
        for (name, ours, theirs) in beside(&ours, &theirs) {
            let mut known = DIFFERENCES.iter().filter(|(known, ..)| covers(known, name));
            // Those depend on what the machine gives to the process that starts either.
            let limit = !podman.asked && name.starts_with("limit ");
            if ours != theirs && !limit && !known.any(|(_, expected, _)| *expected == ours) {
                wrong.push(format!("{case:?} {name}: `{ours}`, podman has `{theirs}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every item that either has, with both values; one that it does not have is `-`.
fn beside<'a>(ours: &'a Items, theirs: &'a Items) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
    let mut names: Vec<&str> = ours.keys().chain(theirs.keys()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let value = |items: &'a Items, name: &str| items.get(name).map_or("-", String::as_str);
    names.into_iter().map(move |name| (name, value(ours, name), value(theirs, name)))
}

fn covers(known: &str, name: &str) -> bool {
    known.strip_suffix('*').map_or(known == name, |start| name.starts_with(start))
}

fn items(text: &str) -> Items {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.into(), value.into())).collect()
}

/// What the probe says in an instance.
async fn of_ours(world: &World, case: Case) -> String {
    let mut launch =
        Launch { user: case.user().map(str::to_owned), workdir: "/srv/app".into(), ..world.launch("") };
    launch.layers = vec![world.dir.path().join("peer")];
    launch.env = vec![];
    if !case.is_exec() {
        launch.args = vec!["/bin/sh".into(), "/probe.sh".into()];
        return world.output_of(&launch).await;
    }
    launch.args = vec!["/bin/sleep".into(), "1000".into()];
    let handle = world.runtime.start(&launch).await.unwrap();
    let command = vec!["/bin/sh".into(), "/probe.sh".into()];
    let session = handle.exec(&ExecRequest { command, ..ExecRequest::default() }).await.unwrap();
    let (text, errors, end) = world::collect(session).await;
    assert_eq!(end, ExecOutput::Exit(0), "{text}{errors}");
    world::end(&world.runtime, &handle).await;
    text
}

/// A root file system with the probe in it. A run leaves the folder of the layer as it is.
fn make_layer(world: &World) -> std::path::PathBuf {
    let layer = world.dir.path().join("peer");
    for name in ["bin", "etc", "tmp", "home/app"] {
        fs::create_dir_all(layer.join(name)).unwrap();
    }
    fs::copy("/bin/busybox", layer.join("bin/busybox")).unwrap();
    let applets = Command::new("/bin/busybox").arg("--list").output().unwrap().stdout;
    for applet in String::from_utf8(applets).unwrap().lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", layer.join("bin").join(applet)).unwrap();
    }
    let passwd = "root:x:0:0::/root:/bin/sh\napp:x:1234:1235::/home/app:/bin/sh\n";
    fs::write(layer.join("etc/passwd"), passwd).unwrap();
    fs::write(layer.join("etc/group"), "root:x:0:\napp:x:1235:\nextra:x:77:app\nmore:x:78:root,app\n")
        .unwrap();
    fs::write(layer.join("probe.sh"), PROBE).unwrap();
    set_mode(&layer.join("tmp"), 0o1777);
    std::os::unix::fs::chown(layer.join("home/app"), Some(1234), Some(1235)).unwrap();
    make_programs(&layer);
    layer
}

fn make_programs(layer: &Path) {
    let (source, program) = (layer.join("tries.c"), layer.join("bin/tries-plain"));
    fs::write(&source, TRIES).unwrap();
    let compiled = Command::new("gcc").args(["-static", "-O1", "-o"]).args([&program, &source]).status();
    assert!(compiled.unwrap().success());
    fs::remove_file(&source).unwrap();
    let copy = |name: &str, mode| {
        let to = layer.join("bin").join(name);
        fs::copy(&program, &to).unwrap();
        set_mode(&to, mode);
        to
    };
    copy("tries-suid", 0o4755);
    copy("tries-sgid", 0o2755);
    let (bind, raw) = (10, 13);
    for (name, capability) in [("tries-cap", bind), ("tries-raw", raw)] {
        give_capability(&copy(name, 0o755), capability);
    }
}

/// As `setcap CAPABILITY=ep` does (linux/capability.h, version 2).
fn give_capability(program: &Path, capability: u32) {
    let words: [u32; 5] = [0x0200_0001, 1 << capability, 0, 0, 0];
    let value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(program, "security.capability", &value, flags).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
