//! nginx under wrk while it is redeployed, scaled, rolled back and broken: not one request fails. And
//! connections that are still there when the drain timeout is over: they live until then, and are cut.

use super::{SITE, manifest};
use crate::world::{World, nginx_layout, wait_for};
use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
};

/// A drain waits for clients that keep their connection, up to a thousand requests of nginx's own limit.
const PATIENT: &str = "\n[deploy]\ndrain_timeout = \"2m\"\n";

/// wrk, which asks until it is told to stop.
struct Wrk {
    child: Child,
    out: std::path::PathBuf,
}

impl Wrk {
    /// Each of `connections` waits `pause` milliseconds between its requests: load, and no flood that
    /// other tests would feel. The edge is L4, so both are different: who keeps the connection stays with
    /// an instance, who does not goes to a new one each time.
    fn start(world: &World, connections: u32, pause: u32, keep: bool) -> Wrk {
        let script = format!("function delay() return {pause} end\n");
        let script = world.write(&format!("pause-{keep}.lua"), &script);
        let out = world.path(&format!("wrk-{keep}.txt"));
        let header = if keep { "Connection: keep-alive" } else { "Connection: close" };
        let mut command = world.command("wrk");
        command.args(["-t1", &format!("-c{connections}"), "-d1h", "--timeout", "20s", "-s", &script]);
        command.args(["-H", header, SITE]).stdout(File::create(&out).unwrap());
        let child = command.stderr(Stdio::inherit()).spawn().expect("wrk is installed");
        Wrk { child, out }
    }

    /// Its summary, after an interrupt.
    fn stop(mut self) -> String {
        // nsenter has become wrk.
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert!(self.child.wait().unwrap().success());
        std::fs::read_to_string(&self.out).unwrap()
    }
}

impl Drop for Wrk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What wrk says when something failed: `Socket errors: connect 0, read 1, ...`, `Non-2xx or 3xx responses`.
fn assert_no_request_failed(summary: &str) {
    assert!(!summary.contains("Socket errors") && !summary.contains("Non-2xx"), "{summary}");
    let requests = summary.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests: u64 = requests.unwrap_or_else(|| panic!("no summary: {summary}")).0.parse().unwrap();
    assert!(requests > 1000, "hardly any load: {summary}");
}

#[test]
fn no_request_fails_while_releases_come_and_go() {
    let Some(world) = World::start() else { return };
    for tag in ["1", "2"] {
        world.skopeo_push(&nginx_layout(), tag, &format!("nginx:{tag}"));
    }
    let write = |tag, count| {
        world.write(&format!("{tag}-{count}.toml"), &format!("{}{PATIENT}", manifest(tag, count)))
    };
    world.freehold(&["deploy", "-f", &write(1, 2)]).ok();
    let wrks = [Wrk::start(&world, 8, 2, true), Wrk::start(&world, 4, 10, false)];
    // Each comes while requests are under way, which the counter of the endpoint shows.
    let carried = || world.json(&["endpoint", "list"])[0]["traffic"]["bytes_out"].as_u64().unwrap();
    let under_load = || {
        let before = carried();
        wait_for("load", carried, |bytes| *bytes > before + 100_000);
    };
    under_load();
    world.freehold(&["deploy", "-f", &write(2, 2)]).ok();
    assert_eq!(world.get(SITE), "release two\n");
    under_load();
    world.freehold(&["deploy", "-f", &write(2, 4)]).ok();
    under_load();
    world.freehold(&["deploy", "-f", &write(2, 1)]).ok();
    assert_eq!(world.instances("site").len(), 1);
    under_load();
    world.freehold(&["rollback", "-a", "site"]).ok();
    under_load();
    world.freehold(&["rollback", "-a", "site"]).ok();

    // Releases that do not come up: one that ends, one that never answers its check.
    for (name, command) in [("ends", "[\"/bin/false\"]"), ("hangs", "[\"/bin/sleep\", \"1000\"]")] {
        under_load();
        let text = format!("{}{PATIENT}", manifest(2, 2))
            .replace("\ncount", &format!("\ncommand = {command}\ncount"));
        let text = text.replace("grace = \"20s\"", "grace = \"1s\"");
        let broken = world.write(&format!("{name}.toml"), &text);
        world.freehold(&["deploy", "-f", &broken]).exits(8);
    }
    under_load();
    for wrk in wrks {
        assert_no_request_failed(&wrk.stop());
    }
}

/// A connection that is open as long as it is not cut: nginx answers each request that is written to it.
struct Long {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Long {
    fn open(world: &World) -> Long {
        let line = "use IO::Socket::INET; $| = 1; my $s = IO::Socket::INET->new(\"127.0.0.1:8000\") or die; \
                    while (<STDIN>) { print $s \"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n\"; my $t = \"\"; \
                    while ($t !~ /release \\w+\\n/) { defined(sysread $s, $t, 4096, length $t) or print(\"cut: $!\\n\"), exit; \
                    $t or print(\"ended\\n\"), exit } $t =~ /(release \\w+)/; print \"$1\\n\" }";
        let mut command = world.command("perl");
        command.args(["-e", line]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Long { child, answers }
    }

    fn ask(&mut self) -> String {
        let mut answer = String::new();
        if writeln!(self.child.stdin.as_mut().unwrap()).is_ok() {
            self.answers.read_line(&mut answer).unwrap();
        }
        answer.trim_end().to_owned()
    }
}

impl Drop for Long {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_connection_lives_on_through_a_redeploy_until_the_drain_is_over() {
    let Some(world) = World::start() else { return };
    for tag in ["1", "2"] {
        world.skopeo_push(&nginx_layout(), tag, &format!("nginx:{tag}"));
    }
    let write = |tag| {
        let text = format!("{}\n[deploy]\ndrain_timeout = \"6s\"\n", manifest(tag, 1));
        world.write(&format!("{tag}.toml"), &text)
    };
    world.freehold(&["deploy", "-f", &write(1)]).ok();
    let mut long = Long::open(&world);
    assert_eq!(long.ask(), "release one");
    let mut command: Command = world.command(crate::world::FREEHOLD);
    let deploy = command.args(["deploy", "-f", &write(2)]).stdout(Stdio::null()).stderr(Stdio::piped());
    let deploy = deploy.spawn().unwrap();
    wait_for("the new release", || world.get(SITE), |page| page == "release two\n");
    // It is with the old release, which answers it like before, until its time is over.
    let backends = || world.json(&["endpoint", "list"])[0]["traffic"]["backends"].clone();
    for _ in 0..10 {
        assert_eq!(long.ask(), "release one");
    }
    let leaving = backends();
    let leaving = leaving.as_array().unwrap().iter().find(|one| one["serves"] == false);
    assert_eq!(leaving.map(|one| &one["active"]), Some(&1.into()), "{leaving:#?}");
    let ended = deploy.wait_with_output().unwrap();
    assert!(ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("cut after 6s"), "the deploy does not say that it was cut: {said}");
    let end = long.ask();
    assert!(end.starts_with("cut") || end == "ended" || end.is_empty(), "it goes on: {end}");
    assert_eq!(world.get(SITE), "release two\n");
}
