//! Measures enrolments: `enrol_bench <dir or postgres://…> <machines> <at once>`.
//!
//! Join tokens are made first. Then machines join with them, so many at once: each certificate request is
//! read and its signature checked, a certificate is signed, and token, node and identity are committed. The
//! way there (TCP, TLS, HTTP) is not part of it. Prints one JSON object on stdout.

use freehold_identity::{Authority, MachineKey};
use freehold_model::{
    Actor, MachineKind,
    join::{CreateJoinToken, JoinRequest, PROTOCOL},
    secrets::Hidden,
};
use freehold_reconcile::{Store, SystemClock};
use freehold_secrets::Vault;
use freehold_store::{PostgresOptions, PostgresStore, SqliteStore};
use std::{path::Path, sync::Arc, time::Instant};
use tokio::sync::Semaphore;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [place, machines, at_once] = arguments.as_slice() else {
        return Err("usage: enrol_bench <dir or postgres://…> <machines> <at once>".into());
    };
    let clock = Arc::new(SystemClock);
    let store: Arc<dyn Store> = match place.starts_with("postgres://") {
        true => Arc::new(PostgresStore::open(PostgresOptions::parse(place)?, clock).await?),
        false => Arc::new(SqliteStore::open(Path::new(place).join("bench.db"), clock)?),
    };
    measure(store, machines.parse()?, at_once.parse()?).await
}

async fn measure(store: Arc<dyn Store>, machines: usize, at_once: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let clock = Arc::new(SystemClock);
    let vault = Vault::open(&folder.path().join("keys/secrets.key"), store.clone(), clock.clone())?;
    let authority = Arc::new(Authority::new(store, clock, Arc::new(vault)));
    let mut requests = vec![];
    for at in 0..machines {
        let wanted = CreateJoinToken { machine: MachineKind::Node, ttl: None, name: None };
        let token = authority.create_token(&Actor::System, "bench", &wanted).await?.token;
        requests.push(request(folder.path(), at, token)?);
    }
    let places = Arc::new(Semaphore::new(at_once));
    let start = Instant::now();
    let mut joining = vec![];
    for request in requests {
        let (place, authority) = (places.clone().acquire_owned().await?, authority.clone());
        joining.push(tokio::spawn(async move {
            let began = Instant::now();
            let joined = authority.join("bench", &request).await;
            drop(place);
            joined.map(|_| began.elapsed())
        }));
    }
    let mut took = vec![];
    for one in joining {
        took.push(one.await??);
    }
    let elapsed = start.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!(
        "{{\"machines\":{machines},\"at_once\":{at_once},\"enrolments_per_second\":{:.1},\"p50_ms\":{:.2},\"p99_ms\":{:.2}}}",
        machines as f64 / elapsed,
        at(0.5),
        at(0.99)
    );
    Ok(())
}

fn request(folder: &Path, at: usize, token: Hidden) -> Result<JoinRequest, Failure> {
    let name = format!("node-{at}");
    let key = MachineKey::open(&folder.join(&name))?;
    Ok(JoinRequest {
        token,
        machine: MachineKind::Node,
        name: name.parse()?,
        csr: key.request(),
        protocol: PROTOCOL,
    })
}
