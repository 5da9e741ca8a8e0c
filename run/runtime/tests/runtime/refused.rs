//! What about an image keeps it from running: each is named in plain words, with where it is.

use crate::world::{World, world};
use freehold_model::Exit;
use freehold_runtime::{Launch, RunState, Runtime, RuntimeError};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

type Break = fn(&Path, &mut Launch);

/// What is wrong, what is said when it is started, each a part of it.
const BROKEN: &[(&str, Break, &[&str])] = &[
    ("/proc is a link", |at, _| symlink("p", at.join("proc")).unwrap(), &["a link at /proc", "rebuild"]),
    ("/sys is a file", |at, _| fs::write(at.join("sys"), "x").unwrap(), &["a file at /sys"]),
    ("/dev is a file", |at, _| fs::write(at.join("dev"), "x").unwrap(), &["a file at /dev"]),
    ("/dev leads nowhere", |at, _| symlink("gone", at.join("dev")).unwrap(), &["link at /dev", "nowhere"]),
    ("/etc is a file", |at, _| fs::write(at.join("etc"), "x").unwrap(), &["a file at /etc"]),
    (
        "the working directory is a file",
        |at, launch| {
            fs::write(at.join("work"), "x").unwrap();
            launch.workdir = "/work".into();
        },
        &["working directory", "has a file in its place", "/work"],
    ),
    (
        "the working directory is below a file",
        |at, launch| {
            fs::write(at.join("srv"), "x").unwrap();
            launch.workdir = "/srv/below".into();
        },
        &["working directory", "on the way to /srv/below"],
    ),
    (
        "the working directory leads to itself",
        |at, launch| {
            symlink("/work", at.join("work")).unwrap();
            launch.workdir = "/work".into();
        },
        &["working directory", "leads to itself"],
    ),
    ("no such user", |_, launch| launch.user = Some("who".into()), &["no user `who`", "/etc/passwd"]),
    ("no such group", |_, launch| launch.user = Some("app:who".into()), &["no group `who`", "/etc/group"]),
    (
        "no such program",
        |_, launch| launch.args = vec!["gone".into()],
        &["cannot run `gone`: not found in the image's PATH", "/usr/bin"],
    ),
    (
        "no such path",
        |_, launch| launch.args = vec!["/opt/gone".into()],
        &["cannot run `/opt/gone`: not found in the image"],
    ),
    (
        "the program is a folder",
        |_, launch| launch.args = vec!["/tmp".into()],
        &["cannot run `/tmp`", "it is a folder"],
    ),
    (
        "the program is not executable",
        |at, launch| {
            fs::write(at.join("opt"), "x").unwrap();
            fs::set_permissions(at.join("opt"), fs::Permissions::from_mode(0o640)).unwrap();
            launch.args = vec!["/opt".into()];
        },
        &["cannot run `/opt`", "not executable (mode 0640)", "chmod +x"],
    ),
];

/// What only an exec tells: in the log, with the code that shells use.
const UNRUNNABLE: &[(&str, Break, i32, &[&str])] = &[
    (
        "another processor's",
        |at, launch| {
            let mut elf = b"\x7fELF\x02\x02\x01".to_vec();
            elf.resize(64, 0);
            elf[19] = 22;
            program(at, launch, &elf);
        },
        126,
        &["cannot run `/opt`", "for s390x", std::env::consts::ARCH],
    ),
    (
        "its interpreter is missing",
        |at, launch| program(at, launch, b"#!/no/such/python -u\n"),
        127,
        &["`/no/such/python` is not in the image"],
    ),
    (
        "arguments that are too long",
        |_, launch| launch.args = vec!["echo".into(), "x".repeat(200 << 10)],
        126,
        &["cannot run `echo`", "too long"],
    ),
];

fn program(at: &Path, launch: &mut Launch, content: &[u8]) {
    fs::write(at.join("opt"), content).unwrap();
    fs::set_permissions(at.join("opt"), fs::Permissions::from_mode(0o755)).unwrap();
    launch.args = vec!["/opt".into()];
}

fn broken(world: &World, wrong: Break) -> (Launch, tempfile::TempDir) {
    let layer = tempfile::tempdir().unwrap();
    fs::set_permissions(layer.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut launch = world.launch("true");
    wrong(layer.path(), &mut launch);
    launch.layers.push(layer.path().to_owned());
    (launch, layer)
}

#[tokio::test]
async fn what_is_wrong_with_an_image_is_said_in_plain_words() {
    let world = world!();
    for (what, wrong, expected) in BROKEN {
        let (launch, _layer) = broken(&world, *wrong);
        let (state, _) = world.run(&launch).await;
        let RunState::StartFailed { message } = state else { panic!("{what}: {state:?}") };
        assert!(expected.iter().all(|part| message.contains(part)), "{what}: {message}");
        for word in ["BrokenChannel", "rootfs", "init ready", "libcontainer"] {
            assert!(!message.contains(word), "{what}: {message}");
        }
        world.runtime.remove(launch.instance).await.unwrap();
    }
}

#[tokio::test]
async fn why_a_program_cannot_be_executed_is_in_the_log() {
    let world = world!();
    for (what, wrong, code, expected) in UNRUNNABLE {
        let (launch, _layer) = broken(&world, *wrong);
        let (state, lines) = world.run(&launch).await;
        assert!(
            matches!(state, RunState::Exited(Exit { code: Some(c), .. }) if c == *code),
            "{what}: {state:?}"
        );
        let told = lines.iter().any(|line| expected.iter().all(|part| line.text.contains(part)));
        assert!(told, "{what}: {lines:?}");
        world.runtime.remove(launch.instance).await.unwrap();
    }
}

#[tokio::test]
async fn an_environment_entry_without_a_name_is_named() {
    let world = world!();
    for (name, shown) in [("", "`=…`"), ("a=b", "`a=b=…`")] {
        let launch = Launch { env: vec![(name.into(), "secret".into())], ..world.launch("true") };
        let Err(RuntimeError::BadLaunch { reason, .. }) = world.runtime.start(&launch).await else {
            panic!("{name} was taken")
        };
        assert!(reason.contains(shown) && reason.contains("ENV of the image"), "{reason}");
        assert!(!reason.contains("secret"), "{reason}");
    }
}
