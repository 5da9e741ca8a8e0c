//! Compares what is assigned with what is known: starts workers, orders them, forgets them.
//!
//! Invariant: at most one worker per instance, and an instance is only stopped because the control plane
//! says so, never because it is silent.

use crate::{
    agent::{Run, Shared},
    control::ControlError,
    journal::Entry,
    report::report,
    retention, sources,
    worker::{Order, Worker},
};
use freehold_model::{Desired, Instance, InstanceId, InstanceSpec, Phase};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{oneshot, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

/// Assignments are asked for so often even if nothing seems to have changed.
const RESYNC: Duration = Duration::from_secs(15);
/// And again after this when the control plane did not answer.
const RETRY: Duration = Duration::from_secs(1);
/// And this long after a worker is done.
const SETTLE: Duration = Duration::from_millis(200);
/// Old logs are looked for so often.
const SWEEP: Duration = Duration::from_secs(3600);
/// At the end, reports have so long to be taken.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the node itself knows of an instance at start.
#[derive(Default)]
pub(crate) struct Known {
    /// From the journal.
    pub(crate) entry: Option<Entry>,
    /// From the runtime.
    pub(crate) adopted: Option<Run>,
}

/// Whether the instances end with the agent.
pub(crate) type StopApps = bool;

/// The one that knows all workers.
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    keepers: BTreeMap<InstanceId, Keeper>,
    tasks: JoinSet<()>,
}

struct Keeper {
    orders: watch::Sender<Order>,
    task: AbortHandle,
}

impl Supervisor {
    /// Puts a worker to everything that is `known`, ordered by the control plane if it answers and by the
    /// journal if it does not.
    pub(crate) async fn start(shared: Arc<Shared>, known: BTreeMap<InstanceId, Known>) -> Supervisor {
        let mut supervisor = Supervisor { shared, keepers: BTreeMap::new(), tasks: JoinSet::new() };
        let assigned = supervisor.shared.control.assigned().await;
        let residents = &supervisor.shared.residents;
        for (id, known) in &known {
            if let Some(entry) = &known.entry {
                residents.known(*id, entry.env, &entry.spec, entry.spec.desired == Desired::Running);
            }
        }
        if let Ok(assigned) = &assigned {
            residents.assigned(assigned, should_run);
        }
        // Before any worker: whoever waits for the room of one that runs must know that it does.
        known.iter().filter(|(_, known)| known.adopted.is_some()).for_each(|(id, _)| residents.runs(*id));
        for (id, known) in known {
            let journaled = known.entry.as_ref().map(|entry| order(&entry.spec));
            let order = match &assigned {
                Ok(assigned) => order_of(assigned, id),
                Err(_) => journaled.unwrap_or(Order::Leave),
            };
            supervisor.hire(id, order, known);
        }
        match assigned {
            Ok(assigned) => supervisor.apply(&assigned),
            Err(error) => tracing::warn!(%error, "going on with what the journal says"),
        }
        supervisor.shared.keep(supervisor.keepers.keys().copied().collect());
        supervisor
    }

