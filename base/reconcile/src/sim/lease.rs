//! The lease on heartbeats: writes a node's condition `Ready` false when nothing has been heard of it for a
//! while, and true when it is back. What to make of that is for others.

use super::world::{Context, Part};
use crate::ports::ViewExt;
use freehold_model::{Actor, Condition, NodeId, NodeSpec, NodeStatus, Txn};
use jiff::Timestamp;
use std::{cell::Cell, rc::Rc};

/// So long a node may be silent.
const LEASE: u64 = 15_000;
/// So often it is looked at.
const LOOK: u64 = 3_000;

/// Watches over one node.
pub struct SimLease {
    node: NodeId,
    silent: Rc<Cell<Option<Timestamp>>>,
}

impl SimLease {
    /// Its name, as the actor of its transactions.
    pub const NAME: &str = "lease";

    /// Watches over `node`, of which nothing is heard since `silent`.
    pub fn new(node: NodeId, silent: Rc<Cell<Option<Timestamp>>>) -> SimLease {
        SimLease { node, silent }
    }
}

impl Part for SimLease {
    fn step(&mut self, context: &mut Context) -> Option<Timestamp> {
        let view = context.store.view_now();
        let node = view.find::<NodeSpec>(self.node).expect("nodes can be read")?;
        let heard = self.silent.get().map_or(Timestamp::MAX, |since| since);
        let ready = !context.chaos
            || heard
                .saturating_add(std::time::Duration::from_millis(LEASE))
                .is_ok_and(|end| end > context.now());
        if ready != node.status.away().is_none() {
            let mut status = node.status.clone();
            status.conditions.retain(|it| it.kind != NodeStatus::READY);
            status.conditions.push(Condition {
                kind: NodeStatus::READY.into(),
                state: ready,
                reason: if ready { "Heard" } else { "Silent" }.into(),
                message: "heartbeats".into(),
                since: context.now(),
            });
            let mut txn = Txn::new(Actor::Controller(Self::NAME.into()), "heartbeats", "lease");
            txn.observe::<NodeSpec>(self.node, &status);
            let outcome = context.store.commit_now(txn);
            context.tell(format_args!("node {} is ready: {ready}: {}", self.node, outcome.is_ok()));
        }
        Some(context.clock.after(LOOK))
    }
}
