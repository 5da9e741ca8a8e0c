//! Durable commits per second on PostgreSQL beside `pgbench` that inserts rows of the same size into a plain
//! table of the same server, over the same socket, one after the other, three times.

use super::{
    commits::{Measured, SECONDS, row},
    report::Report,
    shell,
};
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const ROUNDS: usize = 3;
const SCRIPT: &str = "scripts/test-postgres.sh";

/// A server of the bench's own, which flushes.
pub(super) struct Server(tempfile::TempDir);

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    report.section(
        "Durable commits on PostgreSQL",
        &format!(
            "PostgreSQL 15 with `fsync=on` and `synchronous_commit=on`, over a unix socket; 1 KiB values, each run {SECONDS} s; \
             median of {ROUNDS}. pgbench runs one prepared `INSERT` into a table with a primary key, as many clients as \
             writers. Freehold's commit also checks versions and names, and writes the resource, its indexes and a \
             hash-chained event; it commits in groups. Load of the machine before: {}.",
            shell::run(Command::new("cut").args(["-d", " ", "-f", "1-3", "/proc/loadavg"]))?.trim()
        ),
        &["writers", "", "commits/s", "p50", "p99"],
    );
    let server = Server::start()?;
    for writers in [1, 64] {
        let (mut ours, mut theirs) = (vec![], vec![]);
        for round in 0..ROUNDS {
            ours.push(server.freehold(writers, round)?);
            theirs.push(server.pgbench(writers)?);
        }
        report.row(row(writers, "Freehold", &ours));
        report.row(row(writers, "pgbench", &theirs));
    }
    Ok(())
}

impl Server {
    pub(super) fn start() -> Result<Server> {
        let dir = tempfile::tempdir_in("target")?;
        let dir = Server(dir);
        shell::run(Command::new(SCRIPT).arg("own").arg(dir.path()?)).context("PostgreSQL")?;
        let table = "CREATE TABLE plain (id uuid PRIMARY KEY, value text NOT NULL)";
        dir.psql(table)?;
        fs::write(
            dir.path()?.join("insert.sql"),
            "INSERT INTO plain (id, value) VALUES (gen_random_uuid(), repeat('x', 1024));\n",
        )?;
        Ok(dir)
    }

    fn path(&self) -> Result<PathBuf> {
        self.0.path().canonicalize().context("the server's folder")
    }

    fn psql(&self, sql: &str) -> Result<String> {
        let mut psql = Command::new("psql");
        psql.args(["-q", "-U", "freehold", "-d", "postgres", "-c", sql, "-h"]).arg(self.path()?);
        shell::run(&mut psql)
    }

    /// The URL of a new database.
    pub(super) fn database(&self, name: &str) -> Result<String> {
        self.psql(&format!("CREATE DATABASE {name}"))?;
        Ok(format!("postgres:///{name}?user=freehold&host={}", self.path()?.display()))
    }

    /// A fresh database each time, as every run of the peer is much the same.
    fn freehold(&self, writers: usize, round: usize) -> Result<Measured> {
        let url = self.database(&format!("bench_{writers}_{round}"))?;
        let mut command = Command::new("target/release/examples/commit_bench");
        command.args([url, writers.to_string(), SECONDS.to_string()]);
        serde_json::from_str(&shell::run(&mut command)?).context("commit_bench's answer")
    }

    fn pgbench(&self, clients: usize) -> Result<Measured> {
        self.psql("TRUNCATE plain")?;
        let logs = tempfile::tempdir_in("target")?;
        let mut command = Command::new(pgbench()?);
        command.args(["-n", "-M", "prepared", "-j", "2", "-T", &SECONDS.to_string()]);
        command.args(["-c", &clients.to_string(), "-U", "freehold", "--log", "--log-prefix"]);
        command.arg(logs.path().join("t")).arg("-f").arg(self.path()?.join("insert.sql"));
        command.arg("-h").arg(self.path()?).arg("postgres");
        shell::run(&mut command).context("pgbench")?;
        measured(logs.path())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(path) = self.path() {
            let _ = Command::new(SCRIPT).arg("stop").arg(path).status();
        }
    }
}

/// Debian keeps it beside the server, out of PATH.
fn pgbench() -> Result<PathBuf> {
    let found = fs::read_dir("/usr/lib/postgresql")?.flatten().map(|entry| entry.path().join("bin/pgbench"));
    found.filter(|path| path.exists()).max().context("pgbench is not installed (Debian: postgresql)")
}

/// What pgbench wrote down of every transaction: the third word of a line is its time in microseconds.
fn measured(logs: &Path) -> Result<Measured> {
    let mut times: Vec<f64> = vec![];
    for entry in fs::read_dir(logs)? {
        let text = fs::read_to_string(entry?.path())?;
        times.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()));
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    let commits_per_second = times.len() as f64 / SECONDS as f64;
    Ok(Measured { commits_per_second, p50_us: at(0.5), p99_us: at(0.99) })
}
