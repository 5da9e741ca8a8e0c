//! Somebody who takes everything off the log that happened so far, again and again: whoever has not read it yet
//! must find out by themselves.

use freehold_model::{Actor, Kind, Prune, Query, Txn};
use freehold_reconcile::{
    View as _, ViewExt as _,
    sim::{Context, Part},
};
use jiff::Timestamp;

#[derive(Default)]
pub(crate) struct Pruner {
    next: Option<Timestamp>,
}

impl Part for Pruner {
    fn step(&mut self, context: &mut Context) -> Option<Timestamp> {
        if !context.chaos {
            return None;
        }
        if self.next.is_none_or(|next| next <= context.now()) {
            let view = context.store.view_now();
            let org = view.list(&Query::of(Kind::Org)).expect("memory does not fail").items[0].id;
            let end = view.version().expect("memory does not fail");
            let last = end.min(view.beginning().expect("memory does not fail") + Prune::MOST);
            let mut txn = Txn::new(Actor::System, "prune", "pruner");
            txn.prune = Some(Prune { last, subject: org, policy: "nothing is kept".into() });
            let outcome = context.store.commit_now(txn);
            context.tell(format_args!("the log is pruned up to {last}: {}", outcome.is_ok()));
            self.next = Some(context.soon(10, 20_000));
        }
        self.next
    }
}
