//! The node door and its client against each other, over loopback; the peer is put in by the test.

use super::*;
use async_trait::async_trait;
use axum::{
    Extension, Router,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::IntoResponse as _,
};
use freehold_agent::{
    ControlError,
    remote::{Answerer, CallSocket, Link, LinkConfig, RemoteControl, answer_calls, protocol},
};
use freehold_api::{CallDesk, NodeDoor, agent_router};
use freehold_identity::{KeyFingerprint, Peer};
use freehold_image::ImageStore;
use freehold_model::{
    Actor, Bytes, EndpointStatus, Instance, InstanceId, InstanceStatus, Lease, Name, Node, NodeSpec, Phase,
    Resource, Spec, Txn, Volume, VolumeId, VolumeSpec, VolumeStatus, controls::Presence, kinds::Capacity,
    manifest::Driver,
};
use freehold_reconcile::{
    MemoryStore, SystemClock, SystemIds, TaskHandle, TaskSpec, lease::Watched, ports::Ids as _,
};
use freehold_secrets::Key;
use jiff::Timestamp;
use serde_json::json;
use std::time::Duration;
use tokio::{net::TcpListener, time::timeout};

/// As a control plane that is alone.
fn hearing(own: &str) -> Hearing {
    Hearing { own: own.into(), leases: watch::channel(vec![]).1, seat: None }
}

pub(super) struct House {
    pub(super) store: Arc<MemoryStore>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) desk: Arc<CallDesk>,
    ready: watch::Sender<bool>,
    images: ImageStore,
    _folder: tempfile::TempDir,
}

impl House {
    pub(super) fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        let keys = folder.path().join("keys/secrets.key");
        let vault = Arc::new(Vault::open(&keys, store.clone(), Arc::new(SystemClock)).unwrap());
        let nodes = Nodes::new(store.clone(), vault, Arc::new(SystemClock), hearing("a"));
        let images = ImageStore::open(&folder.path().join("images")).unwrap();
        House { store, nodes, desk: Arc::default(), ready: watch::channel(true).0, images, _folder: folder }
    }

    fn router(&self) -> Router {
        agent_router(NodeDoor {
            hall: self.nodes.clone(),
            images: self.images.clone(),
            calls: self.desk.clone(),
            ready: self.ready.subscribe(),
        })
    }

    /// A listener behind which everybody is `node`.
    pub(super) async fn door(&self, node: NodeId) -> reqwest::Url {
        self.door_behind(node, |router| router).await
    }

    /// The same, behind something else.
    async fn door_behind(&self, node: NodeId, wrap: impl FnOnce(Router) -> Router) -> reqwest::Url {
        let key = KeyFingerprint::of(b"a key");
        serve(wrap(self.router().layer(Extension(Peer { machine: node.into(), key })))).await
    }

    pub(super) async fn link(&self, node: NodeId) -> Arc<Link> {
        Link::new(LinkConfig { urls: vec![self.door(node).await], announced: vec![], tls: None }).unwrap()
    }

    pub(super) fn put<S: Spec>(&self, name: &str, parent: Option<AnyId>, spec: S) -> Resource<S> {
        let resource = Resource::new(S::Id::from(SystemIds.ulid()), name, parent, spec, Timestamp::now());
        let mut txn = Txn::new(Actor::System, "test", "req_test");
        txn.put(&resource);
        self.store.commit_now(txn).unwrap();
        resource
    }

    pub(super) fn node(&self, name: &str) -> Node {
        self.put(name, None, NodeSpec::default())
    }

    pub(super) fn instance(&self, node: &Node, name: &str) -> Instance {
        let spec: InstanceSpec = serde_json::from_value(json!({
            "node": node.id, "process": name, "release": "rel_00000000000000000000000001",
            "template_hash": Digest::of(b"template"), "address": "10.210.0.2", "desired": "running", "serving": true,
            "template": {
                "image": { "reference": "web:1", "digest": Digest::of(b"web") }, "driver": "process",
                "env": {}, "cpu": "100m", "memory": "1MiB", "stop_timeout": "1s",
            },
        }))
        .unwrap();
        self.put(name, None, spec)
    }

    fn volume(&self, node: &Node, name: &str) -> Volume {
        let [app, env, volume] = ["web", "prod", name].map(|it| it.parse::<Name>().unwrap());
        let (node, size) = (node.id, Bytes(1 << 20));
        self.put(
            name,
            None,
            VolumeSpec { app, env, volume, node, size, source: None, task: None, recreate: None },
        )
    }

    async fn find<S: Spec>(&self, id: S::Id) -> Option<Resource<S>> {
        self.store.view().await.unwrap().find::<S>(id).unwrap()
    }

    fn head(&self) -> u64 {
        *self.store.head().borrow()
    }
}

