//! From a commit to a thousand watchers, beside etcd: each watcher has a connection of its own, and a commit
//! follows only once everybody has seen the one before.

use super::{etcd, median, postgres, report::Report, shell};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

const WATCHERS: usize = 1000;
const COMMITS: usize = 100;
const ROUNDS: usize = 3;
const API: &str = "127.0.0.1:23412";
/// Everybody has seen a commit within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// About what an event of Freehold takes as JSON.
const VALUE: usize = 400;

/// How long it took: milliseconds.
struct Measured {
    p50: f64,
    p99: f64,
    last: f64,
}

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    report.section(
        "From a commit to 1,000 watchers",
        &format!(
            "From sending a write until each of {WATCHERS} watchers has it, each on a connection of its own; {COMMITS} writes one \
             after the other, {ROUNDS} rounds by turns, medians of the rounds. Freehold: `POST /v1/projects`, a durable \
             commit, and `GET /v1/watch` as server-sent events. etcd: gRPC `Put` of {VALUE} bytes and `Watch`. The watchers, \
             one process with two threads, share the processors with the server."
        ),
        &["", "p50", "p99", "last of the thousand, median"],
    );
    let server = postgres::Server::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut sqlite, mut on_postgres, mut etcd) = (vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        sqlite.push(runtime.block_on(freehold(None)).context("Freehold")?);
        let url = server.database(&format!("watch_{round}"))?;
        on_postgres.push(runtime.block_on(freehold(Some(&url))).context("Freehold on PostgreSQL")?);
        etcd.push(runtime.block_on(of_etcd()).context("etcd")?);
    }
    for (who, runs) in [("Freehold, SQLite", sqlite), ("Freehold, PostgreSQL", on_postgres), ("etcd", etcd)] {
        let of = |field: fn(&Measured) -> f64| format!("{:.1} ms", median(runs.iter().map(field).collect()));
        report.row(vec![who.into(), of(|it| it.p50), of(|it| it.p99), of(|it| it.last)]);
    }
    Ok(())
}

/// Takes what watchers see: one message for each write that a watcher has seen.
struct Crowd {
    said: mpsc::UnboundedSender<Instant>,
    seen: mpsc::UnboundedReceiver<Instant>,
    times: Vec<f64>,
    lasts: Vec<f64>,
}

impl Crowd {
    fn new() -> Crowd {
        let (said, seen) = mpsc::unbounded_channel();
        Crowd { said, seen, times: vec![], lasts: vec![] }
    }

    /// Until everybody has seen what was sent at `sent`.
    async fn gather(&mut self, sent: Instant) -> Result<()> {
        let mut last = 0.0_f64;
        for _ in 0..WATCHERS {
            let seen = timeout(PATIENCE, self.seen.recv()).await.context("a watcher sees nothing")?;
            let took = seen.context("a watcher ended")?.duration_since(sent).as_secs_f64() * 1000.0;
            self.times.push(took);
            last = last.max(took);
        }
        self.lasts.push(last);
        Ok(())
    }

    fn measured(mut self) -> Measured {
        self.times.sort_by(f64::total_cmp);
        let at = |share: usize| self.times[self.times.len() * share / 100];
        Measured { p50: at(50), p99: at(99), last: median(self.lasts) }
    }
}

async fn of_etcd() -> Result<Measured> {
    let dir = tempfile::tempdir_in("target")?;
    let _server = etcd::start(dir.path())?;
    let mut crowd = Crowd::new();
    let mut watchers = tokio::task::JoinSet::new();
    for _ in 0..WATCHERS {
        let mut client = etcd::Client::connect().await?;
        let mut watch = client.watch().await?;
        let said = crowd.said.clone();
        watchers.spawn(async move {
            let _client = client;
            while watch.next().await.is_ok() && said.send(Instant::now()).is_ok() {}
        });
    }
    let mut writer = etcd::Client::connect().await?;
    for commit in 0..COMMITS {
        let sent = Instant::now();
        writer.put(&format!("bench/{commit}"), VALUE).await?;
        crowd.gather(sent).await?;
    }
    Ok(crowd.measured())
}

async fn freehold(store: Option<&str>) -> Result<Measured> {
    let dir = tempfile::tempdir_in(fs::canonicalize("target")?)?;
    let server = Server::start(dir.path(), store)?;
    let mut crowd = Crowd::new();
    let mut watchers = tokio::task::JoinSet::new();
    for _ in 0..WATCHERS {
        let mut stream = server.ask("GET", "/v1/watch", "").await?;
        let said = crowd.said.clone();
        watchers.spawn(async move {
            let mut bytes = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                // Between writes nothing but comments comes: the data of an event, whole or its beginning.
                if contains(&bytes[..count], b"project.created") && said.send(Instant::now()).is_err() {
                    return;
                }
            }
        });
    }
    for commit in 0..COMMITS {
        let body = format!(r#"{{"name":"bench-{commit}","org":"home"}}"#);
        let sent = Instant::now();
        server.ask("POST", "/v1/projects", &body).await?;
        crowd.gather(sent).await?;
    }
    Ok(crowd.measured())
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// A `freehold up` that deploys nothing.
struct Server {
    up: Child,
    token: String,
}

impl Server {
    fn start(dir: &Path, store: Option<&str>) -> Result<Server> {
        let data = dir.join("data");
        let mut command = Command::new("target/release/freehold");
        command.args(["up", "--listen", API, "--data"]).arg(&data).env("FREEHOLD_HOME", dir.join("home"));
        command.args(store.iter().flat_map(|url| ["--store", url]));
        let up = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut server = Server { up, token: String::new() };
        shell::wait("freehold up", || {
            let ready = Command::new("curl").args(["-sf", &format!("http://{API}/healthz")]).output();
            ready.is_ok_and(|output| output.status.success()) && data.join("token").exists()
        })?;
        server.token = fs::read_to_string(data.join("token"))?.trim().to_owned();
        Ok(server)
    }

    /// Asks, and reads the head of the answer; what comes then is left to the caller.
    async fn ask(&self, method: &str, path: &str, body: &str) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(API).await?;
        stream.set_nodelay(true)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {API}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = vec![];
        while !contains(&answer, b"\r\n\r\n") {
            ensure!(stream.read_buf(&mut answer).await? > 0, "{method} {path}: no answer");
        }
        ensure!(answer.starts_with(b"HTTP/1.1 2"), "{method} {path}: {}", String::from_utf8_lossy(&answer));
        Ok(stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}
