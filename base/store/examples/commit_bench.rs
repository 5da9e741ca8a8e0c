//! Measures durable commits: `commit_bench <dir or postgres://…> <writers> <seconds>`.
//!
//! Each writer creates resources with a 1 KiB value, one per transaction, one after the other. Prints
//! one JSON object on stdout. The database it makes in `<dir>` is removed first and left behind; one in
//! PostgreSQL is used as it is.

use freehold_model::{Actor, AnyId, AnyResource, Kind, Txn, Write};
use freehold_reconcile::{Store, SystemClock};
use freehold_store::{PostgresOptions, PostgresStore, SqliteStore};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const VALUE: usize = 1024;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, writers, seconds] = arguments.as_slice() else {
        return Err("usage: commit_bench <dir or postgres://…> <writers> <seconds>".into());
    };
    let (writers, seconds): (usize, f64) = (writers.parse()?, seconds.parse()?);
    if dir.starts_with("postgres://") {
        let store = PostgresStore::open(PostgresOptions::parse(dir)?, Arc::new(SystemClock)).await?;
        return measure(Arc::new(store), writers, seconds).await;
    }
    let store = Arc::new(SqliteStore::open(fresh(Path::new(dir))?, Arc::new(SystemClock))?);
    measure(store.clone(), writers, seconds).await?;
    store.close().await;
    Ok(())
}

async fn measure(store: Arc<dyn Store>, writers: usize, seconds: f64) -> Result<(), Failure> {
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(seconds);
    let tasks: Vec<_> = (0..writers).map(|_| tokio::spawn(write_until(Arc::clone(&store), end))).collect();
    let mut latencies = vec![];
    for task in tasks {
        latencies.extend(task.await??);
    }
    let elapsed = start.elapsed();
    println!("{}", report(writers, &mut latencies, elapsed));
    Ok(())
}

/// A path in `dir` at which no database is.
fn fresh(dir: &Path) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(dir)?;
    for name in ["bench.db", "bench.db-wal", "bench.db-shm"] {
        match std::fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(dir.join("bench.db"))
}

async fn write_until(store: Arc<dyn Store>, end: Instant) -> Result<Vec<Duration>, Failure> {
    let mut latencies = vec![];
    while Instant::now() < end {
        let start = Instant::now();
        store.commit(single_put()).await?;
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}

fn single_put() -> Txn {
    let id = AnyId { kind: Kind::Org, ulid: ulid::Ulid::new() };
    let mut txn = Txn::new(Actor::System, "bench", "bench");
    txn.writes.push(Write::Put(AnyResource {
        id,
        kind: Kind::Org,
        name: id.ulid.to_string(),
        parent: None,
        labels: Default::default(),
        generation: 0,
        version: 0,
        created: jiff::Timestamp::now(),
        deleting: None,
        spec: serde_json::json!({ "value": "x".repeat(VALUE) }),
        status: serde_json::json!({}),
    }));
    txn
}

fn report(writers: usize, latencies: &mut [Duration], elapsed: Duration) -> serde_json::Value {
    latencies.sort_unstable();
    let at = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        latencies.get(index.min(latencies.len().saturating_sub(1))).map_or(0, Duration::as_micros) as u64
    };
    serde_json::json!({
        "writers": writers,
        "commits_per_second": (latencies.len() as f64 / elapsed.as_secs_f64()).round(),
        "p50_us": at(0.5),
        "p99_us": at(0.99),
    })
}
