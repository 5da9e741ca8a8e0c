//! The loop and the event watch, in real time against the store in memory.

use freehold_model::{
    Actor, AnyId, App, AppId, AppSpec, CommitError, Committed, Event, Kind, Org, OrgId, OrgSpec, Prune, Seq,
    Txn,
};
use freehold_reconcile::{
    Clock, Decision, Ids, Keeper, MemoryStore, Reconciler, Store, StoreError, SystemClock, SystemIds,
    TaskHandle, TaskSpec, View, ViewExt, run, watch_from,
};
use jiff::Timestamp;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Wants an app called `answer` in every org, but panics the first time it looks at anything.
struct Answerer {
    looks: AtomicU32,
}

impl Reconciler for Answerer {
    fn name(&self) -> &'static str {
        "answerer"
    }

    fn concerns(&self, event: &Event, _: &dyn View) -> Result<Vec<AnyId>, StoreError> {
        Ok(Some(event.subject).filter(|subject| subject.kind == Kind::Org).into_iter().collect())
    }

    fn subjects(&self, view: &dyn View) -> Result<Vec<AnyId>, StoreError> {
        Ok(view.all::<OrgSpec>(None)?.iter().map(Org::any_id).collect())
    }

    fn decide(
        &self,
        org: AnyId,
        view: &dyn View,
        now: Timestamp,
        ids: &mut dyn Ids,
    ) -> Result<Decision, StoreError> {
        assert!(self.looks.fetch_add(1, Ordering::SeqCst) > 0, "the first look goes wrong");
        if view.named::<AppSpec>(Some(org), "answer")?.is_some() {
            return Ok(Decision::default());
        }
        let mut txn = Txn::new(Actor::Controller("answerer".into()), "an answer is wanted", "test");
        txn.put(&App::new(AppId(ids.ulid()), "answer", Some(org), AppSpec {}, now));
        Ok(Decision { txn: Some(txn), wake: None })
    }
}

/// Refuses the first commits of controllers, first as an engine that fails, then as conflicts.
struct Moody {
    inner: MemoryStore,
    refusals: AtomicU32,
}

#[async_trait::async_trait]
impl Store for Moody {
    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        let controller = matches!(txn.actor, Actor::Controller(_));
        match self.refusals.load(Ordering::SeqCst) {
            left if controller && left > 0 => {
                self.refusals.fetch_sub(1, Ordering::SeqCst);
                let id = AnyId { kind: Kind::App, ulid: SystemIds.ulid() };
                let conflict = CommitError::Missing { id };
                Err(if left == 1 { conflict } else { CommitError::Engine("disk full".into()) })
            }
            _ => self.inner.commit(txn).await,
        }
    }
    async fn view(&self) -> Result<Box<dyn View + Send>, StoreError> {
        self.inner.view().await
    }
    fn head(&self) -> watch::Receiver<Seq> {
        self.inner.head()
    }
    async fn cursor(&self, name: &str) -> Result<Seq, StoreError> {
        self.inner.cursor(name).await
    }
    async fn advance(&self, name: &str, seq: Seq) -> Result<(), StoreError> {
        self.inner.advance(name, seq).await
    }
    async fn leases(&self) -> Result<Vec<freehold_model::Lease>, StoreError> {
        self.inner.leases().await
    }
    async fn change_lease(&self, change: freehold_model::LeaseChange) -> Result<(), StoreError> {
        self.inner.change_lease(change).await
    }
    async fn forget_answers(&self, before: jiff::Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.inner.forget_answers(before, limit).await
    }
}

fn org(name: &str) -> (OrgId, Txn) {
    let id = OrgId(SystemIds.ulid());
    let mut txn = Txn::new(Actor::System, "test", "test");
    txn.put(&Org::new(id, name, None, OrgSpec::default(), SystemClock.now()));
    (id, txn)
}

async fn until_answered(store: &dyn Store, org: OrgId) {
    let answered = async {
        let mut head = store.head();
        while store.view().await.unwrap().named::<AppSpec>(Some(org.into()), "answer").unwrap().is_none() {
            head.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), answered).await.expect("the loop answers");
}

#[tokio::test]
async fn the_loop_outlives_panics_failures_and_conflicts_and_follows_events() {
    let inner = MemoryStore::new(Arc::new(SystemClock));
    let (first, txn) = org("first");
    inner.commit_now(txn).unwrap();
    let store = Arc::new(Moody { inner, refusals: AtomicU32::new(3) });
    let shutdown = CancellationToken::new();
    let reconciler = Arc::new(Answerer { looks: AtomicU32::new(0) });
    let mut keeper = Keeper::new(store.clone(), "test", "");
    let seat = keeper.seat("answerer");
    let stop = shutdown.clone();
    let keeping = tokio::spawn(async move { keeper.run(stop).await });
    let task = TaskHandle::of(TaskSpec::new("answerer", "Answers."));
    let clock = Arc::new(SystemClock);
    let running = tokio::spawn(run(reconciler, store.clone(), clock, seat, task, shutdown.clone()));
    until_answered(&*store, first).await;
    let (second, txn) = org("second");
    store.commit(txn).await.unwrap();
    until_answered(&*store, second).await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("it stops").unwrap();
    tokio::time::timeout(Duration::from_secs(5), keeping).await.expect("it stops").unwrap();
    assert_eq!(store.leases().await.unwrap()[0].holder, "", "it is given back");
}

#[tokio::test]
async fn a_watch_gives_every_event_once_and_in_order() {
    let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    for n in 0..600 {
        store.commit_now(org(&format!("before-{n}")).1).unwrap();
    }
    let mut watch = watch_from(store.clone(), 10);
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 0..200 {
                store.commit(org(&format!("after-{n}")).1).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    for expected in 11..=800 {
        assert_eq!(watch.next().await.unwrap().unwrap().seq, expected);
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_watch_that_missed_events_says_so_once_and_goes_on() {
    let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    for n in 0..600 {
        store.commit_now(org(&format!("before-{n}")).1).unwrap();
    }
    let mut watch = watch_from(store.clone(), 10);
    assert_eq!(watch.next().await.unwrap().unwrap().seq, 11);
    let (subject, mut txn) = org("last");
    txn.prune = Some(Prune { last: 500, subject: subject.into(), policy: "test".into() });
    store.commit_now(txn).unwrap();
    // A page that was read before is given out still.
    let told = loop {
        match watch.next().await {
            Ok(event) => assert!(event.unwrap().seq <= 11 + 256),
            Err(error) => break error,
        }
    };
    assert!(matches!(told, StoreError::Pruned { first: 501 }), "{told}");
    for expected in 501..=602 {
        assert_eq!(watch.next().await.unwrap().unwrap().seq, expected);
    }
}
