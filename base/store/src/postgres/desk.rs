//! What a group of transactions touches: as it was loaded, and as it has become so far. Pure.
//!
//! Three layers: what was loaded, what the transactions before this one changed, and the draft of the one
//! under way, which is kept or thrown away as a whole. [`super::load`] fills the first, [`super::work`]
//! writes the third, [`super::save`] stores the second.

use super::prune::Beginning;
use crate::{
    job::{Prepared, Step},
    row::{Row, parent_text},
};
use freehold_model::{Anchor, AnyId, Event, Seq};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A resource as it is stored; the row's version is the stored one.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub row: Row,
    pub generation: u64,
}

/// Kind, parent and name as they are stored: at most one resource has them.
pub(super) type Name = (&'static str, String, String);
/// Scope and key of a claim.
pub(super) type Key = (String, String);

/// Answers to questions that were asked: `None` is a known absence.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub rows: BTreeMap<AnyId, Option<Arc<Stored>>>,
    pub names: BTreeMap<Name, Option<AnyId>>,
    pub claims: BTreeMap<Key, Option<AnyId>>,
    /// Idempotency keys and their answers, as JSON, with the time of the commit.
    pub answers: BTreeMap<String, (String, String)>,
    /// Owners that were deleted: whatever they held is given back.
    pub gone: BTreeSet<AnyId>,
    /// Versions of leases; locked against change until the group is committed.
    pub leases: BTreeMap<String, u64>,
    /// Behind which the log begins; asked for by those who prune it.
    pub anchor: Option<Anchor>,
}

/// The layers, and the events so far.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub loaded: Layer,
    pub changed: Layer,
    draft: Layer,
    pub events: Vec<Event>,
    /// Of the log, for those who prune it.
    pub beginning: Beginning,
}

/// What a group asks for before it can be decided.
#[derive(Debug, Default)]
pub(super) struct Need {
    pub ids: BTreeSet<AnyId>,
    pub names: BTreeSet<Name>,
    pub claims: BTreeSet<Key>,
    pub answers: BTreeSet<String>,
    pub leases: BTreeSet<String>,
    /// Up to which events the log is pruned.
    pub cuts: BTreeSet<Seq>,
}

impl Need {
    /// Adds what one transaction touches.
    pub(super) fn add(&mut self, txn: &Prepared) {
        self.ids.extend(txn.expect.iter().map(|(id, _)| *id));
        self.ids.extend(txn.claims.iter().map(|claim| claim.owner));
        for step in &txn.writes {
            self.ids.insert(match step {
                Step::Put(row) => row.id,
                Step::Spec { id, .. }
                | Step::Status { id, .. }
                | Step::Deleting { id }
                | Step::Delete { id } => *id,
            });
            if let Step::Put(row) = step {
                self.names.insert(name_of(row));
            }
        }
        self.claims.extend(txn.claims.iter().map(|claim| (claim.scope.clone(), claim.key.clone())));
        self.claims.extend(txn.releases.iter().cloned());
        self.cuts.extend(txn.prune.iter().map(|prune| prune.last));
        self.leases.extend(txn.fence.iter().map(|fence| fence.lease.clone()));
        self.answers.extend(txn.idempotency.iter().map(|asked| asked.key.clone()));
    }
}

/// Under what a row is unique besides its id.
pub(super) fn name_of(row: &Row) -> Name {
    (row.kind.name(), parent_text(row.parent), row.name.clone())
}

impl Desk {
    /// Everything that [`Need`] asked for, and nothing changed yet.
    pub(super) fn new(loaded: Layer, beginning: Beginning) -> Desk {
        Desk { loaded, beginning, ..Desk::default() }
    }

    fn layers(&self) -> [&Layer; 3] {
        [&self.draft, &self.changed, &self.loaded]
    }

    /// The resource, as the transaction under way sees it.
    pub(super) fn row(&self, id: AnyId) -> Option<&Arc<Stored>> {
        self.layers().into_iter().find_map(|layer| layer.rows.get(&id))?.as_ref()
    }

