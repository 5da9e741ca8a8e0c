//! Hosts reach each other, and are cut off, slowed, killed, paused, without room and out of time as told.

use freehold_lab::{Lab, Line, Runs, eventually};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// A lab, unless there can be none here.
macro_rules! lab {
    ($dir:ident, $($name:literal),+) => {{
        if let Some(lack) = freehold_lab::lack() {
            eprintln!("SKIPPED: no laboratory here: {lack}");
            return;
        }
        Lab::new($dir.path(), &[$($name),+], 7).unwrap()
    }};
}

/// How many of so many pings one host answers to another.
fn pings(lab: &Lab, from: &str, to: &str, count: u32) -> u32 {
    let to = lab.host(to).unwrap().address().to_string();
    // A connection each, to a port where nobody listens: refused at once, or never.
    let script = format!(
        "import socket,sys\nn=0\nfor _ in range({count}):\n s=socket.socket(); s.settimeout(0.3)\n try: s.connect(('{to}',9))\n except ConnectionRefusedError: n+=1\n except OSError: pass\n s.close()\nprint(n)"
    );
    let output = lab.host(from).unwrap().command("python3").args(["-c", &script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_else(|_| panic!("{output:?}"))
}

#[test]
fn hosts_reach_each_other_as_far_as_they_may() {
    let dir = tempfile::tempdir().unwrap();
    let lab = lab!(dir, "a", "b", "c");
    assert_eq!((pings(&lab, "a", "b", 3), pings(&lab, "b", "c", 3)), (3, 3));
    lab.isolate("b").unwrap();
    assert_eq!((pings(&lab, "a", "b", 1), pings(&lab, "b", "c", 1), pings(&lab, "a", "c", 1)), (0, 0, 1));
    lab.heal();
    assert_eq!(pings(&lab, "a", "b", 1), 1);

    // One direction is enough to have no answer.
    lab.set("b", "a", Line::cut()).unwrap();
    assert_eq!(pings(&lab, "a", "b", 1), 0);
    lab.heal();
    lab.set("a", "b", "delay=100ms".parse().unwrap()).unwrap();
    let began = Instant::now();
    assert_eq!(pings(&lab, "a", "b", 2), 2);
    assert!(began.elapsed() >= Duration::from_millis(200), "it was not late");
    lab.set("a", "b", "loss=100%".parse().unwrap()).unwrap();
    assert_eq!(pings(&lab, "a", "b", 1), 0);
    lab.set("a", "b", "duplicate=100%".parse().unwrap()).unwrap();
    assert_eq!(pings(&lab, "a", "b", 3), 3);
    assert!(lab.set("a", "nobody", Line::cut()).unwrap_err().to_string().contains("a, b, c"));
}

#[test]
fn a_program_is_killed_paused_and_brought_back() {
    let dir = tempfile::tempdir().unwrap();
    let lab = lab!(dir, "a");
    let host = lab.host("a").unwrap();
    let script = "while :; do echo on; sleep 0.05; done";
    host.start(Path::new("sh"), &["-c", script]).unwrap();
    assert!(host.start(Path::new("sh"), &[]).is_err(), "one program at a time");
    let grows = || {
        let before = host.log().len();
        eventually(Duration::from_secs(10), || host.log().len() > before)
    };
    assert!(grows());
    host.pause().unwrap();
    // What it wrote before it was paused arrives.
    let mut settled = host.log().len();
    assert!(eventually(Duration::from_secs(10), || std::mem::replace(&mut settled, host.log().len())
        == host.log().len()));
    assert_eq!((host.runs(), host.log().len()), (Runs::Paused, settled));
    host.resume().unwrap();
    assert!(grows());
    host.kill().unwrap();
    assert_eq!(host.runs(), Runs::No);
    assert!(host.kill().is_err(), "nothing runs");
    host.start(Path::new("sh"), &["-c", script]).unwrap();
    host.stop().unwrap();
}

#[test]
fn a_disk_is_full_and_a_clock_is_wrong_on_one_host_alone() {
    let dir = tempfile::tempdir().unwrap();
    let lab = lab!(dir, "a", "b");
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    a.fill().unwrap();
    assert!(std::fs::write(a.data().join("more"), [0; 8192]).is_err());
    std::fs::write(b.data().join("more"), [0; 8192]).unwrap();
    a.free().unwrap();
    std::fs::write(a.data().join("more"), [0; 8192]).unwrap();

    let now = |host: &freehold_lab::Host| -> i64 {
        let output = host.command("date").arg("+%s").output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
    };
    a.set_clock(3600).unwrap();
    let ahead = now(a) - now(b);
    assert!((3590..=3610).contains(&ahead), "{ahead}");
    a.set_clock(-3600).unwrap();
    let ahead = now(a) - now(b);
    assert!((-3610..=-3590).contains(&ahead), "{ahead}");
}

#[test]
fn nothing_is_left_of_a_lab() {
    let dir = tempfile::tempdir().unwrap();
    let lab = lab!(dir, "a", "b");
    let names: Vec<String> = lab.hosts().map(|host| host.netns().to_owned()).collect();
    let host = lab.host("a").unwrap();
    host.start(Path::new("sh"), &["-c", &format!("setsid sleep 1000 {} & wait", dir.path().display())])
        .unwrap();
    drop(lab);
    for name in names {
        assert!(!Path::new("/run/netns").join(name).exists());
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(dir.path().to_str().unwrap()), "{mounts}");
}
