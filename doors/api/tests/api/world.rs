//! A server without a node: the real router, a store in memory, and a node that says what it is told to.

use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode},
};
use freehold_api::{AccessLines, ApiState, Controls, EdgePort, LogSelection, LogTrail, NodePort, Tail};
use freehold_identity::{
    Authority, KeyFingerprint, Peer, Token, Tokens,
    oidc::Signer,
    sso::{Relying, Web},
};
use freehold_image::ImageStore;
use freehold_model::{
    Actor, AnyId, App, AppSpec, EndpointId, Env, EnvSpec, InstanceId, Org, OrgSpec, Problem, Project,
    ProjectSpec, Resource, Spec, Txn,
    api::Doctor,
    drill::{EgressTry, Way},
    exec::ExecRequest,
    logs::LogQuery,
    traffic::{AccessLine, AccessQuery, EndpointTraffic},
};
use freehold_reconcile::{Clock, MemoryStore, Store, SystemClock, SystemIds, ports::Ids as _};
use freehold_runtime::{ExecInput, ExecOutput, ExecSession};
use freehold_secrets::Vault;
use futures::{StreamExt as _, stream, stream::BoxStream};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt as _;

pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) node: Arc<FakeNode>,
    pub(crate) edge: Arc<FakeEdge>,
    pub(crate) token: Token,
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) router: Router,
    /// What the node door serves.
    pub(crate) machines: Router,
    pub(crate) folder: tempfile::TempDir,
}

/// A node whose logs are given, and whose commands echo their input.
#[derive(Default)]
pub(crate) struct FakeNode {
    pub(crate) logs: Mutex<Vec<LogTrail>>,
    pub(crate) asked: Mutex<Option<(LogSelection, LogQuery)>>,
}

/// An edge that has carried what it is told.
#[derive(Default)]
pub(crate) struct FakeEdge {
    pub(crate) traffic: Mutex<Option<EndpointTraffic>>,
    pub(crate) lines: Mutex<Vec<Result<Vec<AccessLine>, Problem>>>,
    pub(crate) asked: Mutex<Option<AccessQuery>>,
}

impl EdgePort for FakeEdge {
    /// Port 9 is another program's.
    fn try_port(
        &self,
        _: freehold_model::manifest::Protocol,
        port: u16,
    ) -> Result<(), freehold_api::ClosedPort> {
        let reason = format!("port {port} is taken by python3 (pid 7)");
        if port == 9 {
            Err(freehold_api::ClosedPort { reason, is_ours: false, is_taken: true })
        } else {
            Ok(())
        }
    }

    fn traffic(&self, endpoint: EndpointId) -> Option<EndpointTraffic> {
        self.traffic.lock().unwrap().clone().filter(|traffic| traffic.endpoint == endpoint)
    }

    fn access(&self, _: EndpointId, query: AccessQuery) -> AccessLines {
        *self.asked.lock().unwrap() = Some(query);
        stream::iter(std::mem::take(&mut *self.lines.lock().unwrap())).boxed()
    }
}

#[async_trait::async_trait]
impl NodePort for FakeNode {
    async fn logs(
        &self,
        selection: LogSelection,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogTrail>, Problem> {
        assert!(selection.processes.iter().all(|name| name.as_str() != "panic"), "as asked: hunter2");
        *self.asked.lock().unwrap() = Some((selection, query));
        Ok(stream::iter(std::mem::take(&mut *self.logs.lock().unwrap())).boxed())
    }

    async fn drill_egress(
        &self,
        instances: Vec<InstanceId>,
        _: Vec<(u16, String)>,
    ) -> Result<Vec<EgressTry>, Problem> {
        let one = |instance: InstanceId| EgressTry {
            instance,
            process: "web".parse().unwrap(),
            target: "192.0.2.1:80".into(),
            what: "an address outside".into(),
            expected: Way::Closed,
            found: Way::Open,
            ok: false,
            detail: "connected".into(),
        };
        Ok(instances.into_iter().map(one).collect())
    }

    async fn exec(&self, _: InstanceId, request: ExecRequest) -> Result<ExecSession, Problem> {
        let (input, mut sent) = mpsc::channel(8);
        let (out, output) = mpsc::channel(8);
        tokio::spawn(async move {
            if request.command[0] == "/missing" {
                let _ = out.send(ExecOutput::Failed("no such program: /missing".into())).await;
                return;
            }
            while let Some(message) = sent.recv().await {
                match message {
                    ExecInput::Bytes(bytes) => out.send(ExecOutput::Stdout(bytes)).await.unwrap(),
                    ExecInput::Signal(signal) => out.send(ExecOutput::Exit(128 + signal)).await.unwrap(),
                    ExecInput::Resize(size) => {
                        out.send(ExecOutput::Stderr(size.cols.to_string().into())).await.unwrap();
                    }
                    ExecInput::Eof => return out.send(ExecOutput::Exit(7)).await.unwrap(),
                }
            }
        });
        Ok(ExecSession { input, output })
    }
}

impl World {
    pub(crate) fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys/secrets.key");
        World::of(Arc::new(MemoryStore::new(Arc::new(SystemClock))), folder, &keys)
    }

