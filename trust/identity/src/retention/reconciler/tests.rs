//! Rules against logs of known ages: what goes, when, and how much at a time.

use super::*;
use crate::{Asker, Principal, retention::set_retention};
use freehold_model::{LogRetention, Millis, Org, OrgId, OrgSpec};
use freehold_reconcile::{Clock, MemoryStore, SystemIds, ViewExt as _};
use std::sync::{Arc, Mutex};

struct Hand(Mutex<Timestamp>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A house whose clock is set by hand; its first event is the org's.
struct House {
    store: MemoryStore,
    clock: Arc<Hand>,
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

impl House {
    fn new() -> House {
        let clock = Arc::new(Hand(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap())));
        let house = House { store: MemoryStore::new(clock.clone()), clock };
        house.commit(|txn| {
            txn.put(&Org::new(OrgId(ulid::Ulid(1)), "home", None, OrgSpec::default(), Timestamp::UNIX_EPOCH));
        });
        house
    }

    fn commit(&self, fill: impl FnOnce(&mut Txn)) {
        let mut txn = Txn::new(Actor::System, "test", "req_test");
        fill(&mut txn);
        self.store.commit_now(txn).unwrap();
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn pass(&self, by: SignedDuration) {
        let now = self.now();
        *self.clock.0.lock().unwrap() = now + by;
    }

    /// So many things happen now.
    fn happen(&self, count: usize) {
        self.commit(|txn| {
            for n in 0..count {
                txn.event(OrgId(ulid::Ulid(1)), "org.greeted", n.into());
            }
        });
    }

    fn set(&self, days: u64, keep_events: u64) {
        let asker = Asker { principal: Principal::root(), request: "req_test".into(), now: self.now() };
        let rule = Some(Retention { keep: Millis(days * 86_400_000), keep_events });
        let (txn, _) = set_retention(&self.store.view_now(), &asker, rule).unwrap();
        self.store.commit_now(txn).unwrap();
    }

    fn decide(&self) -> Decision {
        let (view, subject) = (self.store.view_now(), AnyId::from(OrgId(ulid::Ulid(1))));
        RetentionReconciler.decide(subject, &view, self.now(), &mut SystemIds).unwrap()
    }

    /// Decides and commits until there is nothing to do now; how often something was done.
    fn work(&self) -> usize {
        let mut rounds = 0;
        loop {
            let Decision { txn, wake } = self.decide();
            let now = self.now();
            assert!(wake.is_none_or(|wake| wake <= now + EVERY.max(LogRetention::DELAY)));
            let Some(txn) = txn else { return rounds };
            self.store.commit_now(txn).unwrap();
            rounds += 1;
            if wake != Some(now) {
                return rounds;
            }
        }
    }

    /// The first and the last event that are there.
    fn log(&self) -> (Seq, Seq) {
        let view = self.store.view_now();
        (view.beginning().unwrap() + 1, view.version().unwrap())
    }
}

#[test]
fn nothing_goes_before_it_is_said_and_waited_for() {
    let house = House::new();
    house.happen(100);
    house.pass(DAY * 5000);
    assert_eq!((house.work(), house.decide().wake), (0, None));
    house.set(30, 0);
    assert_eq!(house.work(), 0);
    house.pass(LogRetention::DELAY - SignedDuration::from_secs(1));
    assert_eq!((house.work(), house.decide().wake), (0, Some(house.now() + SignedDuration::from_secs(1))));
    house.pass(SignedDuration::from_secs(1));
    assert_eq!(house.work(), 1);
    // The change itself, in two events, is kept for as long as everything else; and the pruning says so.
    assert_eq!(house.log(), (102, 104));
    let view = house.store.view_now();
    let left: Vec<String> = view.events(101, 9, None).unwrap().into_iter().map(|event| event.what).collect();
    assert_eq!(left, ["org.changed", "audit.retention_set", Prune::DONE]);
    let policy = view.anchor().unwrap().unwrap().policy;
    assert_eq!(policy, "kept are 30d, and the newest 0 events; set by user:admin");
}

#[test]
fn much_goes_in_batches_and_little_once_an_hour() {
    let house = House::new();
    house.set(30, 700);
    house.happen(2400);
    house.pass(DAY * 31);
    house.happen(100);
    // 2503 events by now; the newest 700 stay whatever their age, and each of the four batches adds one.
    assert_eq!(house.work(), 4);
    assert_eq!(house.log(), (1807, 2507));
    assert_eq!(house.work(), 0, "what it said itself waits for the next hour");
    house.happen(50);
    assert_eq!(house.work(), 0);
    house.pass(EVERY);
    assert_eq!((house.work(), house.log()), (1, (1858, 2558)));
}

#[test]
fn a_clock_that_went_back_keeps_what_follows_and_one_too_far_ahead_keeps_the_newest() {
    let house = House::new();
    house.set(30, 10);
    house.happen(10);
    house.pass(DAY * 40);
    house.happen(10);
    house.pass(DAY * -40);
    house.happen(10);
    house.pass(DAY * 60);
    // The first thirteen are older than 30 days; the ten after them are not, and keep the ten behind.
    house.work();
    assert_eq!(house.log().0, 14);
    house.pass(DAY * 36500);
    house.work();
    let (first, last) = house.log();
    assert!(last - first >= 10, "{first} to {last}");
}

#[test]
fn too_short_a_time_is_refused_and_off_counts_at_once() {
    let house = House::new();
    let asker = Asker { principal: Principal::root(), request: "req_test".into(), now: house.now() };
    let rule = Some(Retention { keep: Millis(86_400_000), keep_events: 0 });
    let error = set_retention(&house.store.view_now(), &asker, rule).unwrap_err();
    assert!(
        error.to_string().contains("keep: 1d is too short") && error.to_string().contains("30d"),
        "{error}"
    );
    house.set(30, 0);
    house.happen(10);
    house.pass(DAY * 60);
    let asker = Asker { now: house.now(), ..asker };
    let (txn, report) = set_retention(&house.store.view_now(), &asker, None).unwrap();
    house.store.commit_now(txn).unwrap();
    assert_eq!((house.work(), report.rule), (0, None));
    let (again, _) = set_retention(&house.store.view_now(), &asker, None).unwrap();
    assert!(again.is_empty(), "what is so already was said again");
}

/// The log as it is, but for one event.
struct Edited(freehold_reconcile::memory::MemoryView, Seq);

impl View for Edited {
    fn get(&self, id: AnyId) -> Result<Option<freehold_model::AnyResource>, StoreError> {
        self.0.get(id)
    }
    fn list(&self, query: &freehold_model::Query) -> Result<freehold_model::Page, StoreError> {
        self.0.list(query)
    }
    fn claim(&self, scope: &str, key: &str) -> Result<Option<AnyId>, StoreError> {
        self.0.claim(scope, key)
    }
    fn claims(&self, scope: &str) -> Result<Vec<freehold_model::Claim>, StoreError> {
        self.0.claims(scope)
    }
    fn events(&self, after: Seq, limit: usize, subject: Option<AnyId>) -> Result<Vec<Event>, StoreError> {
        let mut events = self.0.events(after, limit, subject)?;
        events.iter_mut().filter(|event| event.seq == self.1).for_each(|event| event.data = "edited".into());
        Ok(events)
    }
    fn last_events(&self, limit: usize, subject: Option<AnyId>) -> Result<Vec<Event>, StoreError> {
        self.0.last_events(limit, subject)
    }
    fn version(&self) -> Result<Seq, StoreError> {
        self.0.version()
    }
    fn anchor(&self) -> Result<Option<Anchor>, StoreError> {
        self.0.anchor()
    }
    fn tombstone(&self, id: AnyId) -> Result<Option<freehold_model::Tombstone>, StoreError> {
        self.0.tombstone(id)
    }
}

#[test]
fn a_log_that_was_tampered_with_is_evidence_and_stays() {
    let house = House::new();
    house.set(30, 0);
    house.happen(20);
    house.pass(DAY * 60);
    let (subject, now) = (AnyId::from(OrgId(ulid::Ulid(1))), house.now());
    let decide = |view: &dyn View| RetentionReconciler.decide(subject, view, now, &mut SystemIds);
    let error = decide(&Edited(house.store.view_now(), 9)).unwrap_err();
    assert!(
        error.to_string().contains("event 9") && error.to_string().contains("nothing of it is pruned"),
        "{error}"
    );
    assert!(decide(&Edited(house.store.view_now(), 99)).unwrap().txn.is_some());
}
