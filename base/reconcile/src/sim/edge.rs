//! A simulated edge: it routes to serving, healthy instances, a little late, and tells which version it
//! has applied and who still has connections.

use super::world::{Context, Part};
use crate::{
    memory::MemoryView,
    ports::{View, ViewExt},
};
use freehold_model::{
    Actor, Desired, Endpoint, EndpointId, EndpointSpec, EndpointStatus, Instance, InstanceId, InstanceSpec,
    Phase, RolloutId, RolloutPhase, RolloutSpec, Seq, Txn,
};
use jiff::Timestamp;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// Who is given connections, by endpoint, as the edge really does it.
pub type Routing = BTreeMap<EndpointId, BTreeSet<InstanceId>>;

/// The edge.
#[derive(Default)]
pub struct SimEdge {
    routing: Rc<RefCell<Routing>>,
    /// Connections to instances that get no new ones, and when they end.
    open: BTreeMap<(EndpointId, InstanceId), Timestamp>,
    /// Ports that another program has.
    taken: BTreeSet<u16>,
}

impl SimEdge {
    /// One that can't open any of `ports`.
    pub fn without(ports: impl IntoIterator<Item = u16>) -> SimEdge {
        SimEdge { taken: ports.into_iter().collect(), ..SimEdge::default() }
    }

    /// What it really does, to be inspected.
    pub fn routing(&self) -> Rc<RefCell<Routing>> {
        Rc::clone(&self.routing)
    }

    fn apply(&mut self, context: &mut Context, endpoint: &Endpoint, backends: &BTreeSet<InstanceId>) {
        let before = self.routing.borrow_mut().insert(endpoint.id, backends.clone()).unwrap_or_default();
        for left in before.difference(backends) {
            let ends = context.soon(0, 14_000);
            self.open.insert((endpoint.id, *left), ends);
        }
    }

    fn status(&self, endpoint: &Endpoint, backends: usize, applied: Seq) -> EndpointStatus {
        let open = self.open.keys().filter(|(at, _)| *at == endpoint.id);
        let closed = match endpoint.deleting {
            Some(_) => Some("it is being removed".to_owned()),
            None => self.taken.contains(&endpoint.spec.listen).then(|| "the port is taken".to_owned()),
        };
        EndpointStatus {
            listening: closed.is_none(),
            message: closed,
            addresses: vec![format!("127.0.0.1:{}", endpoint.spec.listen)],
            backends: backends as u32,
            applied,
            draining: open.map(|(_, instance)| (*instance, 1)).collect(),
            hop_port: None,
            nodes: Default::default(),
        }
    }
}

impl Part for SimEdge {
    fn step(&mut self, context: &mut Context) -> Option<Timestamp> {
        let view = context.store.view_now();
        let version = view.version().expect("memory does not fail");
        let instances = view.all::<InstanceSpec>(None).expect("instances can be read");
        let endpoints = view.all::<EndpointSpec>(None).expect("endpoints can be read");
        let awaited = awaited(&view);
        drop(view);
        let now = context.now();
        self.open.retain(|(_, id), ends| *ends > now && instances.iter().any(|it| it.id == *id));
        self.routing.borrow_mut().retain(|id, _| endpoints.iter().any(|it| it.id == *id));
        let mut txn = Txn::new(Actor::Controller("edge".into()), "routing was applied", "edge");
        for endpoint in &endpoints {
            let backends: BTreeSet<_> =
                instances.iter().filter(|it| answers(it, endpoint)).map(|it| it.id).collect();
            self.apply(context, endpoint, &backends);
            let status = self.status(endpoint, backends.len(), version);
            let same = EndpointStatus { applied: endpoint.status.applied, ..status.clone() };
            if same != endpoint.status || endpoint.status.applied < awaited {
                txn.observe::<EndpointSpec>(endpoint.id, &status);
            }
        }
        if !txn.is_empty() {
            let outcome = context.store.commit_now(txn);
            context.tell(format_args!("edge: {}", outcome.is_ok()));
        }
        self.open.values().min().copied()
    }

    fn latency(&self) -> (u64, u64) {
        (1, 1_500)
    }
}

fn answers(instance: &Instance, endpoint: &Endpoint) -> bool {
    let (spec, status) = (&instance.spec, &instance.status);
    endpoint.deleting.is_none()
        && instance.parent == endpoint.parent
        && spec.process == endpoint.spec.process
        && spec.serving
        && spec.desired == Desired::Running
        && status.healthy
        && status.phase == Phase::Running
}

/// The newest version that a rollout waits for, which it does while it shifts.
fn awaited(view: &MemoryView) -> Seq {
    let claims = view.claims("rollout").expect("claims can be read");
    let ids = claims.into_iter().filter_map(|claim| RolloutId::try_from(claim.owner).ok());
    let rollouts = ids.filter_map(|id| view.find::<RolloutSpec>(id).expect("rollouts can be read"));
    let shifting = rollouts.filter(|rollout| rollout.status.phase == RolloutPhase::Draining);
    shifting.map(|rollout| rollout.version).max().unwrap_or(0)
}