    /// Another control plane of the same house: its store and its root key.
    pub(crate) fn beside(&self) -> World {
        let keys = self.folder.path().join("keys/secrets.key");
        World::of(self.store.clone(), tempfile::tempdir().unwrap(), &keys)
    }

    fn of(store: Arc<MemoryStore>, folder: tempfile::TempDir, keys: &std::path::Path) -> World {
        let (ready, is_ready) = watch::channel(true);
        let node = Arc::new(FakeNode::default());
        let edge = Arc::new(FakeEdge::default());
        let token = Token::generate();
        let vault = Arc::new(Vault::open(keys, store.clone(), Arc::new(SystemClock)).unwrap());
        let clock = Arc::new(SystemClock);
        let authority = Arc::new(Authority::new(store.clone(), clock.clone(), vault.clone()));
        let signer = Arc::new(Signer::new(store.clone(), clock, vault.clone()));
        let state = Arc::new(ApiState {
            vault,
            authority,
            public_url: Some("https://home.example".parse().unwrap()),
            signer,
            sso: Arc::new(Relying::new(Arc::new(Web::default()))),
            controls: Controls::alone("test"),
            store: store.clone(),
            tail: Tail::of(store.clone()),
            images: ImageStore::open(&folder.path().join("images")).unwrap(),
            agent: node.clone(),
            edge: edge.clone(),
            clock: Arc::new(SystemClock),
            tokens: Tokens::admin(&token),
            attempts: Default::default(),
            rates: Default::default(),
            known: Default::default(),
            devices: Default::default(),
            streams: Default::default(),
            ready: is_ready,
            doctor: Arc::new(|| Doctor { drivers: vec![], findings: vec![] }),
        });
        let (router, machines) = (freehold_api::router(state.clone()), freehold_api::node_router(state));
        World { store, node, edge, token, ready, router, machines, folder }
    }

    /// A request as the admin makes it.
    pub(crate) fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let bearer = format!("Bearer {}", self.token.reveal());
        Request::builder().method(method).uri(path).header("authorization", bearer)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Sends it to the node door, without a certificate.
    pub(crate) async fn send_to_machines(&self, request: Request<Body>) -> Response<Body> {
        self.machines.clone().oneshot(request).await.unwrap()
    }

    /// Sends it to the node door, with the certificate of some node.
    pub(crate) async fn send_as_node(&self, mut request: Request<Body>) -> Response<Body> {
        let node: freehold_model::NodeId = "nod_00000000000000000000000000".parse().unwrap();
        request.extensions_mut().insert(Peer { machine: node.into(), key: KeyFingerprint::of(b"key") });
        self.send_to_machines(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        json(self.send(self.request("GET", path).body(Body::empty()).unwrap()).await).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.request("POST", path).header("content-type", "application/json");
        json(self.send(request.body(body.to_string().into()).unwrap()).await).await
    }

    /// Stores a new resource.
    pub(crate) fn put<S: Spec>(&self, name: &str, parent: Option<AnyId>, spec: S) -> Resource<S> {
        let id = S::Id::from(SystemIds.ulid());
        let resource = Resource::new(id, name, parent, spec, SystemClock.now());
        self.put_resource(&resource);
        resource
    }

    pub(crate) fn put_resource<S: Spec>(&self, resource: &Resource<S>) {
        let mut txn = Txn::new(Actor::System, "test", "req_test");
        txn.put(resource);
        self.store.commit_now(txn).unwrap();
    }

    /// Org, project, app and env, as a first deploy leaves them.
    pub(crate) fn tree(&self) -> (Org, Project, App, Env) {
        let org = self.put("home", None, OrgSpec::default());
        let project = self.put("default", Some(org.any_id()), ProjectSpec::default());
        let app = self.put("web", Some(project.any_id()), AppSpec {});
        let env = self.put("prod", Some(app.any_id()), EnvSpec::default());
        (org, project, app, env)
    }

    pub(crate) fn head(&self) -> u64 {
        *self.store.head().borrow()
    }
}

pub(crate) async fn bytes(response: Response<Body>) -> Vec<u8> {
    axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
}

/// Status and body; null when the body is not JSON.
pub(crate) async fn json(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    (status, serde_json::from_slice(&bytes(response).await).unwrap_or_default())
}

/// Whether a path is the node door's.
pub(crate) fn is_for_machines(path: &str) -> bool {
    path == "/v1/join"
        || path == "/v1/machine"
        || path.starts_with("/v1/join/")
        || path.starts_with("/v1/node/")
}
