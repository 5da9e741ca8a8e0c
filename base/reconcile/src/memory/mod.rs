//! A [`Store`] in memory, for simulations and tests: the same semantics as a durable one, without the
//! durability. The conformance suite of `base/store` runs on it too.
//!
//! A view is a snapshot: it shares everything with the store until the next commit.

mod apply;
mod journal;
mod leases;
mod log;
mod view;

pub use journal::Done;
pub use view::MemoryView;

use crate::ports::{Clock, Store, StoreError, View};
use freehold_model::{AnyId, AnyResource, CommitError, Committed, Lease, LeaseChange, Seq, Txn};
use jiff::Timestamp;
use leases::Leases;
use log::Log;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Resources, claims and events in memory.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    head: watch::Sender<Seq>,
}

#[derive(Default)]
struct Inner {
    state: Arc<State>,
    log: Arc<Log>,
    answers: BTreeMap<String, (Timestamp, serde_json::Value)>,
    cursors: HashMap<String, Seq>,
    leases: Leases,
    journal: Option<Vec<Done>>,
}

/// What a commit replaces as a whole.
#[derive(Default, Clone)]
struct State {
    resources: BTreeMap<AnyId, Arc<AnyResource>>,
    claims: BTreeMap<(String, String), AnyId>,
}

impl MemoryStore {
    /// An empty store that stamps its commits with the time of `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> MemoryStore {
        MemoryStore { clock, inner: Mutex::default(), head: watch::channel(0).0 }
    }

    /// Commits at once.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_now(&self, txn: Txn) -> Result<Committed, CommitError> {
        let (mut inner, now) = (self.lock(), self.clock.now());
        if inner.journal.is_none() {
            return self.decide(&mut inner, txn, now);
        }
        let outcome = self.decide(&mut inner, txn.clone(), now);
        inner.note(Done::Commit { at: now, txn: Box::new(txn), outcome: outcome.clone() });
        outcome
    }

    fn decide(&self, inner: &mut Inner, txn: Txn, now: Timestamp) -> Result<Committed, CommitError> {
        let version = inner.log.end().seq;
        inner.leases.check(txn.fence.as_ref())?;
        if let Some(answer) = txn.idempotency.as_ref().and_then(|wanted| inner.answers.get(&wanted.key)) {
            return Ok(Committed { version, replayed: Some(answer.1.clone()) });
        }
        let (state, events) = apply::apply(&inner.state, &inner.log, &txn, now)?;
        inner.state = Arc::new(state);
        if let Some(given) = txn.idempotency {
            inner.answers.insert(given.key, (self.clock.now(), given.answer));
        }
        let version = version + events.len() as Seq;
        if !events.is_empty() {
            let log = Arc::make_mut(&mut inner.log);
            log.events.extend(events);
            if let Some(prune) = txn.prune.filter(|prune| prune.last > log.begin()) {
                log.cut(&prune, now);
            }
            self.head.send_replace(version);
        }
        Ok(Committed { version, replayed: None })
    }

    /// Changes leases at once.
    pub fn change_lease_now(&self, change: LeaseChange) {
        let (mut inner, now) = (self.lock(), self.clock.now());
        inner.note(Done::Lease { at: now, change: change.clone() });
        inner.leases.change(change, now);
    }

    /// Keeps what is done from now on.
    pub fn record(&self) {
        self.lock().journal.get_or_insert_default();
    }

    /// What was done since it is recorded.
    pub fn recorded(&self) -> Vec<Done> {
        self.lock().journal.clone().unwrap_or_default()
    }

    /// Every lease at once.
    pub fn leases_now(&self) -> Vec<Lease> {
        self.lock().leases.all()
    }

    /// A snapshot at once.
    pub fn view_now(&self) -> MemoryView {
        let inner = self.lock();
        MemoryView { state: Arc::clone(&inner.state), log: Arc::clone(&inner.log) }
    }

    /// The sequence number of the last event.
    pub fn version(&self) -> Seq {
        *self.head.borrow()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A commit replaces the state only when all of it is decided, so a panic leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn note(&mut self, done: Done) {
        if let Some(journal) = &mut self.journal {
            journal.push(done);
        }
    }
}

#[async_trait::async_trait]
impl Store for MemoryStore {
    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        self.commit_now(txn)
    }

    async fn view(&self) -> Result<Box<dyn View + Send>, StoreError> {
        Ok(Box::new(self.view_now()))
    }

    fn head(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }

    async fn cursor(&self, name: &str) -> Result<Seq, StoreError> {
        Ok(self.lock().cursors.get(name).copied().unwrap_or(0))
    }

    async fn advance(&self, name: &str, seq: Seq) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let cursor = inner.cursors.entry(name.to_owned()).or_default();
        *cursor = seq.max(*cursor);
        Ok(())
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        Ok(self.leases_now())
    }

    async fn change_lease(&self, change: LeaseChange) -> Result<(), StoreError> {
        self.change_lease_now(change);
        Ok(())
    }

    async fn forget_answers(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut inner = self.lock();
        let old = inner.answers.iter().filter(|(_, (time, _))| *time < before).map(|(key, _)| key.clone());
        let old: Vec<String> = old.take(limit).collect();
        old.iter().for_each(|key| drop(inner.answers.remove(key)));
        Ok(old.len())
    }
}
