//! Agents come and go, shims are killed: instances are neither lost nor doubled.

use crate::world::{self, world};
use freehold_runtime::{RunState, Runtime, RuntimeError};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::fs;

/// The shim of the process `pid`: its parent.
fn shim_of(pid: i32) -> Pid {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
    Pid::from_raw(parent.parse().unwrap())
}

#[tokio::test]
async fn what_runs_is_adopted_with_its_log_and_its_exit() {
    let world = world!();
    let launch = world.launch("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    let handle = world.runtime.start(&launch).await.unwrap();
    let pid = world::running(&*handle).await;
    drop(handle);
    let second = world.another();
    let [(adopted, handle)] = second.adopt().await.unwrap().try_into().unwrap_or_else(|_| panic!("not one"));
    assert_eq!(adopted, launch);
    assert_eq!(world::running(&*handle).await, pid);
    assert!(matches!(second.start(&launch).await, Err(RuntimeError::AlreadyRunning(_))));
    world::logged(&launch, "ready").await;
    handle.signal(15).await.unwrap();
    assert_eq!(world::exit(&*handle).await.code, Some(5));
    second.remove(launch.instance).await.unwrap();
    assert!(second.adopt().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_ended_meanwhile_is_adopted_as_ended() {
    let world = world!();
    let good = world.launch("exit 6");
    let mut bad = world.launch("");
    bad.args = vec!["no-such-program".into()];
    for launch in [&good, &bad] {
        world::over(&*world.runtime.start(launch).await.unwrap()).await;
    }
    let adopted = world.another().adopt().await.unwrap();
    let state = |of: &freehold_runtime::Launch| {
        adopted.iter().find(|(launch, _)| launch == of).unwrap().1.state().borrow().clone()
    };
    assert!(matches!(state(&good), RunState::Exited(exit) if exit.code == Some(6)));
    assert!(matches!(state(&bad), RunState::StartFailed { .. }));
    assert!(matches!(adopted[0].1.signal(15).await, Err(RuntimeError::NotRunning(_))));
}

#[tokio::test]
async fn an_instance_does_not_outlive_its_shim() {
    let world = world!();
    // The first process is told of its parent's death; only its control group tells of the other.
    let number = format!("13{}", std::process::id());
    let script = format!("sleep {number} & echo ready; wait");
    let runs = || world::processes().iter().any(|line| line.contains(&format!("sleep\0{number}")));
    for launch in [world.launch(&script), world.process(&script)] {
        let handle = world.runtime.start(&launch).await.unwrap();
        let pid = world::running(&*handle).await;
        world::logged(&launch, "ready").await;
        kill(shim_of(pid), Signal::SIGKILL).unwrap();
        let exit = world::exit(&*handle).await;
        assert_eq!((exit.code, exit.signal), (None, None), "nobody saw how it ended");
        // Its new parent may not have asked for it yet.
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        assert!(status.is_empty() || status.contains("State:\tZ"), "it still runs: {status}");
        assert!(!runs(), "its child still runs");
        world.runtime.remove(launch.instance).await.unwrap();
        assert_eq!(world::remains(&launch), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_shim_killed_while_no_agent_looked_is_found_by_adoption() {
    let world = world!();
    let launch = world.launch("echo ready; sleep 1000");
    let handle = world.runtime.start(&launch).await.unwrap();
    let pid = world::running(&*handle).await;
    world::logged(&launch, "ready").await;
    drop(handle);
    kill(shim_of(pid), Signal::SIGKILL).unwrap();
    let second = world.another();
    let adopted = second.adopt().await.unwrap();
    assert!(
        matches!(&*adopted[0].1.state().borrow(), RunState::Exited(_) | RunState::Starting),
        "{:?}",
        adopted[0].1.state()
    );
    world::over(&*adopted[0].1).await;
    let again = second.start(&launch).await.unwrap();
    world::running(&*again).await;
    world::end(&second, &again).await;
    assert_eq!(world::remains(&launch), Vec::<String>::new());
}

/// Its fork, which waits for the rest of a container that will never come, must not pass for it.
#[tokio::test]
async fn what_a_shim_left_on_its_way_into_a_container_is_not_taken_for_it() {
    let world = world!();
    let launch = world.launch("sleep 1000");
    let handle = world.runtime.start(&launch).await.unwrap();
    let pid = world::running(&*handle).await;
    drop(handle);
    kill(shim_of(pid), Signal::SIGKILL).unwrap();
    let dir = world.dir.path().join("instances").join(launch.instance.to_string());
    let lock = fs::File::options().write(true).open(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    fs::remove_file(dir.join("shim.sock")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(dir.join("shim.sock")).unwrap();
    // It waits for the shim for ever: first of its session and of its namespace, with lock and socket.
    let mut command = std::process::Command::new("unshare");
    command.args(["--pid", "--fork", "setsid", "perl", "-e", "sleep 1000", "shim"]).arg(&dir);
    let mut fork = command.stdin(std::os::fd::OwnedFd::from(listener)).stdout(lock).spawn().unwrap();
    drop(command);
    let sleeps =
        |pid: &Pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"perl"));
    world::eventually("the fork", || world::shims(&launch).iter().any(sleeps)).await;

    let second = world.another();
    let [(_, adopted)] = second.adopt().await.unwrap().try_into().unwrap_or_else(|_| panic!("not one"));
    world::over(&*adopted).await;
    fork.wait().unwrap();
    assert_eq!(world::shims(&launch), vec![]);
    second.remove(launch.instance).await.unwrap();
    assert_eq!(world::remains(&launch), Vec::<String>::new());
}

/// A node in a container, entered from outside, sees processes in a session it has no number for.
#[tokio::test]
async fn adoption_works_where_a_session_began_outside() {
    let _world = world!();
    let test = "adoption::what_a_shim_left_on_its_way_into_a_container_is_not_taken_for_it";
    let mut command = std::process::Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(std::env::current_exe().unwrap());
    let out = command.args(["--exact", test]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

#[tokio::test]
async fn a_shim_killed_while_it_starts_is_noticed_and_leaves_nothing() {
    let world = world!();
    for moment in 0..30 {
        let launch = world.launch("sleep 1000");
        let handle = world.runtime.start(&launch).await.unwrap();
        // A program that was just started is not to be seen by its arguments for a moment.
        world::eventually("the shim", || !world::shims(&launch).is_empty()).await;
        tokio::time::sleep(std::time::Duration::from_millis(moment)).await;
        if let Some(shim) = world::shims(&launch).first() {
            let _ = kill(*shim, Signal::SIGKILL);
        }
        world::over(&*handle).await;
        assert_eq!(world::shims(&launch), vec![], "killed after {moment} ms");
        world.runtime.remove(launch.instance).await.unwrap();
        assert_eq!(world::remains(&launch), Vec::<String>::new());
    }
}

#[tokio::test]
async fn stray_signals_do_not_end_a_shim() {
    let world = world!();
    let launch = world.launch("echo ready; sleep 1000");
    let handle = world.runtime.start(&launch).await.unwrap();
    let pid = world::running(&*handle).await;
    let status = || fs::read_to_string(format!("/proc/{}/status", shim_of(pid))).unwrap();
    println!("shim: {}", status().lines().find(|line| line.starts_with("VmRSS")).unwrap());
    let two = || status().contains("Threads:\t2\n");
    world::eventually("itself and the thread that writes the log", two).await;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE] {
        kill(shim_of(pid), signal).unwrap();
    }
    world::logged(&launch, "ready").await;
    assert!(matches!(*handle.state().borrow(), RunState::Running { .. }));
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn a_deep_data_directory_is_no_obstacle() {
    let world = world!();
    let deep = world.dir.path().join("d".repeat(100)).join("e".repeat(100));
    let shim = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/shim");
    let config = freehold_runtime::RuntimeConfig {
        instances_dir: deep,
        shim: vec![shim.to_str().unwrap().into(), "shim".into()],
        installation: None,
    };
    let runtime = freehold_runtime::LocalRuntime::new(config).unwrap();
    let launch = world.launch("echo ready; sleep 1000");
    let handle = runtime.start(&launch).await.unwrap();
    world::running(&*handle).await;
    world::end(&runtime, &handle).await;
}