pub(super) async fn serve(router: Router) -> reqwest::Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url.parse().unwrap()
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.unwrap_or_else(|_| panic!("{what} never came"))
}

fn names(all: &[Instance]) -> Vec<&str> {
    all.iter().map(|it| it.name.as_str()).collect()
}

/// A place for a task on no board.
fn unwatched() -> TaskHandle {
    TaskHandle::of(TaskSpec::new("watch-nodes", "Watches."))
}

#[tokio::test]
async fn a_node_is_told_of_its_own_things_alone() {
    let house = House::new();
    let (near, far) = (house.node("near"), house.node("far"));
    house.instance(&near, "a");
    let own = house.instance(&far, "b");
    house.volume(&near, "x");
    house.volume(&far, "y");
    let control = RemoteControl::new(house.link(far.id).await);
    let told = control.assigned().await.unwrap();
    assert_eq!(told, [house.find::<InstanceSpec>(own.id).await.unwrap()], "whole, and no other");
    let volumes = control.volumes().await.unwrap();
    assert_eq!(volumes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["y"]);
    let view = control.routing().await.unwrap();
    assert_eq!(view.instances.len(), 1);
}

#[tokio::test]
async fn a_node_reports_on_its_own_things_alone() {
    let house = House::new();
    let (near, far) = (house.node("near"), house.node("far"));
    let (foreign, own) = (house.instance(&near, "a"), house.instance(&far, "b"));
    let (kept, removed) = (house.volume(&near, "x"), house.volume(&far, "y"));
    let control = RemoteControl::new(house.link(far.id).await);
    let status = InstanceStatus { phase: Phase::Running, healthy: true, ..InstanceStatus::default() };
    control.report(own.id, &status).await.unwrap();
    assert_eq!(house.find::<InstanceSpec>(own.id).await.unwrap().status, status);

    let head = house.head();
    let gone = |outcome: Result<(), ControlError>| matches!(outcome, Err(ControlError::Gone(_)));
    assert!(gone(control.report(foreign.id, &status).await));
    assert!(gone(control.report(InstanceId::from(SystemIds.ulid()), &status).await));
    let recipient = Key::generate().recipient();
    let secrets = control.secrets(foreign.id, &recipient).await;
    assert!(matches!(secrets, Err(ControlError::Gone(_))), "{secrets:?}");
    assert_eq!(control.secrets(own.id, &recipient).await.unwrap(), []);
    let ready = VolumeStatus { ready: true, ..VolumeStatus::default() };
    control.report_volume(kept.id, &ready, None).await.unwrap();
    control.volume_gone(kept.id).await.unwrap();
    let refused = control.volume_gone(removed.id).await;
    assert!(matches!(refused, Err(ControlError::Refused(_))), "nobody asked for that: {refused:?}");
    assert_eq!(house.head(), head, "something was written for a stranger");

    let mut txn = Txn::new(Actor::System, "test", "req_test");
    txn.deleting(removed.id);
    house.store.commit_now(txn).unwrap();
    control.volume_gone(removed.id).await.unwrap();
    assert!(house.find::<VolumeSpec>(VolumeId::from(removed.id.0)).await.is_none());
}