    /// Follows the assignments until told to stop.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<StopApps>) {
        let (mut changed, mut held) = (self.shared.control.changed(), self.shared.volumes.changed());
        let _guard = self.shared.network.follow();
        let (mut resync, mut sweep) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                stop_apps = &mut stop => return self.end(stop_apps.unwrap_or(false)).await,
                () = change(&mut changed) => {}
                () = change(&mut held) => {}
                // Looked at again, but not at once: what it told last may not be in the assignments yet.
                Some(done) = self.tasks.join_next() => {
                    if let Err(error) = done {
                        tracing::error!(%error, "a worker ended badly; another takes its place");
                    }
                    resync = resync.min(Instant::now() + SETTLE);
                    continue;
                }
                () = sleep_until(sweep) => {
                    sweep = Instant::now() + SWEEP;
                    self.sweep();
                    continue;
                }
                () = sleep_until(resync) => {}
            }
            resync = Instant::now() + self.sync().await.map_or(RETRY, |()| RESYNC);
        }
    }

    async fn sync(&mut self) -> Result<(), ControlError> {
        let assigned = self.shared.control.assigned().await;
        match &assigned {
            Ok(assigned) => self.apply(assigned),
            Err(error) => tracing::debug!(%error, "assignments stay as they are"),
        }
        assigned.map(drop)
    }

    fn apply(&mut self, assigned: &[Instance]) {
        let ours = |instance: &&Instance| {
            instance.status.phase != Phase::Stopped || self.keepers.contains_key(&instance.id)
        };
        let ours: Vec<Instance> = assigned.iter().filter(ours).cloned().collect();
        self.shared.residents.assigned(&ours, should_run);
        self.keepers.retain(|_, keeper| !keeper.task.is_finished());
        for instance in assigned {
            let order = match order_of(assigned, instance.id) {
                Order::Run(_) if self.shared.volumes.is_held(&instance.spec) => Order::Pause,
                order => order,
            };
            let is_done = matches!(order, Order::Stop(_)) && instance.status.phase == Phase::Stopped;
            match self.keepers.get(&instance.id) {
                Some(keeper) => keeper.order(order),
                None if is_done || order == Order::Pause => {}
                None => {
                    self.note_source(instance);
                    self.hire(instance.id, order, self.left_by_predecessor(instance.id));
                }
            }
        }
        let orphans: Vec<InstanceId> =
            self.shared.live().keys().filter(|id| !self.keepers.contains_key(id)).copied().collect();
        for id in orphans {
            self.hire(id, Order::Stop(None), self.left_by_predecessor(id));
        }
        let strangers = self.keepers.iter().filter(|(id, _)| !assigned.iter().any(|other| other.id == **id));
        strangers.for_each(|(_, keeper)| keeper.order(Order::Stop(None)));
        self.shared.keep(self.keepers.keys().copied().collect());
    }

    /// A worker that ended badly left its run as it was: the next one follows it, and never starts another.
    fn left_by_predecessor(&self, id: InstanceId) -> Known {
        Known { entry: self.shared.journal.find(id), adopted: self.shared.live().get(&id).cloned() }
    }

    fn note_source(&self, instance: &Instance) {
        if let Err(error) = sources::note(&self.shared.log_dir(instance.id), instance) {
            tracing::warn!(instance = %instance.id, %error, "its log will not be found once it is gone");
        }
    }

    fn hire(&mut self, id: InstanceId, order: Order, known: Known) {
        let (orders, received) = watch::channel(order);
        let (say, said) = watch::channel(None);
        let shared = Arc::clone(&self.shared);
        let reports = report(id, Arc::clone(&shared.control), said);
        let worker = Worker::new(id, shared, received, say, known.entry, known.adopted);
        let task = self.tasks.spawn(async move {
            tokio::join!(worker.work(), reports);
        });
        self.keepers.insert(id, Keeper { orders, task });
    }

    async fn end(mut self, stop_apps: StopApps) {
        let order = if stop_apps { Order::Halt } else { Order::Detach };
        self.keepers.values().for_each(|keeper| keeper.order(order.clone()));
        if stop_apps {
            self.wait_for_workers().await;
            self.shared.network.leave().await;
        }
        // What was not told by now is told by the next agent: statuses are made anew.
        let told = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(LAST_WORDS, told).await.is_err() {
            tracing::info!("some last reports were not taken");
        }
    }

    /// Each ends by itself once its instance has: patience and SIGKILL are its business.
    async fn wait_for_workers(&self) {
        for keeper in self.keepers.values() {
            keeper.orders.closed().await;
        }
    }

    fn sweep(&self) {
        let known: Vec<String> = self.keepers.keys().map(ToString::to_string).collect();
        let (logs, now) = (self.shared.config.logs(), self.shared.clock.now());
        tokio::task::spawn_blocking(move || {
            retention::sweep(&logs, |name| known.iter().any(|id| id == name), now);
        });
    }
}

impl Keeper {
    fn order(&self, new: Order) {
        self.orders.send_if_modified(|old| std::mem::replace(old, new.clone()) != new);
    }
}

fn order(spec: &InstanceSpec) -> Order {
    let spec = Box::new(spec.clone());
    match spec.desired {
        Desired::Running => Order::Run(spec),
        Desired::Stopped => Order::Stop(Some(spec)),
    }
}

/// Whether the control plane wants it to run.
fn should_run(instance: &Instance) -> bool {
    instance.deleting.is_none() && instance.spec.desired == Desired::Running
}

/// What the assignments say of `id`; what they do not name is to go.
fn order_of(assigned: &[Instance], id: InstanceId) -> Order {
    match assigned.iter().find(|instance| instance.id == id) {
        Some(instance) if instance.deleting.is_some() => Order::Stop(Some(Box::new(instance.spec.clone()))),
        Some(instance) => order(&instance.spec),
        None => Order::Stop(None),
    }
}

/// Waits for a change; one that nobody can make any more never comes.
async fn change(watched: &mut watch::Receiver<u64>) {
    if watched.changed().await.is_err() {
        std::future::pending().await
    }
}