    /// Who has the name.
    pub(super) fn named(&self, name: &Name) -> Option<AnyId> {
        self.layers().into_iter().find_map(|layer| layer.names.get(name)).copied()?
    }

    /// Who holds the claim.
    pub(super) fn holder(&self, key: &Key) -> Option<AnyId> {
        self.layers().into_iter().find_map(|layer| layer.claims.get(key)).copied()?
    }

    /// The version of a lease; 0 if there is none.
    pub(super) fn lease(&self, name: &str) -> u64 {
        self.loaded.leases.get(name).copied().unwrap_or(0)
    }

    /// Behind which the log begins.
    pub(super) fn anchor(&self) -> Option<&Anchor> {
        self.layers().into_iter().find_map(|layer| layer.anchor.as_ref())
    }

    /// Lets the log begin behind another, in the draft.
    pub(super) fn prune(&mut self, anchor: Anchor) {
        self.draft.anchor = Some(anchor);
    }

    /// The stored answer of a key.
    pub(super) fn answer(&self, key: &str) -> Option<&str> {
        let (_, answer) = self.layers().into_iter().find_map(|layer| layer.answers.get(key))?;
        Some(answer)
    }

    /// Writes a resource in the draft, and moves its name.
    pub(super) fn put(&mut self, new: Stored) {
        let id = new.row.id;
        let old = self.row(id).map(|old| name_of(&old.row));
        let name = name_of(&new.row);
        if let Some(old) = old.filter(|old| *old != name) {
            self.draft.names.insert(old, None);
        }
        self.draft.names.insert(name, Some(id));
        self.draft.rows.insert(id, Some(Arc::new(new)));
    }

    /// Removes a resource in the draft, with its name and its claims.
    pub(super) fn remove(&mut self, id: AnyId) {
        if let Some(old) = self.row(id).map(|old| name_of(&old.row)) {
            self.draft.names.insert(old, None);
        }
        self.draft.rows.insert(id, None);
        let held = |layer: &Layer| {
            let held = layer.claims.iter().filter(|(_, owner)| **owner == Some(id));
            held.map(|(key, _)| key.clone()).collect::<Vec<_>>()
        };
        for key in self.layers().into_iter().flat_map(held).collect::<BTreeSet<_>>() {
            // A lower layer may be out of date: somebody else may hold it by now.
            if self.holder(&key) == Some(id) {
                self.draft.claims.insert(key, None);
            }
        }
        self.draft.gone.insert(id);
    }

    /// Sets or frees a claim in the draft.
    pub(super) fn claim(&mut self, key: Key, owner: Option<AnyId>) {
        self.draft.claims.insert(key, owner);
    }

    /// Records an answer in the draft.
    pub(super) fn record(&mut self, key: String, time: String, answer: String) {
        self.draft.answers.insert(key, (time, answer));
    }

    /// Gives rows of the draft their final version.
    pub(super) fn settle(&mut self, version: u64) {
        for row in self.draft.rows.values_mut().flatten() {
            Arc::make_mut(row).row.version = version;
        }
    }

    /// The draft becomes what later transactions see.
    pub(super) fn keep(&mut self) {
        let draft = std::mem::take(&mut self.draft);
        self.changed.rows.extend(draft.rows);
        self.changed.names.extend(draft.names);
        self.changed.claims.extend(draft.claims);
        self.changed.answers.extend(draft.answers);
        self.changed.gone.extend(draft.gone);
        self.changed.anchor = draft.anchor.or(self.changed.anchor.take());
    }

    /// Whether there is nothing to store.
    pub(super) fn is_unchanged(&self) -> bool {
        let Layer { rows, names: _, claims, answers, gone, leases: _, anchor } = &self.changed;
        rows.is_empty()
            && claims.is_empty()
            && answers.is_empty()
            && gone.is_empty()
            && anchor.is_none()
            && self.events.is_empty()
    }

    /// The draft never was.
    pub(super) fn discard(&mut self) {
        self.draft = Layer::default();
    }
}
