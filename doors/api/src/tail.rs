//! The end of the event log, for all who watch it: each event is read once and written out once, however
//! many follow. The route `/v1/watch` follows it.
//!
//! Invariant: a follower gets every event after its place, in order and without gaps, or is told that some went
//! ([`StoreError::Pruned`]). Whoever is behind what is kept here reads the log itself until it has caught up.

use axum::body::Bytes;
use freehold_model::{Event, Seq};
use freehold_reconcile::{Store, StoreError};
use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;

/// So many events are kept.
const KEPT: usize = 1024;
/// So many are read from the log at a time.
const PAGE: usize = 256;
/// When the log cannot be read, it is tried again after this.
const RETRY: Duration = Duration::from_millis(200);

/// The end of one store's log.
pub struct Tail {
    store: Arc<dyn Store>,
    /// There once somebody follows.
    reader: OnceLock<Reader>,
}

/// What reads the log for everybody.
struct Reader {
    kept: Arc<RwLock<Kept>>,
    /// Up to where it has read; closed along with the store.
    end: watch::Receiver<Seq>,
    _task: AbortOnDropHandle<()>,
}

/// Every event after `begin`, which moves on.
struct Kept {
    begin: Seq,
    events: VecDeque<Arc<Logged>>,
}

/// An event and what is sent of it.
pub(crate) struct Logged {
    pub(crate) event: Event,
    /// As a server-sent event: its id is the sequence number, its data the event as JSON.
    pub(crate) frame: Bytes,
}

/// A place in the log that moves on.
pub(crate) struct Follower {
    store: Arc<dyn Store>,
    kept: Arc<RwLock<Kept>>,
    end: watch::Receiver<Seq>,
    cursor: Seq,
    page: VecDeque<Arc<Logged>>,
}

impl Tail {
    /// Reads nothing until somebody follows.
    pub fn of(store: Arc<dyn Store>) -> Tail {
        Tail { store, reader: OnceLock::new() }
    }

    /// Follows the log: the first event is the one after `from`.
    pub(crate) fn follow(&self, from: Seq) -> Follower {
        let reader = self.reader.get_or_init(|| Reader::start(self.store.clone()));
        Follower {
            store: self.store.clone(),
            kept: reader.kept.clone(),
            end: reader.end.clone(),
            cursor: from,
            page: VecDeque::new(),
        }
    }
}

impl Reader {
    fn start(store: Arc<dyn Store>) -> Reader {
        let begin = *store.head().borrow();
        let kept = Arc::new(RwLock::new(Kept { begin, events: VecDeque::new() }));
        let (said, end) = watch::channel(begin);
        let task = AbortOnDropHandle::new(tokio::spawn(read(store, kept.clone(), begin, said)));
        Reader { kept, end, _task: task }
    }
}

/// Reads what is committed until the store closes.
async fn read(store: Arc<dyn Store>, kept: Arc<RwLock<Kept>>, mut end: Seq, said: watch::Sender<Seq>) {
    let mut head = store.head();
    loop {
        // Marked as seen before the log is read: a commit in between is signalled again.
        let wanted = *head.borrow_and_update();
        while end < wanted {
            match page(&*store, end).await {
                Ok(events) => {
                    end = events.last().map_or(wanted, |last| last.event.seq);
                    kept.write().unwrap_or_else(PoisonError::into_inner).keep(events);
                    said.send_replace(end);
                }
                Err(StoreError::Pruned { first }) => {
                    // Whoever needs what went reads the log itself, and is told.
                    end = first - 1;
                    *kept.write().unwrap_or_else(PoisonError::into_inner) =
                        Kept { begin: end, events: VecDeque::new() };
                    said.send_replace(end);
                }
                Err(error) => {
                    tracing::warn!(%error, "the log cannot be read for those who watch it");
                    sleep(RETRY).await;
                }
            }
        }
        if head.changed().await.is_err() {
            return;
        }
    }
}

async fn page(store: &dyn Store, after: Seq) -> Result<Vec<Arc<Logged>>, StoreError> {
    let events = store.view().await?.events(after, PAGE, None)?;
    Ok(events.into_iter().map(|event| Arc::new(Logged::from(event))).collect())
}

impl Kept {
    fn keep(&mut self, events: Vec<Arc<Logged>>) {
        self.events.extend(events);
        let surplus = self.events.len().saturating_sub(KEPT);
        if let Some(last) = self.events.drain(..surplus).next_back() {
            self.begin = last.event.seq;
        }
    }

    /// At most a page of what comes after `place`; `None` when not all of that is kept.
    fn after(&self, place: Seq) -> Option<VecDeque<Arc<Logged>>> {
        let first = self.events.partition_point(|logged| logged.event.seq <= place);
        (place >= self.begin).then(|| self.events.range(first..).take(PAGE).cloned().collect())
    }
}

impl From<Event> for Logged {
    fn from(event: Event) -> Logged {
        let data = serde_json::to_string(&event).expect("an event has texts for keys");
        let frame = Bytes::from(format!("id: {}\ndata: {data}\n\n", event.seq));
        Logged { event, frame }
    }
}

