//! A simulated node agent: it does what is assigned to its machine and reports what it sees, late,
//! twice, or after a restart or a partition. What the machine runs goes on meanwhile.

use super::{
    machine::Machine,
    world::{Context, Part},
};
use crate::{
    memory::MemoryView,
    ports::{View, ViewExt},
};
use freehold_model::{
    Actor, Desired, Instance, InstanceId, InstanceSpec, InstanceStatus, Kind, NodeId, Seq, Txn,
};
use jiff::Timestamp;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

/// An agent and its machine.
pub struct SimNode {
    id: NodeId,
    machine: Rc<RefCell<Machine>>,
    /// Away until then: restarting, or cut off.
    away: Option<Timestamp>,
    /// Since when it has been away.
    silent: Rc<Cell<Option<Timestamp>>>,
    /// Reports that arrive a second time, late.
    echoes: BTreeMap<Timestamp, (InstanceId, InstanceStatus)>,
    /// How many of a hundred healthy instances crash by themselves.
    crashes: u64,
    assigned: Assigned,
}

/// The instances of the node as of one version; read again when an event is about an instance.
#[derive(Default)]
struct Assigned {
    version: Seq,
    mine: BTreeMap<InstanceId, Instance>,
}

impl Assigned {
    fn refresh(&mut self, view: &MemoryView, node: NodeId) {
        let news = view.events(self.version, usize::MAX, None);
        self.version = view.version().expect("memory does not fail");
        // Who missed events reads everything.
        if news.is_err() || news.iter().flatten().any(|event| event.subject.kind == Kind::Instance) {
            let all = view.all::<InstanceSpec>(None).expect("instances can be read");
            let mine = all.into_iter().filter(|instance| instance.spec.node == node);
            self.mine = mine.map(|instance| (instance.id, instance)).collect();
        }
    }
}

impl SimNode {
    /// The agent of node `id`.
    pub fn new(id: NodeId, crashes: u64) -> SimNode {
        SimNode {
            id,
            machine: Rc::default(),
            away: None,
            silent: Rc::default(),
            echoes: BTreeMap::new(),
            crashes,
            assigned: Assigned::default(),
        }
    }

    /// The machine, to be inspected.
    pub fn machine(&self) -> Rc<RefCell<Machine>> {
        Rc::clone(&self.machine)
    }

    /// Since when nothing is heard of it, to be judged by a lease.
    pub fn silent(&self) -> Rc<Cell<Option<Timestamp>>> {
        Rc::clone(&self.silent)
    }

    fn observe(&mut self, context: &mut Context) {
        self.assigned.refresh(&context.store.view_now(), self.id);
        let clock = context.clock.clone();
        for instance in self.assigned.mine.values() {
            if instance.spec.desired == Desired::Running && self.has_no_room_yet(instance) {
                continue;
            }
            self.machine.borrow_mut().want(instance, &clock, &mut context.random);
        }
        self.machine.borrow_mut().forget(|id| self.assigned.mine.contains_key(&id));
        let news = |(id, instance): (&InstanceId, &Instance)| {
            let status = self.machine.borrow().status(*id)?.clone();
            (status != instance.status).then_some((*id, status))
        };
        let reports: Vec<_> = self.assigned.mine.iter().filter_map(news).collect();
        for (id, status) in reports {
            self.report(context, id, &status);
            if context.mishap(12) {
                let late = context.soon(1, 4_000);
                self.echoes.insert(late, (id, status));
            }
        }
    }

    /// Whether somebody is still here who makes room for `instance`.
    fn has_no_room_yet(&self, instance: &Instance) -> bool {
        let machine = self.machine.borrow();
        machine.present().any(|id| instance.spec.placed.room_of.contains(&id))
    }

    fn report(&self, context: &mut Context, id: InstanceId, status: &InstanceStatus) {
        let mut txn = Txn::new(Actor::Node(self.id.to_string()), "observed", "agent");
        txn.observe::<InstanceSpec>(id, status);
        let outcome = context.store.commit_now(txn);
        let (phase, healthy) = (status.phase, status.healthy);
        context.tell(format_args!("{id} is {phase:?}, healthy {healthy}: {}", outcome.is_ok()));
    }

    fn echo(&mut self, context: &mut Context) {
        while let Some((time, _)) = self.echoes.first_key_value() {
            if *time > context.now() {
                return;
            }
            if let Some((_, (id, status))) = self.echoes.pop_first() {
                self.report(context, id, &status);
            }
        }
    }
}

impl Part for SimNode {
    fn step(&mut self, context: &mut Context) -> Option<Timestamp> {
        let clock = context.clock.clone();
        let crashes = if context.chaos { self.crashes } else { 0 };
        self.machine.borrow_mut().advance(&clock, &mut context.random, crashes);
        if self.away.is_some_and(|until| until > context.now() && context.chaos) {
            return self.away;
        }
        self.away = None;
        self.silent.set(None);
        if context.mishap(120) {
            let longest = if context.random.one_in(10) { 90_000 } else { 6_000 };
            self.away = Some(context.soon(100, longest));
            self.silent.set(Some(context.now()));
            context.tell(format_args!("node {} is away", self.id));
            return self.away;
        }
        self.echo(context);
        self.observe(context);
        let next = [self.machine.borrow().next(), self.echoes.keys().next().copied()];
        next.into_iter().flatten().min()
    }

    fn latency(&self) -> (u64, u64) {
        (1, 400)
    }
}
