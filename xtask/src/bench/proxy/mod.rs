//! The edge beside HAProxy in TCP mode: the same backend, the same load, the same network, taking turns.

pub(crate) mod load;
mod street;

use super::{median, report::Report, shell};
use anyhow::{Context, Result, ensure};
use std::{cell::Cell, fs, process::Command};
use street::{PROXY, Running, SERVER, Street};

/// How often each figure is taken.
const ROUNDS: usize = 3;
const SECONDS: &str = "3";
/// Clients that connect again and again.
const CLIENTS: &str = "32";
/// What is measured of each proxy, in this order.
const FIGURES: usize = 7;

/// Who stands between.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    Nobody,
    Freehold,
    Haproxy,
    HaproxySplicing,
}

const PEERS: [Peer; 4] = [Peer::Nobody, Peer::Freehold, Peer::Haproxy, Peer::HaproxySplicing];

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    ensure!(
        fs::exists("target/release/examples/proxy_bench")?,
        "run `make bench`, which builds what is measured"
    );
    let street = Street::make().context("network namespaces")?;
    let me = std::env::current_exe()?;
    let _server = street.start("server", me.to_str().context("a path")?, &["load", "serve", SERVER])?;
    let mut taken: Vec<Vec<Vec<f64>>> = vec![vec![vec![]; FIGURES]; PEERS.len()];
    for round in 0..ROUNDS {
        for (at, peer) in PEERS.iter().enumerate() {
            let figures = peer.measure(&street, round)?;
            taken[at].iter_mut().zip(figures).for_each(|(all, figure)| all.push(figure));
        }
    }
    let medians: Vec<Vec<f64>> =
        taken.into_iter().map(|figures| figures.into_iter().map(median).collect()).collect();
    write(report, &medians)
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Peer::Nobody => "no proxy (routed)",
            Peer::Freehold => "Freehold",
            Peer::Haproxy => "HAProxy",
            Peer::HaproxySplicing => "HAProxy, `option splice-auto`",
        }
    }

    /// Gbit/s of 1 and of 64 connections, CPU seconds per GB of each, p50 and p99 of an echo in µs,
    /// connections per second.
    fn measure(self, street: &Street, round: usize) -> Result<[f64; FIGURES]> {
        let port = 8000 + round;
        let (address, running) = match self {
            Peer::Nobody => (SERVER.to_owned(), None),
            peer => (format!("{PROXY}:{port}"), Some(peer.start(street, port)?)),
        };
        shell::wait("the proxy", || street.load(&["echo", &address, "0"], || {}).is_ok())?;
        let stream = |connections: &str| -> Result<(f64, f64)> {
            let before = Cell::new(0.0);
            let used = || running.as_ref().map_or(0.0, processor_seconds);
            let load = ["stream", &address, connections, SECONDS];
            let rate = street.load(&load, || before.set(used()))?[0];
            let bytes = rate * SECONDS.parse::<f64>()?;
            Ok((rate * 8.0 / 1e9, (used() - before.get()) / (bytes / 1e9)))
        };
        let ((one, cpu_one), (many, cpu_many)) = (stream("1")?, stream("64")?);
        let echo = street.load(&["echo", &address, SECONDS], || {})?;
        let connects = street.load(&["connect", &address, CLIENTS, SECONDS], || {})?;
        Ok([one, many, cpu_one, cpu_many, echo[0], echo[1], connects[0]])
    }

    fn start(self, street: &Street, port: usize) -> Result<Running> {
        let folder = std::path::absolute("target/bench-proxy")?;
        fs::create_dir_all(&folder)?;
        let folder = folder.to_str().context("a path")?;
        if self == Peer::Freehold {
            let program = std::path::absolute("target/release/examples/proxy_bench")?;
            let log = format!("{folder}/access");
            return street.start(
                "proxy",
                program.to_str().context("a path")?,
                &[&port.to_string(), SERVER, &log],
            );
        }
        let splice = if self == Peer::HaproxySplicing { "option splice-auto" } else { "" };
        let config = format!(
            "global\n maxconn 4000\ndefaults\n mode tcp\n timeout connect 2s\n timeout client 1h\n timeout server 1h\n {splice}\n\
             listen bench\n bind :{port}\n server one {SERVER}\n"
        );
        let file = format!("{folder}/haproxy.cfg");
        fs::write(&file, config)?;
        street.start("proxy", "haproxy", &["-db", "-f", &file])
    }
}

/// Processor time that a program has used, in user and kernel mode (proc(5)).
fn processor_seconds(running: &Running) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", running.0.id())).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // USER_HZ is 100 on every Linux there is.
    (ticks(11) + ticks(12)) / 100.0
}

fn write(report: &mut Report, medians: &[Vec<f64>]) -> Result<()> {
    let version = shell::run(Command::new("sh").args(["-c", "haproxy -v | head -1"]))?;
    let about = format!(
        "{}, TCP mode, its default of a thread for each processor, no log; Freehold's edge as the daemon runs it, access log on. \
         Client, proxy and server in network namespaces joined by veth pairs; `tcp_tw_reuse=1` and all ports for both. The load is \
         `cargo xtask load`: streams of 256 KiB writes, thrown away by the client's kernel (`MSG_TRUNC`); an echo of 1 kB on one \
         connection; {CLIENTS} clients that connect, ask and get 100 bytes, and close. Each figure {SECONDS} s; median of {ROUNDS} \
         rounds in which the proxies take turns. All four programs share the machine's processors. Added: what the echo takes \
         beyond the one without a proxy, whose packets the proxy's namespace routes.",
        version.split(" - ").next().unwrap_or_default()
    );
    let columns = [
        "",
        "1 connection",
        "64 connections",
        "CPU s/GB, 1",
        "CPU s/GB, 64",
        "echo p50, added",
        "echo p99, added",
        "connections/s",
    ];
    report.section("TCP proxy", &about, &columns);
    let direct = &medians[0];
    for (peer, figures) in PEERS.iter().zip(medians) {
        let [one, many, cpu_one, cpu_many, p50, p99, connects] = figures[..] else { continue };
        let proxied = |text: String| if *peer == Peer::Nobody { "–".into() } else { text };
        let echo = |value: f64, at: usize| match peer {
            Peer::Nobody => format!("{value:.1} µs"),
            _ => format!("{value:.1} µs, {:+.1}", value - direct[at]),
        };
        report.row(vec![
            peer.name().into(),
            format!("{one:.1} Gbit/s"),
            format!("{many:.1} Gbit/s"),
            proxied(format!("{cpu_one:.3}")),
            proxied(format!("{cpu_many:.3}")),
            echo(p50, 4),
            echo(p99, 5),
            format!("{connects:.0}"),
        ]);
    }
    Ok(())
}
