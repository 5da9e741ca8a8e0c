//! A house with one endpoint, backends on loopback addresses of their own, and an edge.

use freehold_edge::{Edge, EdgeConfig};
use freehold_model::{
    Actor, Bytes, Desired, Digest, Endpoint, EndpointId, EndpointSpec, EndpointStatus, EnvId, ImageRef,
    Instance, InstanceId, InstanceSpec, InstanceStatus, Millicores, Millis, NodeId, Phase, ReceiptId,
    ReleaseId, Rollout, RolloutId, RolloutPhase, RolloutSpec, RolloutStatus, Seq, Template, Txn,
    manifest::{Driver, Protocol, ProxyProtocol},
    traffic::{AccessLine, AccessQuery, EndpointTraffic},
};
use freehold_reconcile::{Clock, MemoryStore, Store, SystemClock, ViewExt};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

pub(crate) struct House {
    pub(crate) port: u16,
    target: u16,
    store: Arc<MemoryStore>,
    shutdown: CancellationToken,
    edge: Option<Edge>,
    folder: tempfile::TempDir,
}

const ENDPOINT: EndpointId = EndpointId(Ulid(1));
const ENV: EnvId = EnvId(Ulid(1));
const ROLLOUT: RolloutId = RolloutId(Ulid(1));

/// A port that nobody uses now, on any loopback address.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

/// Sends `text` through the endpoint, and reads the answer to its end.
pub(crate) async fn ask(port: u16, text: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let (mut from, mut to) = stream.split();
    let send = async {
        to.write_all(text.as_bytes()).await.ok()?;
        to.shutdown().await.ok()
    };
    let mut answer = String::new();
    let (_, read) = tokio::join!(send, from.read_to_string(&mut answer));
    read.ok().map(|_| answer)
}

impl House {
    pub(crate) async fn new() -> House {
        House::on(free_port()).await
    }

    pub(crate) async fn on(port: u16) -> House {
        House::with(port, |_| {}).await
    }

    /// An endpoint that listens on `port`, changed as it is wanted.
    pub(crate) async fn with(port: u16, change: impl FnOnce(&mut EndpointSpec)) -> House {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        let (shutdown, target) = (CancellationToken::new(), free_port());
        let house =
            House { port, target, store: Arc::clone(&store), shutdown: shutdown.clone(), edge: None, folder };
        let mut spec = EndpointSpec {
            process: "web".parse().unwrap(),
            listen: port,
            target,
            protocol: Protocol::Tcp,
            proxy_protocol: ProxyProtocol::Off,
            trusted_proxies: vec![],
            idle_timeout: None,
            max_connections: None,
        };
        change(&mut spec);
        let endpoint = Endpoint::new(ENDPOINT, port.to_string(), Some(ENV.into()), spec, SystemClock.now());
        let rollout = RolloutSpec {
            release: ReleaseId(Ulid(1)),
            previous: None,
            receipt: ReceiptId(Ulid(1)),
            deadline: SystemClock.now(),
            leaves: None,
            cancelled_by: None,
        };
        let rollout = Rollout::new(ROLLOUT, "1", Some(ENV.into()), rollout, SystemClock.now());
        house
            .commit(|txn| {
                txn.put(&endpoint).put(&rollout).claim("rollout", ENV, ROLLOUT);
            })
            .await;
        let access_log = Some(house.folder.path().to_owned());
        let config = EdgeConfig { access_log, ..EdgeConfig::default() };
        House { edge: Some(Edge::start(store, config, shutdown)), ..house }
    }

    pub(crate) fn endpoint(&self) -> EndpointId {
        ENDPOINT
    }

    pub(crate) fn traffic(&self) -> EndpointTraffic {
        self.edge.as_ref().unwrap().observer().traffic(ENDPOINT).expect("the edge knows it")
    }

    /// The access log, once it has this many lines.
    pub(crate) async fn access(&self, lines: usize) -> Vec<AccessLine> {
        let query = AccessQuery { follow: true, ..AccessQuery::default() };
        let mut chunks = self.edge.as_ref().unwrap().observer().access(ENDPOINT, query);
        let mut found = vec![];
        while found.len() < lines {
            let chunk = timeout(Duration::from_secs(10), chunks.recv()).await;
            found.extend(chunk.unwrap_or_else(|_| panic!("only {found:#?}")).unwrap().unwrap());
        }
        found
    }

    /// An instance that answers at 127.0.0.`n`: running and healthy, not serving.
    pub(crate) async fn backend(&self, n: u8) -> Backend {
        let (id, address) = self.instance(n).await;
        let backend = Backend {
            id,
            name: address.ip().to_string(),
            open: watch::channel(false).0,
            obeyed: Arc::default(),
            connected: Arc::default(),
        };
        backend.run((*address.ip(), address.port()));
        backend.accept().await;
        backend
    }

