//! The world beyond a test's machine: another network namespace with web servers and a name server.

use crate::world::{Ended, World, eventually};
use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The machine's address outside.
pub(crate) const NODE: &str = "198.18.0.1";
/// Where the name server and a web server are.
pub(crate) const OUTSIDE: &str = "198.18.0.2";
/// What `api.example` stands for.
pub(crate) const API: &str = "198.18.0.3";
/// What `evil.example` stands for.
pub(crate) const EVIL: &str = "198.18.0.4";

/// Ends with it: its servers and its namespace.
pub(crate) struct Outside {
    netns: String,
    log: std::path::PathBuf,
    servers: Vec<Child>,
}

impl World {
    /// Connects the machine to an outside, where port 80 of every address answers with `outside`.
    pub(crate) fn outside(&self) -> Outside {
        let netns = format!("{}-out", self.netns());
        run(Command::new("ip").args(["netns", "add", &netns]));
        let line = format!(
            "set -e; echo 0 > /proc/sys/net/ipv4/ip_forward; ip link add up0 type veth peer name out0 netns {netns}; ip addr add {NODE}/24 dev up0; ip link set up0 up; \
             ip -n {netns} link set lo up; ip -n {netns} link set out0 up; \
             for address in {OUTSIDE} {API} {EVIL}; do ip -n {netns} addr add $address/24 dev out0; done"
        );
        self.sh(&line).ok();
        let log = self.path("dnsmasq.log");
        let root = self.path("outside");
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("index.html"), "outside\n").unwrap();
        let mut outside = Outside { netns, log, servers: vec![] };
        outside.serve(&["busybox", "httpd", "-f", "-p", "80", "-h", root.to_str().unwrap()]);
        outside.serve(&[
            "dnsmasq",
            "--no-daemon",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            &format!("--listen-address={OUTSIDE}"),
            "--bind-interfaces",
            &format!("--address=/api.example/{API}"),
            &format!("--address=/evil.example/{EVIL}"),
            "--address=/rebound.example/10.210.0.1",
            "--log-queries",
            &format!("--log-facility={}", outside.log.display()),
        ]);
        let answers =
            || self.sh(&format!("dig +time=1 +tries=1 +short @{OUTSIDE} api.example")).out.contains(API);
        let serves = || self.get(&format!("http://{OUTSIDE}/")) == "outside\n";
        assert!(eventually(Duration::from_secs(10), || answers() && serves()), "the outside does not answer");
        outside
    }
}

impl Outside {
    /// The questions that reached the name server, one a line.
    pub(crate) fn questions(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn serve(&mut self, words: &[&str]) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.netns]).args(words).stdin(Stdio::null());
        self.servers.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        let _ = Command::new("ip").args(["netns", "delete", &self.netns]).status();
    }
}

fn run(command: &mut Command) {
    Ended::of(command).ok();
}