impl Follower {
    /// The next event, waited for as long as it takes; `None` once the store is closed. Cancel-safe.
    ///
    /// # Errors
    /// When reading fails, or what comes next was pruned. Nothing is skipped: the next call tries again.
    pub(crate) async fn next(&mut self) -> Result<Option<Arc<Logged>>, StoreError> {
        loop {
            if let Some(next) = self.page.pop_front() {
                return Ok(Some(next));
            }
            if *self.end.borrow_and_update() > self.cursor {
                let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner).after(self.cursor);
                self.page = match kept {
                    Some(kept) => kept,
                    None => page(&*self.store, self.cursor).await?.into(),
                };
                // What is kept goes as far as the end that was seen, or further.
                self.cursor = self.page.back().map_or(self.cursor, |last| last.event.seq);
            } else if self.end.changed().await.is_err() {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::{Actor, OrgSpec, Prune, Resource, Txn};
    use freehold_reconcile::{Clock as _, MemoryStore, SystemClock, SystemIds, ports::Ids as _};

    /// Commits orgs until the log has `seq` events.
    fn grow(store: &MemoryStore, seq: Seq) {
        while *store.head().borrow() < seq {
            let name = format!("org-{}", *store.head().borrow());
            let id = SystemIds.ulid().into();
            let org = Resource::new(id, &name, None, OrgSpec::default(), SystemClock.now());
            let mut txn = Txn::new(Actor::System, "test", "req_test");
            txn.put(&org);
            store.commit_now(txn).unwrap();
        }
    }

    async fn next(follower: &mut Follower, count: u64) -> Vec<Seq> {
        let mut seen = vec![];
        for _ in 0..count {
            let next = tokio::time::timeout(Duration::from_secs(10), follower.next()).await;
            seen.push(next.expect("in time").unwrap().expect("an open store").event.seq);
        }
        seen
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_is_far_behind_misses_nothing() {
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        let tail = Tail::of(store.clone());
        grow(&store, 10);
        let (mut slow, mut quick) = (tail.follow(0), tail.follow(10));
        assert_eq!(next(&mut slow, 3).await, [1, 2, 3]);
        let much = 2 * KEPT as u64;
        grow(&store, much);
        assert_eq!(next(&mut quick, much - 10).await, (11..=much).collect::<Vec<_>>());
        assert_eq!(next(&mut slow, much - 3).await, (4..=much).collect::<Vec<_>>());
        grow(&store, much + 1);
        assert_eq!(next(&mut quick, 1).await, [much + 1]);
        assert_eq!(next(&mut slow, 1).await, [much + 1]);
    }

    /// Takes the beginning off the log, up to `last`, and says how far it goes then.
    fn prune(store: &MemoryStore, last: Seq) -> Seq {
        let mut txn = Txn::new(Actor::System, "test", "req_test");
        let subject = "org_00000000000000000000000000".parse().unwrap();
        txn.prune = Some(Prune { last, subject, policy: "test".into() });
        store.commit_now(txn).unwrap().version
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_is_behind_the_cut_is_told_and_nobody_else_notices() {
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        let tail = Tail::of(store.clone());
        grow(&store, 10);
        let (mut slow, mut quick) = (tail.follow(0), tail.follow(10));
        assert_eq!(next(&mut slow, 3).await, [1, 2, 3]);
        let much = 2 * KEPT as u64;
        grow(&store, much);
        assert_eq!(next(&mut quick, much - 10).await, (11..=much).collect::<Vec<_>>());
        for last in [900, 1800] {
            prune(&store, last);
        }
        assert_eq!(next(&mut quick, 2).await, [much + 1, much + 2]);
        // What it holds in hand it still gives out: nothing is missed by that.
        let told = loop {
            match tokio::time::timeout(Duration::from_secs(10), slow.next()).await.expect("in time") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(told, StoreError::Pruned { first: 1801 }), "{told}");
        let mut late = tail.follow(1800);
        assert_eq!(next(&mut late, much - 1798).await, (1801..=much + 2).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_place_that_is_yet_to_come_is_waited_for() {
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        let tail = Tail::of(store.clone());
        let mut early = tail.follow(5);
        grow(&store, 7);
        assert_eq!(next(&mut early, 2).await, [6, 7]);
    }

    #[test]
    fn only_the_end_is_kept_and_whoever_is_behind_it_is_told_so() {
        let logged = |seq: Seq| {
            let event = Event {
                seq,
                time: SystemClock.now(),
                actor: Actor::System,
                request: "req_test".into(),
                subject: "org_00000000000000000000000000".parse().unwrap(),
                what: "org.created".into(),
                data: serde_json::Value::Null,
                hash: Event::GENESIS.into(),
            };
            Arc::new(Logged { event, frame: Bytes::new() })
        };
        let mut kept = Kept { begin: 3, events: VecDeque::new() };
        kept.keep((4..=3 + KEPT as u64 + 2).map(logged).collect());
        assert!(kept.after(4).is_none() && kept.begin == 5);
        assert_eq!(kept.after(5).unwrap()[0].event.seq, 6);
        assert_eq!(kept.after(5).unwrap().len(), PAGE);
        assert!(kept.after(5000).unwrap().is_empty());
    }
}