    /// An instance at 127.0.0.`n`, and the address where it should answer.
    pub(crate) async fn instance(&self, n: u8) -> (InstanceId, SocketAddrV4) {
        let address = Ipv4Addr::new(127, 0, 0, n);
        let id = InstanceId(Ulid(n.into()));
        let template = Template {
            image: ImageRef { reference: "web:1".into(), digest: Digest::of(b"web") },
            driver: Driver::Container,
            command: None,
            args: None,
            env: BTreeMap::new(),
            cpu: Millicores(100),
            memory: Bytes(1 << 20),
            check: None,
            stop_timeout: Millis(1000),
            pids: 512,
            disk: freehold_model::manifest::DEFAULT_DISK,
            egress: vec![],
            mounts: vec![],
            secrets: vec![],
            rules: Default::default(),
            revision: 0,
        };
        let spec = InstanceSpec {
            node: NodeId(Ulid(1)),
            process: "web".parse().unwrap(),
            release: ReleaseId(Ulid(1)),
            template_hash: template.hash(),
            template,
            volumes: Default::default(),
            address,
            desired: Desired::Running,
            serving: false,
            after: vec![],
            placed: Default::default(),
        };
        let mut instance = Instance::new(id, format!("web-{n}"), Some(ENV.into()), spec, SystemClock.now());
        instance.status =
            InstanceStatus { phase: Phase::Running, healthy: true, ..InstanceStatus::default() };
        self.commit(|txn| {
            txn.put(&instance);
        })
        .await;
        (id, SocketAddrV4::new(address, self.target))
    }

    /// Shifts the endpoint to exactly these backends; answers the version to wait for.
    pub(crate) async fn serve(&self, ids: &[InstanceId]) -> Seq {
        let view = self.store.view_now();
        let mut instances = view.all::<InstanceSpec>(None).unwrap();
        instances.iter_mut().for_each(|instance| instance.spec.serving = ids.contains(&instance.id));
        let shifts = RolloutStatus {
            phase: RolloutPhase::Draining,
            since: Some(SystemClock.now()),
            ..RolloutStatus::default()
        };
        self.commit(|txn| {
            instances.iter().for_each(|instance| {
                txn.put_spec(instance);
            });
            txn.observe::<RolloutSpec>(ROLLOUT, &shifts);
        })
        .await
    }

    pub(crate) async fn listen_on(&self, port: u16) {
        let mut endpoint = self.store.view_now().find::<EndpointSpec>(ENDPOINT).unwrap().unwrap();
        endpoint.spec.listen = port;
        self.commit(|txn| {
            txn.put_spec(&endpoint);
        })
        .await;
    }

    pub(crate) async fn delete_endpoint(&self) {
        self.commit(|txn| {
            txn.delete(ENDPOINT);
        })
        .await;
    }

    /// The first status of the endpoint that fits.
    pub(crate) async fn status(&self, fits: impl Fn(&EndpointStatus) -> bool) -> EndpointStatus {
        let mut head = self.store.head();
        let found = async {
            loop {
                let status = self.now();
                if fits(&status) {
                    return status;
                }
                head.changed().await.unwrap();
            }
        };
        let found = timeout(Duration::from_secs(10), found).await;
        found.unwrap_or_else(|_| panic!("never came; it is {:#?}", self.now()))
    }

    fn now(&self) -> EndpointStatus {
        self.store.view_now().find::<EndpointSpec>(ENDPOINT).unwrap().unwrap().status
    }

    pub(crate) fn version(&self) -> Seq {
        self.store.version()
    }

    pub(crate) fn shut_down(&mut self) -> Edge {
        self.shutdown.cancel();
        self.edge.take().unwrap()
    }

    async fn commit(&self, fill: impl FnOnce(&mut Txn)) -> Seq {
        let mut txn = Txn::new(Actor::System, "test", "test");
        fill(&mut txn);
        self.store.commit(txn).await.unwrap().version
    }
}

/// A server that reads to the end, answers `<its address> <what it read>`, and closes.
pub(crate) struct Backend {
    pub(crate) id: InstanceId,
    pub(crate) name: String,
    open: watch::Sender<bool>,
    obeyed: Arc<Notify>,
    connected: Arc<Notify>,
}

impl Backend {
    fn run(&self, address: (Ipv4Addr, u16)) {
        let (mut open, obeyed, connected) =
            (self.open.subscribe(), Arc::clone(&self.obeyed), Arc::clone(&self.connected));
        tokio::spawn(async move {
            while open.wait_for(|open| *open).await.is_ok() {
                let listener = TcpListener::bind(address).await.unwrap();
                obeyed.notify_one();
                tokio::select! {
                    () = answer_all(&listener, address.0, &connected) => {}
                    closed = open.wait_for(|open| !open) => drop(closed),
                }
                drop(listener);
                obeyed.notify_one();
            }
        });
    }

    /// Its port is closed: connections are refused.
    pub(crate) async fn refuse(&self) {
        self.open.send_replace(false);
        self.obeyed.notified().await;
    }

    /// Its port is open.
    pub(crate) async fn accept(&self) {
        self.open.send_replace(true);
        self.obeyed.notified().await;
    }

    pub(crate) async fn wait_for_connection(&self) {
        timeout(Duration::from_secs(5), self.connected.notified()).await.expect("nobody connected");
    }
}

async fn answer_all(listener: &TcpListener, name: Ipv4Addr, connected: &Arc<Notify>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        connected.notify_one();
        tokio::spawn(async move {
            let mut text = format!("{name} ").into_bytes();
            if stream.read_to_end(&mut text).await.is_ok() {
                let _ = stream.write_all(&text).await;
            }
        });
    }
}