#[tokio::test]
async fn a_node_hears_of_what_concerns_it_and_of_nothing_else() {
    let house = House::new();
    let (near, far) = (house.node("near"), house.node("far"));
    let control = RemoteControl::new(house.link(far.id).await);
    let mut changed = control.changed();
    soon("the first answer", changed.changed()).await.unwrap();
    let before = *changed.borrow_and_update();
    let of = |node: &Node| *house.nodes.changes(node.id).borrow();
    let known = of(&far);
    let foreign = house.instance(&near, "a");
    let mut noticed = house.nodes.changes(near.id);
    soon("the neighbour's", noticed.wait_for(|now| now.assignments >= foreign.version)).await.unwrap();
    assert_eq!(of(&far), known, "a neighbour's instance is no news");
    let own = house.instance(&far, "b");
    soon("the news", changed.changed()).await.unwrap();
    assert!(*changed.borrow_and_update() > before);
    assert_eq!(names(&control.assigned().await.unwrap()), ["b"]);
    // Its end concerns the same node.
    let known = of(&far);
    let mut txn = Txn::new(Actor::System, "test", "req_test");
    txn.delete(own.id);
    house.store.commit_now(txn).unwrap();
    let mut noticed = house.nodes.changes(far.id);
    soon("the end", noticed.wait_for(|now| now.assignments > known.assignments)).await.unwrap();
}

/// Answers no calls.
struct Silent;

#[async_trait]
impl Answerer for Silent {
    async fn answer(&self, _: protocol::Want, _: CallSocket) {}
}

#[tokio::test]
async fn a_line_for_calls_brings_the_news_and_a_poll_where_none_does() {
    let house = House::new();
    let far = house.node("far");
    let without = |path: &'static str| {
        let refuse = move |request: Request, next: Next| async move {
            match request.uri().path() == path {
                true => StatusCode::NOT_FOUND.into_response(),
                false => next.run(request).await,
            }
        };
        house.door_behind(far.id, move |router| router.layer(middleware::from_fn(refuse)))
    };
    // A later door without the poll, and an earlier one that takes no line.
    for url in [without("/v1/node/changes").await, without("/v1/node/calls").await] {
        let link = Link::new(LinkConfig { urls: vec![url], announced: vec![], tls: None }).unwrap();
        let _line = answer_calls(&link, Arc::new(Silent));
        let control = RemoteControl::new(link);
        let mut changed = control.changed();
        soon("the first answer", changed.changed()).await.unwrap();
        let own = house.instance(&far, "b");
        soon("the news", async {
            while !control.assigned().await.unwrap().iter().any(|it| it.id == own.id) {
                changed.changed().await.unwrap();
            }
        })
        .await;
        let mut txn = Txn::new(Actor::System, "test", "req_test");
        txn.delete(own.id);
        house.store.commit_now(txn).unwrap();
        soon("the end", async {
            while !control.assigned().await.unwrap().is_empty() {
                changed.changed().await.unwrap();
            }
        })
        .await;
    }
}

