//! The ports through which a reconciler meets the world: resources, time and fresh ids.

use freehold_model::{
    Anchor, AnyId, AnyResource, Claim, CommitError, Committed, Event, Kind, Lease, LeaseChange, Page, Query,
    Resource, Seq, Spec, Tombstone, Txn, resource::ResourceError,
};
use jiff::Timestamp;

/// A read that failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed.
    #[error("the store failed: {0}")]
    Engine(String),
    /// The events that were asked for went; the log begins later.
    #[error("the log was pruned: it begins with event {first}")]
    Pruned {
        /// The first event that is there.
        first: Seq,
    },
    /// What is stored does not fit its kind.
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

/// A consistent snapshot: every read of one view sees the same commits.
pub trait View {
    /// The resource, if it exists.
    ///
    /// # Errors
    /// When the engine fails; likewise for every method here.
    fn get(&self, id: AnyId) -> Result<Option<AnyResource>, StoreError>;

    /// One page of what fits `query`, in order of ids.
    fn list(&self, query: &Query) -> Result<Page, StoreError>;

    /// Who holds a claim.
    fn claim(&self, scope: &str, key: &str) -> Result<Option<AnyId>, StoreError>;

    /// Every claim of a scope, in order of keys.
    fn claims(&self, scope: &str) -> Result<Vec<Claim>, StoreError>;

    /// At most `limit` events after `after`, oldest first; about one subject if it is given.
    ///
    /// Who follows the log misses nothing unawares: where events after `after` were pruned, that is the error
    /// [`StoreError::Pruned`]. Of one subject, those that are left are answered.
    fn events(&self, after: Seq, limit: usize, subject: Option<AnyId>) -> Result<Vec<Event>, StoreError>;

    /// At most `limit` newest events about `subject` (or about anything), newest first.
    fn last_events(&self, limit: usize, subject: Option<AnyId>) -> Result<Vec<Event>, StoreError>;

    /// The global version: the sequence number of the last event.
    fn version(&self) -> Result<Seq, StoreError>;

    /// Behind which the log begins, if it was ever pruned.
    fn anchor(&self) -> Result<Option<Anchor>, StoreError>;

    /// What is kept of a resource whose first event was pruned.
    fn tombstone(&self, id: AnyId) -> Result<Option<Tombstone>, StoreError>;
}

/// Typed reads over any view.
pub trait ViewExt: View {
    /// The place behind which the log begins; 0 if nothing was ever pruned.
    ///
    /// # Errors
    /// When the engine fails; likewise below.
    fn beginning(&self) -> Result<Seq, StoreError> {
        Ok(self.anchor()?.map_or(0, |anchor| anchor.seq))
    }

    /// `read`, the answer to [`View::events`] after `after`, unless events in between were pruned. The log has no
    /// gaps: only where one shows does it cost a look.
    fn unbroken(&self, after: Seq, read: Vec<Event>) -> Result<Vec<Event>, StoreError> {
        if read.first().map_or(after >= self.version()?, |first| first.seq == after + 1) {
            return Ok(read);
        }
        match self.beginning()? {
            begin if begin > after => Err(StoreError::Pruned { first: begin + 1 }),
            _ => Ok(read),
        }
    }

    /// The resource of that typed id.
    ///
    /// # Errors
    /// As the untyped reads, and when what is stored does not fit its kind; likewise below.
    fn find<S: Spec>(&self, id: S::Id) -> Result<Option<Resource<S>>, StoreError> {
        Ok(self.get(id.into())?.map(AnyResource::typed).transpose()?)
    }

    /// Everything of a kind, under `parent` if it is given, through all pages.
    fn all<S: Spec>(&self, parent: Option<AnyId>) -> Result<Vec<Resource<S>>, StoreError> {
        let mut query = Query { parent, ..Query::of(S::KIND) };
        let mut found = vec![];
        loop {
            let page = self.list(&query)?;
            for item in page.items {
                found.push(item.typed()?);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// The one of a kind with this parent and name.
    fn named<S: Spec>(&self, parent: Option<AnyId>, name: &str) -> Result<Option<Resource<S>>, StoreError> {
        let query = Query { parent, limit: Query::MAX_LIMIT, ..Query::of(S::KIND).named(name) };
        let page = self.list(&query)?;
        let first = page.items.into_iter().find(|item| item.parent == parent);
        Ok(first.map(AnyResource::typed).transpose()?)
    }
}

impl<V: View + ?Sized> ViewExt for V {}

/// Resources, transactions and the event log.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// Applies all of `txn` durably, or nothing.
    ///
    /// # Errors
    /// A typed conflict, or the engine's failure.
    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError>;

    /// A snapshot of everything committed so far. Cheap; hold it briefly.
    ///
    /// # Errors
    /// When the engine fails; likewise below.
    async fn view(&self) -> Result<Box<dyn View + Send>, StoreError>;

    /// The sequence number of the last committed event, and a signal whenever it grows.
    fn head(&self) -> tokio::sync::watch::Receiver<Seq>;

    /// How far the consumer called `name` has come; 0 before it ever said.
    async fn cursor(&self, name: &str) -> Result<Seq, StoreError>;

    /// Records that consumer `name` has handled everything up to `seq`. Never goes back.
    async fn advance(&self, name: &str, seq: Seq) -> Result<(), StoreError>;

    /// Every lease there is, in order of names, as of now.
    async fn leases(&self) -> Result<Vec<Lease>, StoreError>;

    /// Changes leases. Whether a lease could be taken is seen by reading it again. Once this has answered,
    /// no transaction is committed under a fence that the change has made stale.
    async fn change_lease(&self, change: LeaseChange) -> Result<(), StoreError>;

    /// Forgets the answers of requests that were made before `before`: repeated after that, they count as new.
    /// At most `limit` of them, so that it holds nobody up; answers how many it were. No commit: no event.
    async fn forget_answers(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Makes fresh ids. The simulation's are seeded.
pub trait Ids {
    /// A ULID that was never given out.
    fn ulid(&mut self) -> ulid::Ulid;

    /// A fresh id of a kind.
    fn fresh(&mut self, kind: Kind) -> AnyId {
        AnyId { kind, ulid: self.ulid() }
    }
}

/// Ids from the machine's clock and randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl Ids for SystemIds {
    fn ulid(&mut self) -> ulid::Ulid {
        ulid::Ulid::new()
    }
}
