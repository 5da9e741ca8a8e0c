//! A house with one node, whose agent and edge are the test itself.

use freehold_deploy::{
    Asking, DrainReconciler, PlanError, Request, RolloutReconciler, TeardownReconciler, apply, cancel,
    plan_deploy, plan_remove, plan_rollback,
};
use freehold_model::{
    Actor, AnyId, AppSpec, Bytes, Capacity, Digest, Endpoint, EndpointSpec, EndpointStatus, Env, EnvSpec,
    Exit, ImageRef, Instance, InstanceSpec, InstanceStatus, Kind, Manifest, Millicores, Millis, Name, Node,
    NodeId, NodeSpec, NodeStatus, Org, OrgId, OrgSpec, Phase, Plan, Project, ProjectId, ProjectSpec, Receipt,
    ReceiptId, ReceiptSpec, Rollout, RolloutSpec, Txn,
    manifest::{self, Check, Driver, Probe, Process, Protocol, ProxyProtocol},
};
use freehold_reconcile::{
    Ids, MemoryStore, Reconciler, View, ViewExt,
    memory::MemoryView,
    sim::{SimClock, SimIds},
};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) struct House {
    pub(crate) clock: Arc<SimClock>,
    pub(crate) store: MemoryStore,
    pub(crate) ids: SimIds,
    pub(crate) node: NodeId,
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn image(content: &str) -> ImageRef {
    ImageRef { reference: "guestbook:1".into(), digest: Digest::of(content.as_bytes()) }
}

/// One process `web`, reached at port 8000.
pub(crate) fn manifest(count: u32) -> Manifest {
    let check = Check {
        probe: Probe::Http { path: "/healthz".into(), port: 8080 },
        every: Millis(1_000),
        timeout: Millis(500),
        unhealthy_after: 3,
        restart_after: Default::default(),
        grace: Millis(10_000),
    };
    let web = Process {
        image: "guestbook:1".into(),
        driver: Driver::Container,
        command: None,
        args: None,
        count,
        cpu: Millicores(250),
        memory: Bytes(64 << 20),
        pids: 512,
        disk: freehold_model::manifest::DEFAULT_DISK,
        env: BTreeMap::new(),
        secrets: vec![],
        stop_timeout: Millis(10_000),
        check: Some(check),
        egress: vec![],
        after: vec![],
        affinity: Default::default(),
        spread: vec![],
        tolerate: vec![],
        priority: 0,
        lost_after: freehold_model::manifest::DEFAULT_LOST,
    };
    let endpoint = manifest::Endpoint {
        process: name("web"),
        listen: 8000,
        target: 8080,
        protocol: Protocol::Tcp,
        proxy_protocol: ProxyProtocol::Off,
        trusted_proxies: vec![],
        idle_timeout: None,
        max_connections: None,
    };
    let process = BTreeMap::from([(name("web"), web)]);
    Manifest {
        schema: 1,
        app: name("guestbook"),
        process,
        endpoint: vec![endpoint],
        deploy: Default::default(),
        volume: vec![],
        sign_in: None,
    }
}

/// The same with another variable, so that every instance must be replaced.
pub(crate) fn changed(count: u32, log: &str) -> Manifest {
    let mut manifest = manifest(count);
    manifest.process.get_mut("web").unwrap().env.insert("LOG".into(), log.into());
    manifest
}

impl House {
    pub(crate) fn new() -> House {
        let clock = Arc::new(SimClock::new());
        let store = MemoryStore::new(clock.clone());
        let mut ids = SimIds::new(1);
        let now = clock.after(0);
        let mut txn = Txn::new(Actor::System, "first start", "test");
        let org = Org::new(OrgId(ids.ulid()), "home", None, OrgSpec::default(), now);
        let project =
            Project::new(ProjectId(ids.ulid()), "default", Some(org.id.into()), ProjectSpec::default(), now);
        let mut node = Node::new(NodeId(ids.ulid()), "tower", None, NodeSpec::default(), now);
        node.status = NodeStatus {
            capacity: Capacity { cpu: Millicores(2000), memory: Bytes(1 << 30) },
            drivers: vec![Driver::Container, Driver::Process],
            ..NodeStatus::default()
        };
        txn.put(&org).put(&project).put(&node);
        store.commit_now(txn).unwrap();
        House { clock, store, ids, node: node.id }
    }

    pub(crate) fn view(&self) -> MemoryView {
        self.store.view_now()
    }

    pub(crate) fn plan(
        &self,
        manifest: &Manifest,
        image: &ImageRef,
        restart: bool,
    ) -> Result<Plan, PlanError> {
        let images = manifest.process.keys().map(|process| (process.clone(), image.clone())).collect();
        let (project, env) = (name("default"), name("prod"));
        let manifest = manifest.clone();
        plan_deploy(&self.view(), &Request { project: &project, env: &env, manifest, images, restart })
    }

    pub(crate) fn plan_rollback(&self, to: Option<u32>) -> Result<Plan, PlanError> {
        plan_rollback(&self.view(), &name("default"), &name("guestbook"), &name("prod"), to)
    }

    pub(crate) fn apply(&mut self, plan: &Plan) -> Result<ReceiptId, PlanError> {
        self.apply_by("admin", plan, false)
    }

    pub(crate) fn apply_by(&mut self, who: &str, plan: &Plan, pinned: bool) -> Result<ReceiptId, PlanError> {
        let (view, actor) = (self.view(), Actor::User(who.into()));
        let asking = Asking { actor: &actor, request: "req", now: self.clock.after(0), pinned };
        let (txn, receipt) = apply(&view, plan, &asking, &mut self.ids)?;
        self.store.commit_now(txn).unwrap();
        Ok(receipt)
    }

    /// Cancels; the sentence of the refusal if it is refused.
    pub(crate) fn cancel(&mut self, id: ReceiptId) -> Result<(), String> {
        let (view, actor) = (self.view(), Actor::User("admin".into()));
        let txn = cancel(&view, id, &actor, "req", self.clock.after(0)).map_err(|error| error.to_string())?;
        if let Some(txn) = txn {
            self.store.commit_now(txn).unwrap();
        }
        Ok(())
    }

    pub(crate) fn deploy(&mut self, manifest: &Manifest) -> ReceiptId {
        let plan = self.plan(manifest, &image("one"), false).unwrap();
        self.apply(&plan).unwrap()
    }

    /// Deploys and lets everything go well to the end.
    pub(crate) fn deploy_well(&mut self, manifest: &Manifest) -> Receipt {
        let receipt = self.deploy(manifest);
        self.let_it_go_well(receipt)
    }

    pub(crate) fn let_it_go_well(&mut self, receipt: ReceiptId) -> Receipt {
        for _ in 0..12 {
            self.reconcile();
            for instance in self.instances() {
                self.report(&instance, ideal(&instance));
            }
            self.edge_applies();
        }
        self.receipt(receipt)
    }

    pub(crate) fn remove(&mut self) -> ReceiptId {
        let plan = plan_remove(&self.view(), &name("default"), &name("guestbook")).unwrap();
        self.apply(&plan).unwrap()
    }

    /// Lets both reconcilers decide about everything until neither wants more.
    pub(crate) fn reconcile(&mut self) {
        for _ in 0..20 {
            let before = self.store.version();
            self.decide_all(&RolloutReconciler);
            self.decide_all(&TeardownReconciler);
            self.decide_all(&DrainReconciler);
            if self.store.version() == before {
                return;
            }
        }
        panic!("the reconcilers do not come to rest");
    }

    fn decide_all(&mut self, reconciler: &dyn Reconciler) {
        for subject in reconciler.subjects(&self.view()).unwrap() {
            let (view, now) = (self.view(), self.clock.after(0));
            let decision = reconciler.decide(subject, &view, now, &mut self.ids).unwrap();
            if let Some(txn) = decision.txn.filter(|txn| !txn.is_empty()) {
                self.store.commit_now(txn).unwrap();
            }
        }
    }

    pub(crate) fn pass(&self, millis: u64) {
        self.clock.set(self.clock.after(millis));
    }

    pub(crate) fn report(&self, instance: &Instance, status: InstanceStatus) {
        let mut txn = Txn::new(Actor::Node(self.node.to_string()), "observed", "agent");
        txn.observe::<InstanceSpec>(instance.id, &status);
        self.store.commit_now(txn).unwrap();
    }

    /// The edge routes as the store says now, and nothing drains.
    pub(crate) fn edge_applies(&self) {
        self.edge_says(|endpoint, version| EndpointStatus {
            listening: endpoint.deleting.is_none(),
            message: None,
            applied: version,
            ..endpoint.status.clone()
        });
    }

    pub(crate) fn edge_says(&self, status: impl Fn(&Endpoint, u64) -> EndpointStatus) {
        let version = self.view().version().unwrap();
        for endpoint in self.endpoints() {
            let mut txn = Txn::new(Actor::Controller("edge".into()), "applied", "edge");
            txn.observe::<EndpointSpec>(endpoint.id, &status(&endpoint, version));
            self.store.commit_now(txn).unwrap();
        }
    }

    pub(crate) fn instances(&self) -> Vec<Instance> {
        self.view().all::<InstanceSpec>(None).unwrap()
    }

    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.view().all::<EndpointSpec>(None).unwrap()
    }

    pub(crate) fn node(&self) -> Node {
        self.view().find::<NodeSpec>(self.node).unwrap().unwrap()
    }

    pub(crate) fn rollout(&self) -> Rollout {
        self.view().all::<RolloutSpec>(None).unwrap().pop().unwrap()
    }

    pub(crate) fn receipt(&self, id: ReceiptId) -> Receipt {
        self.view().find::<ReceiptSpec>(id).unwrap().unwrap()
    }

    pub(crate) fn env(&self) -> Env {
        let app = self.view().all::<AppSpec>(None).unwrap().pop().unwrap();
        self.view().named::<EnvSpec>(Some(app.id.into()), "prod").unwrap().unwrap()
    }

    /// Makes a port another app's.
    pub(crate) fn occupy(&mut self, port: &str) {
        let mut other = manifest(1);
        other.app = name("other");
        other.endpoint[0].listen = port.trim_start_matches("tcp/").parse().unwrap();
        let receipt = self.deploy(&other);
        self.let_it_go_well(receipt);
    }

    pub(crate) fn left(&self) -> Vec<Kind> {
        self.view().resources().map(|resource: &freehold_model::AnyResource| resource.kind).collect()
    }
}

/// What a node says of an instance when everything goes well.
pub(crate) fn ideal(instance: &Instance) -> InstanceStatus {
    match instance.spec.desired {
        freehold_model::Desired::Running => healthy(),
        freehold_model::Desired::Stopped => {
            InstanceStatus { phase: Phase::Stopped, ..InstanceStatus::default() }
        }
    }
}

pub(crate) fn healthy() -> InstanceStatus {
    InstanceStatus {
        phase: Phase::Running,
        healthy: true,
        image: Some(image("one").digest),
        ..InstanceStatus::default()
    }
}

pub(crate) fn exited(code: i32, house: &House) -> Option<Exit> {
    Some(Exit {
        code: Some(code),
        signal: None,
        oom: false,
        disk: None,
        unhealthy: None,
        at: house.clock.after(0),
    })
}

/// The steps of a receipt, by name.
pub(crate) fn steps(receipt: &Receipt) -> Vec<&str> {
    receipt.status.steps.iter().map(|step| step.name.as_str()).collect()
}

pub(crate) fn ids(instances: &[Instance]) -> Vec<AnyId> {
    instances.iter().map(Instance::any_id).collect()
}
