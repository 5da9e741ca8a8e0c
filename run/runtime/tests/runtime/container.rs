//! One container: how it starts, what it is given, what it is denied, how it ends.

use crate::world::{self, World, world};
use freehold_model::{Bytes, Exit, Millicores, logs::LogStream};
use freehold_runtime::{Launch, RunState, Runtime, RuntimeError};
use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

#[tokio::test]
async fn it_starts_prints_and_ends_with_its_code() {
    let world = world!();
    let launch = world.launch("echo out; echo err >&2; printf last; exit 7");
    let (state, lines) = world.run(&launch).await;
    let RunState::Exited(Exit { code: Some(7), signal: None, oom: false, .. }) = state else {
        panic!("{state:?}")
    };
    let texts =
        |stream| lines.iter().filter(|l| l.stream == stream).map(|l| l.text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(LogStream::Stdout), ["out", "last"]);
    assert_eq!(texts(LogStream::Stderr), ["err"]);
    world.runtime.remove(launch.instance).await.unwrap();
    assert_eq!(world::remains(&launch), Vec::<String>::new());
    assert_eq!(world::log(&launch).len(), 3, "logs outlive the instance");
}

#[tokio::test]
async fn it_runs_until_it_is_signalled() {
    let world = world!();
    let launch = world.launch("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    let begin = Instant::now();
    let handle = world.runtime.start(&launch).await.unwrap();
    world::running(&*handle).await;
    println!("start to running: {:?}", begin.elapsed());
    world::logged(&launch, "ready").await;
    let asked = Instant::now();
    handle.signal(15).await.unwrap();
    assert_eq!(world::exit(&*handle).await.code, Some(3));
    println!("signal to exit: {:?}", asked.elapsed());
    assert!(matches!(handle.signal(15).await, Err(RuntimeError::NotRunning(_))));
    assert_eq!(world::log(&launch).last().unwrap().text, "bye");
}

#[tokio::test]
async fn a_kill_is_reported_as_a_signal() {
    let world = world!();
    let handle = world.runtime.start(&world.launch("sleep 1000")).await.unwrap();
    world::running(&*handle).await;
    handle.signal(9).await.unwrap();
    let exit = world::exit(&*handle).await;
    assert_eq!((exit.code, exit.signal, exit.oom), (None, Some(9), false));
}

#[tokio::test]
async fn memory_beyond_the_limit_is_an_oom_kill() {
    let world = world!();
    let hungry = "exec dd if=/dev/zero of=/dev/null bs=200M count=1";
    let launch = Launch { memory: Bytes(32 << 20), ..world.launch(hungry) };
    let (state, _) = world.run(&launch).await;
    let RunState::Exited(exit) = state else { panic!("{state:?}") };
    assert!(exit.oom, "{exit:?}");
    let enough = Launch { memory: Bytes(400 << 20), ..world.launch(hungry) };
    let (state, _) = world.run(&enough).await;
    assert!(matches!(state, RunState::Exited(Exit { code: Some(0), oom: false, .. })), "{state:?}");
}

#[tokio::test]
async fn processes_are_limited() {
    let world = world!();
    let script = "n=0; while [ $n -lt 600 ]; do sleep 100 & n=$((n+1)); done; echo all of them";
    let launch = Launch { memory: Bytes(400 << 20), ..world.launch(script) };
    let (state, lines) = world.run(&launch).await;
    assert!(matches!(state, RunState::Exited(Exit { code: Some(1 | 2), .. })), "{state:?}");
    assert!(lines.iter().any(|line| line.text.contains("can't fork")), "{lines:?}");
}

#[tokio::test]
async fn the_processor_is_limited() {
    let world = world!();
    // A tenth of a processor: 10 ms of every period of 100 ms.
    let launch = Launch { cpu: Millicores(100), ..world.launch("while :; do :; done") };
    let handle = world.runtime.start(&launch).await.unwrap();
    world::running(&*handle).await;
    let counters = || world::cpu(&launch);
    world::eventually("twenty periods", || counters().periods >= 20).await;
    let cpu = counters();
    assert!(cpu.throttled >= 10, "it was hardly held back: {cpu:?}");
    // A slice that has begun is finished, and one period may be under way.
    let allowed = (cpu.periods + 2) * 10_000;
    assert!(cpu.used_micros <= allowed * 3 / 2, "more than {allowed} µs: {cpu:?}");
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn a_fork_bomb_is_contained_and_stopped_whole() {
    let world = world!();
    let script = "b() { while :; do b & done; }; b 2>/dev/null & exec tail -f /dev/null";
    let launch = Launch { pids: 60, memory: Bytes(200 << 20), ..world.launch(script) };
    let handle = world.runtime.start(&launch).await.unwrap();
    world::running(&*handle).await;
    world::eventually("a refused fork", || world::refused_forks(&launch) > 0).await;
    assert!(world::tasks(&launch) <= 60);
    assert!(!handle.state().borrow().is_over(), "its first process lives");
    handle.signal(9).await.unwrap();
    assert_eq!(world::exit(&*handle).await.signal, Some(9));
    world.runtime.remove(launch.instance).await.unwrap();
    assert_eq!(world::remains(&launch), Vec::<String>::new());
}

/// Calls that root may make outside, made by root inside.
const CALLS: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#define TRY(name, ...) do { long r = syscall(SYS_##name, __VA_ARGS__); printf("%s %d\n", #name, r < 0 ? errno : 0); } while (0)
int main(void) {
    TRY(keyctl, 0, -3, 1);
    TRY(add_key, "user", "a", "b", 1, -3);
    TRY(bpf, 0, 0, 0);
    TRY(mount, "none", "/tmp", "tmpfs", 0, 0);
    TRY(unshare, CLONE_NEWUSER);
    TRY(setns, 0, 0);
    TRY(perf_event_open, 0, 0, -1, -1, 0);
    TRY(userfaultfd, 0);
    TRY(io_uring_setup, 1, 0);
    TRY(ptrace, 16, 1, 0, 0);
    TRY(clone3, 0, 0);
    TRY(getpid);
    return 0;
}
"#;

#[tokio::test]
async fn every_forbidden_call_is_refused() {
    let world = world!();
    let source = world.dir.path().join("calls.c");
    fs::write(&source, CALLS.replace("TRY(getpid)", "TRY(getpid, 0)")).unwrap();
    let program = world.layer().join("calls");
    let compiled =
        std::process::Command::new("gcc").arg("-static").arg("-o").args([&program, &source]).status();
    assert!(compiled.unwrap().success());
    let text = world.output("/calls").await;
    let said: Vec<(&str, i32)> = text
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, errno)| (name, errno.parse().unwrap()))
        .collect();
    let (eperm, enosys) = (1, 38);
    for (name, errno) in &said[..9] {
        assert_eq!(*errno, eperm, "{name} in {text}");
    }
    assert_eq!(said[10], ("clone3", enosys));
    assert_eq!(said[11], ("getpid", 0), "others work");
    // Its own processes are its own business; others it does not even see.
    assert_eq!(said[9].0, "ptrace");
}

