//! The board that says for which nodes something changed: one reader of the log for all of them.
//!
//! Invariant: after a commit that concerns a node, its numbers differ from what they were before it. They
//! are sequence numbers of the log, so those of two control planes mean the same.

use freehold_agent::remote::protocol::Changes;
use freehold_model::{AnyId, Event, InstanceId, InstanceSpec, Kind, NodeId, Seq, VolumeSpec};
use freehold_reconcile::{Store, StoreError, View, ViewExt as _};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;

const PAGE: usize = 256;
const RETRY: Duration = Duration::from_secs(1);

/// What each node may have missed.
pub(super) struct Board {
    shared: Arc<Shared>,
    _following: AbortOnDropHandle<()>,
}

struct Shared {
    nodes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    /// Where the following began: what is older was read by whoever asks.
    began: Seq,
    all: BTreeMap<NodeId, watch::Sender<Changes>>,
}

/// Whose things are where, to know whom the end of one concerns.
#[derive(Default)]
struct Places {
    instances: BTreeMap<InstanceId, (NodeId, Option<AnyId>)>,
    /// Volumes' nodes, and endpoints' and rollouts' envs.
    nodes: BTreeMap<AnyId, NodeId>,
    envs: BTreeMap<AnyId, Option<AnyId>>,
}

impl Board {
    /// Follows the log until it is dropped.
    pub(super) fn follow(store: Arc<dyn Store>) -> Arc<Board> {
        let began = *store.head().borrow();
        let shared = Arc::new(Shared { nodes: Mutex::new(Notes { began, all: BTreeMap::new() }) });
        let following = AbortOnDropHandle::new(tokio::spawn(follow(store, Arc::clone(&shared), began)));
        Arc::new(Board { shared, _following: following })
    }

    /// The numbers of one node.
    pub(super) fn of(&self, node: NodeId) -> watch::Receiver<Changes> {
        self.shared.note(node, |_| {}).subscribe()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody, and whoever comes later, of everything up to `seq`.
    fn tell_all(&self, seq: Seq) {
        let mut notes = self.lock();
        notes.began = seq;
        for noted in notes.all.values() {
            noted.send_replace(Changes { assignments: seq, routing: seq });
        }
    }

    fn note(&self, node: NodeId, change: impl FnOnce(&mut Changes)) -> watch::Sender<Changes> {
        let mut notes = self.lock();
        let began = notes.began;
        let first = || watch::channel(Changes { assignments: began, routing: began }).0;
        let noted = notes.all.entry(node).or_insert_with(first);
        noted.send_if_modified(|now| {
            let before = *now;
            change(now);
            *now != before
        });
        noted.clone()
    }
}

async fn follow(store: Arc<dyn Store>, shared: Arc<Shared>, began: Seq) {
    let mut head = store.head();
    let (mut places, mut seen): (Option<Places>, Seq) = (None, began);
    loop {
        let read = async {
            let view = store.view().await?;
            let places = match &mut places {
                Some(places) => places,
                none => none.insert(Places::read(&*view)?),
            };
            let events = view.events(seen, PAGE, None)?;
            for event in &events {
                places.tell(&*view, event, &shared)?;
            }
            Ok::<_, StoreError>(events.last().map(|last| last.seq))
        };
        head.borrow_and_update();
        match read.await {
            Ok(Some(last)) => {
                seen = last;
                continue;
            }
            Ok(None) => {}
            Err(StoreError::Pruned { first }) => {
                // What was missed may concern anybody.
                (places, seen) = (None, first - 1);
                shared.tell_all(seen);
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read events for nodes");
                sleep(RETRY).await;
                continue;
            }
        }
        if head.changed().await.is_err() {
            return;
        }
    }
}

impl Places {
    fn read(view: &dyn View) -> Result<Places, StoreError> {
        let mut places = Places::default();
        for it in view.all::<InstanceSpec>(None)? {
            places.instances.insert(it.id, (it.spec.node, it.parent));
        }
        for it in view.all::<VolumeSpec>(None)? {
            places.nodes.insert(it.any_id(), it.spec.node);
        }
        Ok(places)
    }

    /// Tells those whom an event concerns.
    fn tell(&mut self, view: &dyn View, event: &Event, shared: &Shared) -> Result<(), StoreError> {
        let observed = event.what.ends_with(".observed");
        let subject = event.subject;
        match subject.kind {
            Kind::Instance => {
                let Ok(id) = InstanceId::try_from(subject) else { return Ok(()) };
                let found = match view.find::<InstanceSpec>(id)? {
                    Some(it) => {
                        self.instances.insert(id, (it.spec.node, it.parent));
                        Some((it.spec.node, it.parent))
                    }
                    None => self.instances.remove(&id),
                };
                let Some((node, env)) = found else { return Ok(()) };
                shared.note(node, |now| {
                    now.routing = event.seq;
                    if !observed {
                        now.assignments = event.seq;
                    }
                });
                self.tell_env(env, event.seq, shared);
            }
            Kind::Volume if !observed => {
                let known = self.nodes.get(&subject).copied();
                let node =
                    view.get(subject)?.and_then(|it| it.typed::<VolumeSpec>().ok()).map(|it| it.spec.node);
                if let Some(node) = node.or(known) {
                    self.nodes.insert(subject, node);
                    shared.note(node, |now| now.assignments = event.seq);
                }
            }
            Kind::Endpoint | Kind::Rollout if !observed => {
                let env = match view.get(subject)? {
                    Some(found) => {
                        self.envs.insert(subject, found.parent);
                        found.parent
                    }
                    None => self.envs.remove(&subject).flatten(),
                };
                self.tell_env(env, event.seq, shared);
            }
            _ => {}
        }
        Ok(())
    }

    /// What the edges of an env's nodes route by has changed.
    fn tell_env(&self, env: Option<AnyId>, seq: Seq, shared: &Shared) {
        let of = self.instances.values().filter(|(_, its)| *its == env).map(|(node, _)| *node);
        for node in of.collect::<BTreeSet<_>>() {
            shared.note(node, |now| now.routing = seq);
        }
    }
}
