//! Three network namespaces in a row, joined by veth pairs: client, proxy, server. The proxy's forwards,
//! so that client and server reach each other without a proxy as well.

use crate::bench::shell;
use anyhow::{Context, Result};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// Where proxies listen, seen from the client.
pub(super) const PROXY: &str = "10.99.1.2";
/// Where the backend listens.
pub(super) const SERVER: &str = "10.99.2.2:9000";

/// The namespaces; removed when dropped.
pub(super) struct Street;

/// A program that runs in one of them; killed when dropped.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Street {
    pub(super) fn make() -> Result<Street> {
        Street::remove();
        let street = Street;
        for name in ["client", "proxy", "server"] {
            shell::run(Command::new("ip").args(["netns", "add", &netns(name)]))?;
            shell::run(inside(name, "ip").args(["link", "set", "lo", "up"]))?;
        }
        pair(("client", "10.99.1.1/24"), ("proxy", "10.99.1.2/24"))?;
        pair(("proxy", "10.99.2.1/24"), ("server", "10.99.2.2/24"))?;
        shell::run(inside("client", "ip").args(["route", "add", "default", "via", "10.99.1.2"]))?;
        shell::run(inside("server", "ip").args(["route", "add", "default", "via", "10.99.2.1"]))?;
        // Ports of connections that are over may be used again, or there are too few of them.
        for name in ["client", "proxy"] {
            for setting in [
                "net.ipv4.ip_local_port_range=1024 65535",
                "net.ipv4.tcp_tw_reuse=1",
                "net.ipv4.ip_forward=1",
            ] {
                shell::run(inside(name, "sysctl").args(["-qw", setting]))?;
            }
        }
        Ok(street)
    }

    fn remove() {
        for name in ["client", "proxy", "server"] {
            let _ = Command::new("ip").args(["netns", "delete", &netns(name)]).stderr(Stdio::null()).status();
        }
    }

    /// Starts a program that goes on running.
    pub(super) fn start(&self, name: &str, program: &str, args: &[&str]) -> Result<Running> {
        let child = inside(name, program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Running(child.with_context(|| format!("cannot run {program}"))?))
    }

    /// Runs a load at the client; calls `begun` when it begins to count. Answers with its numbers.
    pub(super) fn load(&self, args: &[&str], begun: impl FnOnce()) -> Result<Vec<f64>> {
        let me = std::env::current_exe()?;
        let mut command = inside("client", me.to_str().context("a path")?);
        let mut child =
            command.arg("load").args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut begun = Some(begun);
        let mut numbers = vec![];
        for line in BufReader::new(child.stdout.take().context("its output")?).lines() {
            match line?.as_str() {
                "begin" => begun.take().into_iter().for_each(|begun| begun()),
                line => numbers = line.split(' ').map(str::parse).collect::<Result<_, _>>()?,
            }
        }
        anyhow::ensure!(child.wait()?.success(), "the load {args:?} failed");
        Ok(numbers)
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        Street::remove();
    }
}

fn pair(left: (&str, &str), right: (&str, &str)) -> Result<()> {
    let (a, b) =
        (format!("fb-{}-{}", &left.0[..2], &right.0[..2]), format!("fb-{}-{}", &right.0[..2], &left.0[..2]));
    let link = [
        "link",
        "add",
        &a,
        "netns",
        &netns(left.0),
        "type",
        "veth",
        "peer",
        "name",
        &b,
        "netns",
        &netns(right.0),
    ];
    shell::run(Command::new("ip").args(link))?;
    for (name, device, address) in [(left.0, &a, left.1), (right.0, &b, right.1)] {
        shell::run(inside(name, "ip").args(["address", "add", address, "dev", device]))?;
        shell::run(inside(name, "ip").args(["link", "set", device, "up"]))?;
    }
    Ok(())
}

fn netns(name: &str) -> String {
    format!("fhb-{name}")
}

fn inside(name: &str, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", netns(name))).arg("--").arg(program);
    command
}