#[tokio::test]
async fn it_is_given_names_environment_and_a_fresh_file_system() {
    let world = world!();
    let mut launch =
        world.launch("hostname; echo $GREETING; pwd; cat /etc/hosts /etc/hostname; ls /work; touch /work/x");
    launch.workdir = "/work".into();
    let address = launch.address.to_string();
    let first = world.output_of(&launch).await;
    for wanted in ["web-1", "good morning", "/work", &format!("{address} web-1"), "127.0.0.1 localhost"] {
        assert!(first.contains(wanted), "no {wanted} in {first}");
    }
    launch.log_dir = world.dir.path().join("second");
    assert_eq!(world.output_of(&launch).await, first, "what a run wrote is gone in the next");
    assert!(!world.layer().join("work").exists(), "layers are never written to");
}

#[tokio::test]
async fn upper_layers_hide_lower_ones() {
    let world = world!();
    let mut launch = world.launch("cat /etc/motd /etc/low");
    for n in 0..60 {
        let layer = world.dir.path().join(format!("a-layer-with-a-name-as-long-as-that-of-a-digest-{n:060}"));
        fs::create_dir_all(layer.join("etc")).unwrap();
        fs::write(layer.join("etc/motd"), format!("layer {n}\n")).unwrap();
        fs::write(layer.join(if n == 0 { "etc/low" } else { "etc/high" }), format!("from {n}\n")).unwrap();
        launch.layers.push(layer);
    }
    assert_eq!(world.output_of(&launch).await, "layer 59\nfrom 0");
}

