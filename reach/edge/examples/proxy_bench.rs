//! One endpoint before one backend, as the daemon runs it, to be measured: `proxy_bench PORT BACKEND LOG`.
//! `cargo xtask bench` starts it beside HAProxy.

use freehold_edge::{Edge, EdgeConfig};
use freehold_model::{
    Actor, Bytes, Desired, Digest, Endpoint, EndpointId, EndpointSpec, EnvId, ImageRef, Instance, InstanceId,
    InstanceSpec, InstanceStatus, Millicores, Millis, NodeId, Phase, ReleaseId, Template, Txn,
    manifest::{Driver, Protocol, ProxyProtocol},
};
use freehold_reconcile::{Clock, MemoryStore, Store, SystemClock};
use std::{collections::BTreeMap, env, net::SocketAddrV4, path::PathBuf, sync::Arc};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

#[tokio::main]
async fn main() {
    let mut args = env::args().skip(1);
    let mut next = || args.next().expect("proxy_bench PORT BACKEND LOG");
    let port: u16 = next().parse().expect("a port");
    let backend: SocketAddrV4 = next().parse().expect("an address");
    let log = PathBuf::from(next());

    let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let mut txn = Txn::new(Actor::System, "bench", "bench");
    let parent = Some(EnvId(Ulid(1)).into());
    txn.put(&Endpoint::new(EndpointId(Ulid(1)), "bench", parent, endpoint(port, backend), SystemClock.now()));
    let mut instance =
        Instance::new(InstanceId(Ulid(1)), "bench", parent, instance(backend), SystemClock.now());
    instance.status = InstanceStatus { phase: Phase::Running, healthy: true, ..InstanceStatus::default() };
    txn.put(&instance);
    store.commit(txn).await.expect("a store in memory");

    let config = EdgeConfig { access_log: Some(log), ..EdgeConfig::default() };
    let _edge = Edge::start(store, config, CancellationToken::new());
    std::future::pending::<()>().await;
}

fn endpoint(listen: u16, backend: SocketAddrV4) -> EndpointSpec {
    EndpointSpec {
        process: "bench".parse().expect("a name"),
        listen,
        target: backend.port(),
        protocol: Protocol::Tcp,
        proxy_protocol: ProxyProtocol::Off,
        trusted_proxies: vec![],
        idle_timeout: None,
        max_connections: None,
    }
}

fn instance(backend: SocketAddrV4) -> InstanceSpec {
    let template = Template {
        image: ImageRef { reference: "bench:1".into(), digest: Digest::of(b"bench") },
        driver: Driver::Container,
        command: None,
        pids: 512,
        disk: freehold_model::manifest::DEFAULT_DISK,
        egress: vec![],
        args: None,
        env: BTreeMap::new(),
        cpu: Millicores(100),
        memory: Bytes(1 << 20),
        check: None,
        stop_timeout: Millis(1000),
        mounts: vec![],
        secrets: vec![],
        rules: Default::default(),
        revision: 0,
    };
    InstanceSpec {
        node: NodeId(Ulid(1)),
        process: "bench".parse().expect("a name"),
        release: ReleaseId(Ulid(1)),
        template_hash: template.hash(),
        template,
        volumes: Default::default(),
        address: *backend.ip(),
        desired: Desired::Running,
        serving: true,
        after: vec![],
        placed: Default::default(),
    }
}