#[tokio::test]
async fn who_cannot_be_understood_or_has_no_certificate_is_told_so() {
    let house = House::new();
    let far = house.node("far");
    // Chooses the process's TLS provider.
    house.link(far.id).await;
    let client = reqwest::Client::new();
    let strange = serve(house.router()).await;
    for path in ["v1/node/assignments", "v1/node/images/x", "v1/resources", "v2/", ""] {
        let answer =
            client.get(strange.join(path).unwrap()).header(protocol::HEADER, 1).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
    }
    let url = house.door(far.id).await;
    let ask = |path: &str| client.get(url.join(path).unwrap());
    for (version, status) in [("0", 422), ("1", 200), ("2", 200), ("3", 422), ("x", 422), ("", 422)] {
        let answer = ask("v1/node/assignments").header(protocol::HEADER, version).send().await.unwrap();
        assert_eq!(answer.status(), status, "{version}");
        assert_eq!(answer.headers()[protocol::HEADER], "1");
    }
    let silent = ask("v1/node/assignments").send().await.unwrap();
    assert!(silent.text().await.unwrap().contains("one version at a time"));
    // Nothing of the public API is here.
    for path in ["v1/resources", "v2/", "v1/events"] {
        assert_eq!(ask(path).header(protocol::HEADER, 1).send().await.unwrap().status(), 404, "{path}");
    }
    let post = |path: &str, body: Vec<u8>| {
        let request = client.post(url.join(path).unwrap()).header(protocol::HEADER, 1);
        request.header("content-type", "application/json").body(body).send()
    };
    assert_eq!(post("v1/node/heartbeat", vec![b' '; 3 << 20]).await.unwrap().status(), 413);
    assert_eq!(post("v1/node/heartbeat", b"{".to_vec()).await.unwrap().status(), 422);
    assert_eq!(post("v1/node/instances/x/status", b"{}".to_vec()).await.unwrap().status(), 422);
    let newer = json!({ "started": Timestamp::now(), "of_version_2": [1] }).to_string();
    assert_eq!(post("v1/node/heartbeat", newer.into()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_next_control_plane_is_asked_when_one_fails() {
    let house = House::new();
    let far = house.node("far");
    house.instance(&far, "b");
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let urls = vec![format!("http://{dead}/").parse().unwrap(), house.door(far.id).await];
    let control = RemoteControl::new(Link::new(LinkConfig { urls, announced: vec![], tls: None }).unwrap());
    assert_eq!(control.assigned().await.unwrap().len(), 1);
    // A control plane that stops sends nodes on, too.
    house.ready.send_replace(false);
    assert!(matches!(control.assigned().await, Err(ControlError::Unavailable(_))));
    house.ready.send_replace(true);
    soon("its return", async {
        while control.assigned().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

fn registration(started: Timestamp) -> Registration {
    Registration {
        capacity: Capacity::default(),
        drivers: vec![Driver::Process],
        version: "0.1.0".into(),
        started,
        lowest_port: 0,
        trouble: None,
        no_egress: None,
    }
}

fn ready(node: &Node) -> (bool, String) {
    let ready = node.status.conditions.iter().find(|it| it.kind == "Ready").unwrap();
    (ready.state, ready.reason.clone())
}

#[tokio::test(start_paused = true)]
async fn heartbeats_cost_no_commit_and_their_end_and_return_one_each() {
    let house = House::new();
    let far = house.node("far");
    let started = Timestamp::now();
    let beat = Heartbeat { started, low_disk: None };
    assert!(house.nodes.heard(far.id, &beat).register);
    house.nodes.register(far.id, registration(started)).await.unwrap();
    assert_eq!(ready(&house.find::<NodeSpec>(far.id).await.unwrap()), (true, "DriversWork".into()));
    let stop = CancellationToken::new();
    let watching = tokio::spawn(house.nodes.clone().watch(unwatched(), stop.clone()));
    let head = house.head();
    for _ in 0..100 {
        assert!(!house.nodes.heard(far.id, &beat).register);
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    house.nodes.register(far.id, registration(started)).await.unwrap();
    assert_eq!(house.head(), head, "a heartbeat or a repeated registration was committed");

    let lost = async {
        while ready(&house.find::<NodeSpec>(far.id).await.unwrap()).0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    lost.await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let node = house.find::<NodeSpec>(far.id).await.unwrap();
    assert_eq!(ready(&node), (false, "HeartbeatsStopped".into()));
    assert_eq!(house.head() - head, 2, "one commit: the status, and the event node.lost");

    assert!(!house.nodes.heard(far.id, &beat).register);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let back = house.find::<NodeSpec>(far.id).await.unwrap();
    assert_eq!(ready(&back), (true, "DriversWork".into()));
    assert_eq!(house.head() - head, 4);
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_starts_gives_every_node_a_lease() {
    let house = House::new();
    let far = house.node("far");
    let started = Timestamp::now();
    house.nodes.register(far.id, registration(started)).await.unwrap();
    // Another process over the same store.
    let keys = tempfile::tempdir().unwrap();
    let vault =
        Vault::open(&keys.path().join("secrets.key"), house.store.clone(), Arc::new(SystemClock)).unwrap();
    let later = Nodes::new(house.store.clone(), Arc::new(vault), Arc::new(SystemClock), hearing("a"));
    let (stop, head) = (CancellationToken::new(), house.head());
    let watching = tokio::spawn(later.clone().watch(unwatched(), stop.clone()));
    tokio::time::sleep(Duration::from_secs(13)).await;
    let beat = Heartbeat { started, low_disk: None };
    assert!(!later.heard(far.id, &beat).register, "what is in the store need not be said again");
    tokio::time::sleep(Duration::from_secs(13)).await;
    assert_eq!(house.head(), head);
    assert!(
        later
            .heard(far.id, &Heartbeat { started: started + Duration::from_secs(9), low_disk: None })
            .register
    );
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fills_is_written_down_once() {
    let house = House::new();
    let far = house.node("far");
    let started = Timestamp::now();
    house.nodes.register(far.id, registration(started)).await.unwrap();
    let stop = CancellationToken::new();
    let watching = tokio::spawn(house.nodes.clone().watch(unwatched(), stop.clone()));
    let disk = async |low: Option<u64>| {
        for _ in 0..4 {
            house.nodes.heard(far.id, &Heartbeat { started, low_disk: low.map(Bytes) });
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let node = house.find::<NodeSpec>(far.id).await.unwrap();
        node.status.conditions.into_iter().find(|it| it.kind == "Disk").map(|it| it.state)
    };
    assert_eq!(disk(None).await, None);
    assert_eq!(disk(Some(1 << 20)).await, Some(false));
    let head = house.head();
    assert_eq!(disk(Some(2 << 20)).await, Some(false));
    assert_eq!(house.head(), head);
    assert_eq!(disk(None).await, Some(true));
    stop.cancel();
    watching.await.unwrap();
}

/// Another control plane on the store of `house`.
fn another(house: &House, hearing: Hearing) -> Arc<Nodes> {
    let keys = tempfile::tempdir().unwrap();
    let vault =
        Vault::open(&keys.path().join("secrets.key"), house.store.clone(), Arc::new(SystemClock)).unwrap();
    Nodes::new(house.store.clone(), Arc::new(vault), Arc::new(SystemClock), hearing)
}

fn presence(name: &str, live: bool) -> Watched {
    let node_url = Some(format!("https://{name}:7118"));
    let said = Presence { url: format!("http://{name}"), version: "1".into(), node: false, node_url };
    let (name, holder, note) = (Presence::lease(name), name.into(), serde_json::to_string(&said).unwrap());
    let lease = Lease { name, holder, version: 1, renewals: 1, since: Timestamp::now(), note };
    Watched { lease, silent: Duration::ZERO, live }
}

async fn beat_for(seconds: u64, started: Timestamp, node: &Node, hearers: &[&Arc<Nodes>]) {
    for _ in 0..seconds {
        for hearer in hearers {
            hearer.heard(node.id, &Heartbeat { started, low_disk: None });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_somebody_hears_is_not_lost_and_one_that_nobody_hears_is_lost_once() {
    let house = House::new();
    let far = house.node("far");
    let (said, leases) = watch::channel(vec![presence("a", true), presence("b", true)]);
    let of = |own: &str| Hearing { own: own.into(), leases: leases.clone(), seat: None };
    let (a, b) = (another(&house, of("a")), another(&house, of("b")));
    let started = Timestamp::now();
    a.register(far.id, registration(started)).await.unwrap();
    let stop = CancellationToken::new();
    let [watching_a, watching_b] =
        [&a, &b].map(|one| tokio::spawn(one.clone().watch(unwatched(), stop.clone())));
    let by = async || {
        let node = house.find::<NodeSpec>(far.id).await.unwrap();
        (node.status.heard_by.iter().cloned().collect::<Vec<_>>().concat(), ready(&node).0)
    };
    beat_for(5, started, &far, &[&a, &b]).await;
    assert_eq!(by().await, ("ab".into(), true));
    let heard = b.heard(far.id, &Heartbeat { started, low_disk: None });
    assert_eq!(heard.controls, ["https://a:7118", "https://b:7118"], "it is told of both");
    let head = house.head();
    beat_for(40, started, &far, &[&a, &b]).await;
    assert_eq!(house.head(), head, "heartbeats were committed");

    // Cut from a: b hears it, and it is not lost for a moment.
    beat_for(25, started, &far, &[&b]).await;
    assert_eq!((by().await, house.head() - head), (("b".into(), true), 1));
    // Back at a, then b dies: it stays heard.
    beat_for(3, started, &far, &[&a, &b]).await;
    watching_b.abort();
    said.send_replace(vec![presence("a", true), presence("b", false)]);
    let head = house.head();
    beat_for(10, started, &far, &[&a]).await;
    assert_eq!(house.head(), head, "b's nodes have a lease to be heard by others");
    beat_for(10, started, &far, &[&a]).await;
    assert_eq!((by().await, house.head() - head), (("a".into(), true), 1));
    // Nobody hears it any more.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!((by().await, house.head() - head), ((String::new(), false), 3), "the status, and node.lost");
    stop.cancel();
    watching_a.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_nodes_of_a_control_plane_that_died_are_lost_if_nobody_else_hears_them() {
    let house = House::new();
    let far = house.node("far");
    let leases = watch::channel(vec![presence("a", true), presence("b", false)]).1;
    let b = another(&house, hearing("b"));
    b.register(far.id, registration(Timestamp::now())).await.unwrap();
    let a = another(&house, Hearing { own: "a".into(), leases, seat: None });
    let stop = CancellationToken::new();
    let watching = tokio::spawn(a.clone().watch(unwatched(), stop.clone()));
    tokio::time::sleep(Duration::from_secs(13)).await;
    assert!(ready(&house.find::<NodeSpec>(far.id).await.unwrap()).0, "it has a lease");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!ready(&house.find::<NodeSpec>(far.id).await.unwrap()).0);
    stop.cancel();
    watching.await.unwrap();
}

/// Nodes of before say the same every half a minute, with the version of then.
#[tokio::test]
async fn what_an_edge_says_again_is_no_event() {
    let house = House::new();
    let far = house.node("far");
    house.instance(&far, "web");
    let spec = serde_json::from_value::<EndpointSpec>(json!({
        "process": "web", "listen": 8000, "target": 80, "protocol": "tcp", "proxy_protocol": "off",
    }));
    let endpoint = house.put("tcp/8000", None, spec.unwrap());
    let report = |applied, backends| {
        let status = EndpointStatus { listening: true, applied, backends, ..EndpointStatus::default() };
        EndpointReport { endpoints: [(endpoint.id, status)].into() }
    };
    house.nodes.endpoints(far.id, report(1, 1)).await.unwrap();
    let before = house.head();
    for applied in 2..6 {
        house.nodes.endpoints(far.id, report(applied, 1)).await.unwrap();
    }
    assert_eq!(house.head(), before, "nothing is new");
    house.nodes.endpoints(far.id, report(6, 2)).await.unwrap();
    let status = house.find::<EndpointSpec>(endpoint.id).await.unwrap().status;
    assert_eq!((status.backends, status.applied), (2, 6));
}
