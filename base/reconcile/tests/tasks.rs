//! Background tasks that break: they are seen, give up their lease, and are started again.

use freehold_model::{
    Actor, AnyId, App, AppId, AppSpec, Event, Kind, Org, OrgId, OrgSpec, Txn,
    tasks::{BackgroundTask, TaskState},
};
use freehold_reconcile::{
    Clock, Decision, Ids, Keeper, MemoryStore, Reconciler, Store, StoreError, SystemClock, SystemIds,
    TaskBoard, TaskSpec, View, ViewExt, run, supervise,
};
use jiff::Timestamp;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Generous: it is reached only when something hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// Wants an app called after itself in every org. An org called `panic` makes it panic where events are read, one
/// called `hang` makes it hang, each while `is_broken`.
struct Fragile {
    name: &'static str,
    is_broken: Arc<AtomicBool>,
}

impl Fragile {
    fn is_hit_by(&self, view: &dyn View, subject: AnyId, name: &str) -> Result<bool, StoreError> {
        let org = view.get(subject)?;
        Ok(org.is_some_and(|org| org.name == name) && self.is_broken.load(Ordering::SeqCst))
    }
}

impl Reconciler for Fragile {
    fn name(&self) -> &'static str {
        "fragile"
    }

    fn concerns(&self, event: &Event, view: &dyn View) -> Result<Vec<AnyId>, StoreError> {
        if self.is_hit_by(view, event.subject, "panic")? {
            self.is_broken.store(false, Ordering::SeqCst);
            panic!("this event is too much");
        }
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
        while self.is_hit_by(view, org, "hang")? {
            std::thread::sleep(Duration::from_millis(5));
        }
        if view.named::<AppSpec>(Some(org), self.name)?.is_some() {
            return Ok(Decision::default());
        }
        let mut txn = Txn::new(Actor::Controller(self.name.into()), "it is wanted", "test");
        txn.put(&App::new(AppId(ids.ulid()), self.name, Some(org), AppSpec {}, now));
        Ok(Decision { txn: Some(txn), wake: None })
    }
}

/// One control plane: a keeper and a supervised reconciler.
fn control(
    name: &'static str,
    store: &Arc<MemoryStore>,
    is_broken: bool,
    stop: &CancellationToken,
) -> (TaskBoard, Arc<AtomicBool>) {
    let is_broken = Arc::new(AtomicBool::new(is_broken));
    let mut keeper = Keeper::new(store.clone(), name, "");
    let seat = keeper.seat("fragile");
    let (board, shutdown) = (TaskBoard::default(), stop.clone());
    tokio::spawn(async move { keeper.run(shutdown).await });
    let spec = TaskSpec { patience: Duration::from_millis(50), ..TaskSpec::new("fragile", "Breaks.") };
    let spec = spec.within(Duration::from_millis(300)).under(seat.clone());
    let reconciler = Arc::new(Fragile { name, is_broken: is_broken.clone() });
    let (store, shutdown, shown) = (store.clone(), stop.clone(), board.clone());
    tokio::spawn(async move {
        supervise(shown, spec, shutdown.clone(), |task| {
            let clock = Arc::new(SystemClock);
            run(reconciler.clone(), store.clone(), clock, seat.clone(), task, shutdown.clone())
        })
        .await;
    });
    (board, is_broken)
}

fn add_org(store: &MemoryStore, name: &str) -> OrgId {
    let id = OrgId(SystemIds.ulid());
    let mut txn = Txn::new(Actor::System, "test", "test");
    txn.put(&Org::new(id, name, None, OrgSpec::default(), SystemClock.now()));
    store.commit_now(txn).unwrap();
    id
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, held).await.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn until_answered(store: &MemoryStore, org: OrgId, by: &str) {
    let answered = async || {
        let view = store.view().await.unwrap();
        view.named::<AppSpec>(Some(org.into()), by).unwrap().is_some()
    };
    until(by, answered).await;
}

async fn leader(store: &MemoryStore) -> String {
    store.leases().await.unwrap().iter().map(|lease| lease.holder.clone()).collect()
}

fn is_follower(board: &TaskBoard) -> bool {
    board.list().iter().any(|task| task.state == TaskState::Follower)
}

fn only(board: &TaskBoard) -> BackgroundTask {
    board.list().pop().expect("one task")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_panics_is_started_again_and_says_why() {
    let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let stop = CancellationToken::new();
    let (board, _) = control("one", &store, true, &stop);
    let first = add_org(&store, "first");
    until_answered(&store, first, "one").await;
    let org = add_org(&store, "panic");
    until_answered(&store, org, "one").await;
    let task = only(&board);
    assert_eq!((task.restarts, task.trouble.as_deref()), (1, Some("it panicked: this event is too much")));
    assert!(task.runs > task.failures && task.last.is_some() && task.lag == Some(0), "{task:?}");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_task_that_hangs_gives_its_lease_to_another_control_plane() {
    let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let stop = CancellationToken::new();
    let (board, is_broken) = control("one", &store, true, &stop);
    let first = add_org(&store, "first");
    until_answered(&store, first, "one").await;
    let (other, _) = control("two", &store, false, &stop);
    until("the other follows", async || is_follower(&other)).await;
    let org = add_org(&store, "hang");
    until_answered(&store, org, "two").await;
    assert_eq!(leader(&store).await, "two");
    let task = only(&board);
    assert_eq!((task.state, task.restarts), (TaskState::Stuck, 1));
    assert!(task.trouble.is_some_and(|it| it.contains(&AnyId::from(org).to_string())));
    // Once it ends after all, it stands for election again.
    is_broken.store(false, Ordering::SeqCst);
    until("it is well again", async || is_follower(&board)).await;
    stop.cancel();
}
