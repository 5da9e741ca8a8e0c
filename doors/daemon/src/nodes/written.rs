//! What is written of far nodes: kept in memory, and up to date by the event log, so that a look at a thousand
//! nodes every second reads none of them.
//!
//! Used by [`super::pulses`]. Invariant: after [`Known::refresh`] it is what the store has.

use super::judge::Written;
use freehold_model::{Kind, Node, NodeId, NodeSpec, NodeStatus, Seq};
use freehold_reconcile::{Store, StoreError, View, ViewExt as _};
use jiff::Timestamp;
use std::{collections::BTreeMap, sync::Arc};

const PAGE: usize = 256;

/// One node's.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) written: Written,
    /// The start of the agent that has registered.
    pub(super) started: Option<Timestamp>,
    /// Its disk has too little room.
    pub(super) low: bool,
}

/// Every far node's.
#[derive(Default)]
pub(super) struct Book {
    seen: Option<Seq>,
    pub(super) nodes: BTreeMap<NodeId, Known>,
}

impl Known {
    fn of(node: &Node) -> Option<Known> {
        let low = node.status.conditions.iter().any(|it| it.kind == NodeStatus::DISK && !it.state);
        let known = Known { written: written(&node.status), started: node.status.started, low };
        node.status.remote.then_some(known)
    }
}

/// What a status says of who hears the node.
pub(super) fn written(status: &NodeStatus) -> Written {
    let lost =
        |it: &freehold_model::Condition| it.kind == NodeStatus::READY && it.reason == super::pulses::STOPPED;
    Written { by: status.heard_by.clone(), lost: status.conditions.iter().any(lost) }
}

impl Book {
    /// Reads everything.
    fn read(&mut self, view: &dyn View) -> Result<(), StoreError> {
        let all = view.all::<NodeSpec>(None)?;
        self.nodes = all.iter().filter_map(|node| Some((node.id, Known::of(node)?))).collect();
        self.seen = Some(view.version()?);
        Ok(())
    }

    /// Reads what changed since the last time, everything at first.
    pub(super) async fn refresh(&mut self, store: &Arc<dyn Store>) -> Result<(), StoreError> {
        let Some(mut seen) = self.seen else { return self.read(&*store.view().await?) };
        while *store.head().borrow() > seen {
            let view = store.view().await?;
            let events = match view.events(seen, PAGE, None) {
                Err(StoreError::Pruned { .. }) => return self.read(&*view),
                read => read?,
            };
            let Some(last) = events.last() else { return Ok(()) };
            for event in events.iter().filter(|event| event.subject.kind == Kind::Node) {
                let Ok(id) = NodeId::try_from(event.subject) else { continue };
                let _ = match view.find::<NodeSpec>(id)?.as_ref().and_then(Known::of) {
                    Some(known) => self.nodes.insert(id, known),
                    None => self.nodes.remove(&id),
                };
            }
            seen = last.seq;
            self.seen = Some(seen);
        }
        Ok(())
    }
}
