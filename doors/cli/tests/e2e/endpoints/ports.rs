//! Ports that another program has, and ports that change.

use super::{LINES, Talk, deploy, manifest, tcp, world};
use crate::world::{FREEHOLD, World, eventually};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    time::Duration,
};

/// Another program at a port of the machine.
struct Holder(Child);

impl Holder {
    fn of(world: &World, port: u16) -> Holder {
        let line = format!(
            "use IO::Socket::INET; $| = 1; my $s = IO::Socket::INET->new(LocalPort => {port}, Listen => 1) \
             or die $!; print \"here\\n\"; sleep 1000"
        );
        let mut child = world.command("perl").args(["-e", &line]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "here\n");
        Holder(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Release `name` at `port`.
fn release(name: &str, port: u16) -> String {
    manifest(&LINES.replace("NAME", name), &tcp("").replace("8000", &port.to_string()))
}

/// Seen: v1 was stopped, its port was gone, nothing served, and the message said "v1 serves as before".
#[test]
fn what_serves_stays_at_its_port_when_the_next_one_cannot_have_its_own() {
    let Some(world) = world() else { return };
    deploy(&world, &release("one", 8000)).says("v1 serves: web 1 of 1 healthy");
    let second = world.write("second.toml", &release("two", 8000));
    let third = world.write("third.toml", &release("three", 8001));
    // The port is free when it is planned, and taken when its turn comes.
    world.freehold(&["deploy", "-f", &second, "--detach"]).ok();
    let waits = world.freehold(&["deploy", "-f", &third, "--detach", "--json"]).ok();
    let waits: serde_json::Value = serde_json::from_str(&waits.out).unwrap();
    let holder = Holder::of(&world, 8001);
    let id = waits["id"].as_str().unwrap();
    let failed = world.freehold(&["receipt", id, "--wait"]).exits(8);
    let failed = failed.says("port 8001 is taken by perl (pid ").says("v2 serves: web 1 of 1 healthy");
    assert!(!failed.err.contains("nothing"), "{failed:#?}");
    assert_eq!(Talk::open(&world).say("who"), "two who");
    world.freehold(&["receipt", id]).ok().says("✗ start").says("v2 serves");
    // Now the plan says so, and nothing is begun.
    world.freehold(&["plan", "-f", &third]).exits(5).says("port 8001 is taken by perl (pid ");
    world.freehold(&["deploy", "-f", &third]).exits(5).says("port 8001 is taken by perl (pid ");
    world.freehold(&["status"]).ok().says("1 of 1 healthy").says("127.0.0.1:8000");
    assert_eq!(world.json(&["endpoint", "list"]).as_array().unwrap().len(), 1);
    drop(holder);
    deploy(&world, &release("three", 8001));
    world.freehold(&["status"]).ok().says("127.0.0.1:8001");
}

/// Seen: open connections were cut as soon as the old instance had stopped.
#[test]
fn connections_at_a_port_that_goes_end_by_themselves() {
    let Some(world) = world() else { return };
    deploy(&world, &release("one", 8000));
    let mut long = Talk::open(&world);
    assert_eq!(long.say("before"), "one before");
    let file = world.write("freehold.toml", &release("two", 8001));
    let mut moves =
        world.command(FREEHOLD).args(["deploy", "-f", &file]).stdout(Stdio::null()).spawn().unwrap();
    let bash = |line: &str| world.command("bash").args(["-c", line]).output().unwrap();
    let refused = || !bash("exec 3<>/dev/tcp/127.0.0.1/8000").status.success();
    assert!(eventually(Duration::from_secs(30), refused), "the old port takes new connections");
    let asked = bash("exec 3<>/dev/tcp/127.0.0.1/8001; echo x >&3; head -n 1 <&3");
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "two x\n");
    for round in 0..20 {
        assert_eq!(long.say(&format!("during {round}")), format!("one during {round}"));
    }
    assert!(moves.try_wait().unwrap().is_none(), "it waits for the connection");
    drop(long);
    assert!(moves.wait().unwrap().success());
    assert_eq!(world.json(&["endpoint", "list"]).as_array().unwrap().len(), 1);
}
