//! `freehold exec`: what a person relies on, and what happens when either side dies.

use crate::world::{Ended, FREEHOLD, World, wait_for};
use std::{
    fs,
    process::{Child, Command, Stdio},
};

const MANIFEST: &str = r#"
schema = 1
app = "box"

[process.web]
image = "box:1"
memory = "256MiB"
stop_timeout = "1s"
env = { COLOUR = "red" }
"#;

fn deployed() -> Option<World> {
    let world = World::start()?;
    world.push_busybox("box:1");
    let file = world.write("freehold.toml", MANIFEST);
    world.freehold(&["deploy", "-f", &file]).ok();
    Some(world)
}

/// `freehold exec -- sh -c script`, running.
fn start(world: &World, script: &str) -> Child {
    let mut command = world.command(FREEHOLD);
    command.args(["exec", "--", "sh", "-c", script]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// How many processes of this machine were started with `mark` as an argument.
fn running(mark: &str) -> usize {
    let has = |pid: &fs::DirEntry| {
        let command = fs::read(pid.path().join("cmdline")).unwrap_or_default();
        let mut words = command.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program == b"sleep") && words.any(|word| word == mark.as_bytes())
    };
    fs::read_dir("/proc").unwrap().flatten().filter(has).count()
}

/// A number of seconds that no other test sleeps for.
fn mark(number: u32) -> String {
    format!("{number}{}", std::process::id())
}

fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    Ended {
        command: "freehold exec".into(),
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_command_is_run_as_asked_and_its_code_comes_back() {
    let Some(world) = deployed() else { return };
    let exec = |args: &[&str]| world.freehold(&[&["exec"], args].concat());
    let both = exec(&["--", "sh", "-c", "echo out; echo err >&2; exit 42"]).exits(42);
    assert_eq!((both.out.as_str(), both.err.as_str()), ("out\n", "err\n"));
    exec(&["--", "sh", "-c", "kill -9 $$"]).exits(137);
    exec(&["--", "no-such-program"]).exits(127).says("no-such-program");
    exec(&["--", "/www/index.html"]).exits(126);
    exec(&["-u", "nobody-here", "--", "true"]).exits(1).says("nobody-here");
    exec(&["-w", "/missing", "--", "true"]).exits(1).says("/missing");
    let asked = exec(&[
        "-u",
        "7:8",
        "-w",
        "/www",
        "--var",
        "SIZE=l",
        "--",
        "sh",
        "-c",
        "pwd; echo $COLOUR $SIZE; ls -ln /proc/self/exe",
    ]);
    assert!(asked.out.starts_with("/www\nred l\n") && asked.out.contains(" 7 "), "{asked:#?}");
    let tty = world.sh(&format!(
        "script -qec \"'{FREEHOLD}' exec -it -- sh -c 'ls -l /proc/self/fd/0; exit 3'\" /dev/null < /dev/null"
    ));
    tty.exits(3).says("/dev/pts/");
    exec(&["--env", "A=b", "--", "true"]).exits(2).says("--var A=");
}

#[test]
fn input_comes_out_as_it_went_in() {
    let Some(world) = deployed() else { return };
    let line = format!(
        "head -c 100000000 /dev/urandom | tee >(sha256sum > in) | '{FREEHOLD}' exec -- cat | sha256sum > out; \
         sync in; for i in 1 2 3 4 5 6 7 8 9; do [ -s in ] && break; sleep 0.1; done; cmp in out"
    );
    world.sh(&line).ok();
    let loops = format!("printf 'a\\nb\\n' | while read x; do '{FREEHOLD}' exec -n -- echo $x; done");
    assert_eq!(world.sh(&loops).ok().out, "a\nb\n");
}

#[test]
fn signals_are_passed_and_a_deaf_command_does_not_hold_ctrl_c() {
    let Some(world) = deployed() else { return };
    let deaf = mark(71);
    let child = start(&world, &format!("trap '' INT TERM; sleep {deaf}; true"));
    wait_for("the command", || running(&deaf), |count| *count == 1);
    let interrupt = |child: &Child, signal: &str| {
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    };
    // Signals that come together count as one.
    let mut child = child;
    let over = || {
        interrupt(&child, "-INT");
        child.try_wait().unwrap().is_some()
    };
    let mut over = over;
    assert!(
        crate::world::eventually(std::time::Duration::from_secs(30), &mut over),
        "Ctrl-C does not end it"
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    wait_for("the end of the command", || running(&deaf), |count| *count == 0);

    let polite = mark(72);
    let child = start(&world, &format!("trap 'echo bye; exit 5' TERM; echo; sleep {polite} & wait"));
    wait_for("the command", || running(&polite), |count| *count == 1);
    interrupt(&child, "-TERM");
    let told = ended(child).exits(5);
    assert!(told.out.contains("bye"), "{told:#?}");
}

#[test]
fn whoever_dies_the_other_side_ends() {
    let Some(mut world) = deployed() else { return };
    let (one, two, three) = (mark(81), mark(82), mark(83));

    // The client; and what the command started goes too, though it is in a group of its own.
    let mut client = start(&world, &format!("set -m; sleep {one} & sleep {one}"));
    wait_for("the commands", || running(&one), |count| *count == 2);
    client.kill().unwrap();
    client.wait().unwrap();
    wait_for("the end of the commands", || running(&one), |count| *count == 0);

    // The instance.
    let client = start(&world, &format!("sleep {two}"));
    wait_for("the command", || running(&two), |count| *count == 1);
    let file = world.write("freehold.toml", &MANIFEST.replace("red", "blue"));
    world.freehold(&["deploy", "-f", &file]).ok();
    ended(client).exits(137);

    // The server.
    let client = start(&world, &format!("sleep {three}"));
    wait_for("the command", || running(&three), |count| *count == 1);
    world.kill();
    ended(client).exits(1).says("broke before the command ended");
    wait_for("the end of the command", || running(&three), |count| *count == 0);
}

#[test]
fn a_hundred_commands_run_at_once() {
    let Some(world) = deployed() else { return };
    let long = mark(91);
    let script = format!("read x; sleep {long} & p=$!; read x; kill $p; exit 6");
    let mut clients: Vec<Child> = (0..100).map(|_| start(&world, &script)).collect();
    for client in &mut clients {
        std::io::Write::write_all(client.stdin.as_mut().unwrap(), b"go\n").unwrap();
    }
    wait_for("all to run", || running(&long), |count| *count == 100);
    world.freehold(&["status"]).ok();
    for mut client in clients {
        std::io::Write::write_all(client.stdin.as_mut().unwrap(), b"end\n").unwrap();
        ended(client).exits(6);
    }
}