#[tokio::test]
async fn capabilities_and_privileges_are_dropped() {
    let world = world!();
    let text = world
        .output(
            "grep Cap /proc/self/status; mknod /tmp/null c 1 3 && echo made; \
        mount -t tmpfs none /tmp && echo mounted; hostname other && echo renamed; true",
        )
        .await;
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(text.contains(&format!("{set}:\t00000000800405fb")), "{text}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert!(text.contains(&format!("{set}:\t0000000000000000")), "{text}");
    }
    for done in ["made", "mounted", "renamed"] {
        assert!(!text.lines().any(|line| line == done), "{text}");
    }
}

#[tokio::test]
async fn calls_that_reach_past_the_instance_are_refused() {
    let world = world!();
    let text = world
        .output(
            "grep Seccomp: /proc/self/status; busybox unshare -U -r true && echo a new user namespace; true",
        )
        .await;
    assert!(text.contains("Seccomp:\t2"), "{text}");
    assert!(!text.contains("a new user namespace") && text.contains("not permitted"), "{text}");
}

#[tokio::test]
async fn the_program_of_its_shim_cannot_be_written_to() {
    let world = world!();
    let handle = world.runtime.start(&world.launch("sleep 1000")).await.unwrap();
    let pid = world::running(&*handle).await;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let shim = stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().to_owned();
    // Not merely "text file busy": that ends with the last shim.
    let mount = rustix::fs::statvfs(format!("/proc/{shim}/exe")).unwrap();
    assert!(mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{:?}", mount.f_flag);
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn it_sees_only_itself() {
    let world = world!();
    let text = world.output("echo pid $$; ps | wc -l; ls /sys/class/net; echo > /proc/sys/kernel/hostname || true; cat /proc/kcore | wc -c; echo fds $(ls /proc/self/fd)").await;
    assert!(text.contains("pid 1"), "{text}");
    assert!(text.contains("eth0") && text.contains("lo"), "{text}");
    assert!(text.contains("Read-only file system"), "{text}");
    assert!(
        text.contains("fds 0 1 2 3\n") || text.ends_with("fds 0 1 2 3"),
        "three streams and the directory listed: {text}"
    );
}

#[tokio::test]
async fn its_user_is_of_the_image() {
    let world = world!();
    for (user, wanted) in [
        ("app", "uid=1234(app) gid=1235(app) groups=77(extra),1235(app)\n"),
        ("1234", "uid=1234(app) gid=1235(app) groups=77(extra),1235(app)\n"),
        ("app:extra", "uid=1234(app) gid=77(extra) groups=77(extra)\n"),
        ("4000:5000", "uid=4000 gid=5000 groups=5000\n"),
    ] {
        let launch = Launch { user: Some(user.into()), ..world.launch("id; echo $HOME") };
        let text = world.output_of(&launch).await;
        assert!(text.starts_with(wanted), "{user}: {text}");
    }
    let launch = Launch { user: Some("nobody-here".into()), ..world.launch("id") };
    let (state, _) = world.run(&launch).await;
    let RunState::StartFailed { message } = state else { panic!("{state:?}") };
    assert!(message.contains("nobody-here") && message.contains("/etc/passwd"), "{message}");
}

#[tokio::test]
async fn a_program_without_its_interpreter_says_what_is_missing() {
    let world = world!();
    let mut launch = world.launch("");
    let layer = tempfile::tempdir().unwrap();
    fs::create_dir(layer.path().join("opt")).unwrap();
    let program = layer.path().join("opt/app");
    fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    launch.layers.push(layer.path().to_owned());
    launch.args = vec!["/opt/app".into()];
    let (state, lines) = world.run(&launch).await;
    assert!(matches!(state, RunState::Exited(Exit { code: Some(127), .. })), "{state:?}");
    let told = |line: &str| line.contains("/opt/app") && line.contains("not in the image");
    assert!(lines.iter().any(|line| told(&line.text)), "{lines:?}");
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let world = world!();
    let mut launch = world.launch("");
    launch.args = vec!["no-such-program".into()];
    let (state, _) = world.run(&launch).await;
    let RunState::StartFailed { message } = state else { panic!("{state:?}") };
    assert!(message.contains("no-such-program") && message.contains("not found"), "{message}");
    launch.args = vec!["sh".into()];
    launch.layers = vec!["/no/such/layer".into()];
    let (state, _) = world.run(&launch).await;
    let RunState::StartFailed { message } = state else { panic!("{state:?}") };
    assert!(message.contains("/no/such/layer"), "{message}");
    world.runtime.remove(launch.instance).await.unwrap();
    for bad in [
        Launch { args: vec![], ..launch.clone() },
        Launch { layers: vec![], ..launch.clone() },
        Launch { hostname: "x".repeat(65), ..launch.clone() },
        Launch { env: vec![("A".into(), "\0".into())], ..launch.clone() },
    ] {
        assert!(matches!(world.runtime.start(&bad).await, Err(RuntimeError::BadLaunch { .. })));
    }
    assert_eq!(world::remains(&launch), Vec::<String>::new());
}

#[tokio::test]
async fn it_runs_once_at_a_time_and_is_not_removed_while_it_runs() {
    let world = world!();
    let launch = world.launch("sleep 1000");
    let handle = world.runtime.start(&launch).await.unwrap();
    assert!(matches!(world.runtime.start(&launch).await, Err(RuntimeError::AlreadyRunning(_))));
    assert!(matches!(world.another().start(&launch).await, Err(RuntimeError::AlreadyRunning(_))));
    world::running(&*handle).await;
    assert!(matches!(world.runtime.remove(launch.instance).await, Err(RuntimeError::StillRunning(_))));
    handle.signal(9).await.unwrap();
    world::over(&*handle).await;
    let again = world.runtime.start(&launch).await.unwrap();
    world::running(&*again).await;
    world::end(&world.runtime, &again).await;
    world.runtime.remove(launch.instance).await.unwrap();
    assert_eq!(world::remains(&launch), Vec::<String>::new());
}

#[tokio::test]
async fn devices_that_an_image_brings_along_are_dead() {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let world = world!();
    let path = world.layer().join("zero");
    mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5)).unwrap();
    let text = world.output("ls /zero; head -c 3 /zero && echo read; head -c 3 /dev/zero | wc -c").await;
    assert!(text.contains("Permission denied") && !text.contains("read\n"), "{text}");
    assert!(text.contains('3'), "its own devices work: {text}");
}

#[tokio::test]
async fn the_mounts_of_the_node_stay_as_they_were() {
    let world: World = world!();
    let launch = world.launch("echo ready; sleep 1000");
    let handle = world.runtime.start(&launch).await.unwrap();
    world::logged(&launch, "ready").await;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&launch.instance.to_string()), "{mounts}");
    let merged = world.dir.path().join("instances").join(launch.instance.to_string()).join("merged");
    assert_eq!(fs::read_dir(merged).unwrap().count(), 0, "seen from here it is empty");
    world::end(&world.runtime, &handle).await;
}
