//! Many nodes in one process, for benches: `many_nodes <api> <door> <nodes>`, the admin's token in
//! `FREEHOLD_TOKEN`.
//!
//! Each joins with a token of its own and then does what a node does that has nothing to run: heartbeats, an
//! open request for calls and changes, questions about its certificate; over mutual TLS, with the
//! node's own code. Prints `ready` once every one is registered, and goes on until its standard input ends.

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use freehold_agent::{
    Control as _,
    remote::{
        Answerer, CallSocket, Link, LinkConfig, Pulse, RemoteControl, answer_calls,
        protocol::{Registration, Want},
    },
};
use freehold_client::Client;
use freehold_identity::{JoinTokenText, MachineKey, Membership};
use freehold_model::{
    Bytes, MachineKind, Millicores, Name,
    join::{CreateJoinToken, JoinRequest, PROTOCOL},
    kinds::Capacity,
    manifest::Driver,
    secrets::Hidden,
};
use jiff::Timestamp;
use std::{path::Path, sync::Arc};
use tokio::{io::AsyncReadExt as _, sync::Semaphore, task::JoinSet};

/// So many join at once.
const AT_ONCE: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [api, door, nodes] = arguments.as_slice() else {
        anyhow::bail!("usage: many_nodes <api> <door> <nodes>");
    };
    let token = std::env::var("FREEHOLD_TOKEN").context("FREEHOLD_TOKEN")?;
    let client = Arc::new(Client::new(api, Some(&token))?);
    let folder = tempfile::tempdir()?;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut joining = JoinSet::new();
    for at in 0..nodes.parse::<usize>()? {
        let (client, door, folder) = (client.clone(), door.clone(), folder.path().join(at.to_string()));
        let place = places.clone().acquire_owned().await?;
        joining.spawn(async move {
            let node = node(&client, &door, &folder, at).await;
            drop(place);
            node
        });
    }
    let mut running = vec![];
    while let Some(node) = joining.join_next().await {
        running.push(node??);
    }
    for node in &running {
        node.pulse.registered().wait_for(|known| *known).await?;
    }
    println!("ready");
    tokio::io::stdin().read_to_end(&mut vec![]).await?;
    Ok(())
}

/// A node that runs nothing.
struct Idle {
    pulse: Pulse,
    _tasks: Vec<tokio_util::task::AbortOnDropHandle<()>>,
}

async fn node(client: &Client, door: &str, folder: &Path, at: usize) -> Result<Idle> {
    let wanted = CreateJoinToken { machine: MachineKind::Node, ttl: None, name: None };
    let token: JoinTokenText = client.create_join_token(&wanted).await?.token.expose().parse()?;
    let key = MachineKey::open(folder)?;
    let request = JoinRequest {
        token: Hidden::new(token.reveal().to_string()),
        machine: MachineKind::Node,
        name: format!("node-{at}").parse::<Name>()?,
        csr: key.request(),
        protocol: PROTOCOL,
    };
    let joined = freehold_client::join(door, &token, &request).await?;
    let membership: Membership = key.keep(&joined, vec![door.to_owned()])?;
    let url = format!("{door}/").parse()?;
    let link = Link::new(LinkConfig { urls: vec![url], announced: vec![], tls: Some(membership.tls()) })?;
    let pulse = Pulse::start(&link, registration());
    let mut tasks = vec![answer_calls(&link, Arc::new(Silent))];
    let control = RemoteControl::new(link.clone());
    let spawned = [
        tokio::spawn(async move {
            let advised = || {
                let link = link.clone();
                async move { link.renewal_advised().await.map_err(|error| error.to_string()) }
            };
            freehold_client::keep_certified(&membership, advised).await;
        }),
        tokio::spawn(async move {
            let mut changed = control.changed();
            while changed.changed().await.is_ok() {
                let _ = (control.assigned().await, control.volumes().await, control.routing().await);
            }
        }),
    ];
    tasks.extend(spawned.map(tokio_util::task::AbortOnDropHandle::new));
    Ok(Idle { pulse, _tasks: tasks })
}

fn registration() -> Registration {
    let capacity = Capacity { cpu: Millicores(4000), memory: Bytes(8 << 30) };
    Registration {
        capacity,
        drivers: vec![Driver::Container],
        version: env!("CARGO_PKG_VERSION").into(),
        started: Timestamp::now(),
        lowest_port: 0,
        trouble: None,
        no_egress: None,
    }
}

/// Answers nothing: nobody calls.
struct Silent;

#[async_trait]
impl Answerer for Silent {
    async fn answer(&self, _: Want, _: CallSocket) {}
}
