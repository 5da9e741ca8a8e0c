//! Somebody who cordons, drains and uncordons nodes, mostly at the wrong moment. In peace, every node takes
//! instances again.

use freehold_deploy::{Asker, change_node};
use freehold_model::{Actor, NodeChange, NodeId, NodeSpec};
use freehold_reconcile::{
    ViewExt,
    sim::{Context, Part},
};
use jiff::Timestamp;

pub(crate) struct Operator {
    nodes: [NodeId; 3],
    next: Option<Timestamp>,
    /// A drain that is called off soon.
    regretted: Option<NodeId>,
}

impl Operator {
    pub(crate) fn new(nodes: [NodeId; 3]) -> Operator {
        Operator { nodes, next: None, regretted: None }
    }

    fn change(&self, context: &mut Context, node: NodeId, change: &NodeChange) {
        let asker =
            Asker { actor: Actor::User("admin".into()), request: "operator".into(), now: context.now() };
        let view = context.store.view_now();
        let (txn, _) = change_node(&view, node, change, &asker).expect("nodes can be changed");
        let outcome = context.store.commit_now(txn);
        context.tell(format_args!("operator: {} {node}: {}", change.verb(), outcome.is_ok()));
    }

    fn peace(&self, context: &mut Context) {
        for node in self.nodes {
            let found = context.store.view_now().find::<NodeSpec>(node).expect("nodes can be read");
            if found.is_some_and(|node| node.spec.cordoned) {
                self.change(context, node, &NodeChange::Uncordon {});
            }
        }
    }
}

impl Part for Operator {
    fn step(&mut self, context: &mut Context) -> Option<Timestamp> {
        if !context.chaos {
            self.peace(context);
            return None;
        }
        if self.next.is_some_and(|next| next > context.now()) {
            return self.next;
        }
        if let Some(node) = self.regretted.take() {
            self.change(context, node, &NodeChange::Uncordon {});
        } else if self.next.is_some() {
            let node = *context.random.pick(&self.nodes);
            let change = match context.random.between(0, 6) {
                0 => NodeChange::Cordon {},
                1 | 2 => NodeChange::Drain { force: false },
                _ => NodeChange::Uncordon {},
            };
            self.change(context, node, &change);
            if matches!(change, NodeChange::Drain { .. }) && context.random.one_in(2) {
                self.regretted = Some(node);
                self.next = Some(context.soon(300, 3_000));
                return self.next;
            }
        }
        self.next = Some(context.soon(2_000, 60_000));
        self.next
    }
}
