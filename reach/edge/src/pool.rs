//! The backends of one endpoint and the connections that each has: who gets the next one.
//!
//! Invariant: a connection is counted from the moment its backend is chosen, under the same lock that
//! guards the set of backends. So once [`Pool::set`] has returned, [`Pool::draining`] misses nobody.

use crate::{
    counters::Counters,
    routing::{Backend, Way},
};
use freehold_model::{InstanceId, traffic::BackendTraffic};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
};
use tokio::sync::{Notify, watch};

/// The shared state of an endpoint's connections.
pub(crate) struct Pool {
    /// What was carried, and what was not.
    pub(crate) counters: Counters,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    drained: Arc<Notify>,
}

#[derive(Default)]
struct State {
    members: Vec<Arc<Member>>,
    /// Those that were members and have connections still.
    leaving: Vec<Arc<Member>>,
    turn: usize,
}

struct Member {
    backend: Backend,
    serves: AtomicBool,
    open: AtomicU32,
    total: AtomicU64,
    failed: AtomicU64,
}

impl Pool {
    /// A pool without backends that notifies `drained` when a draining connection ends.
    pub(crate) fn new(drained: Arc<Notify>) -> Arc<Pool> {
        let (changed, _) = watch::channel(());
        Arc::new(Pool { counters: Counters::default(), state: Mutex::default(), changed, drained })
    }

    /// Replaces the backends: new connections go to these alone, open ones stay.
    pub(crate) fn set(&self, backends: &[Backend]) {
        let mut state = self.lock();
        if state.members.iter().map(|member| &member.backend).eq(backends) {
            return;
        }
        let mut known: Vec<_> = std::mem::take(&mut state.members);
        known.append(&mut state.leaving);
        let mut known: BTreeMap<_, _> = known.into_iter().map(|member| (member.backend, member)).collect();
        for backend in backends {
            let member = known.remove(backend);
            let member = member.unwrap_or_else(|| Arc::new(Member::new(*backend)));
            member.serves.store(true, SeqCst);
            state.members.push(member);
        }
        for member in known.into_values() {
            member.serves.store(false, SeqCst);
            if member.open.load(SeqCst) > 0 {
                state.leaving.push(member);
            }
        }
        self.changed.send_replace(());
    }

    /// Tells when the set of backends changes.
    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Chooses a backend that is not among `tried`, and counts a connection to it.
    pub(crate) fn lease(self: &Arc<Self>, tried: &[InstanceId]) -> Option<Lease> {
        let mut state = self.lock();
        let member = pick(&state.members, tried, state.turn)?;
        state.turn = state.turn.wrapping_add(1);
        member.open.fetch_add(1, SeqCst);
        Some(Lease { pool: Arc::clone(self), backend: member.backend, member })
    }

    /// Counts a connection to this very instance, if it is a backend on this node.
    pub(crate) fn lease_here(self: &Arc<Self>, instance: InstanceId) -> Option<Lease> {
        let state = self.lock();
        let is_it = |member: &&Arc<Member>| {
            member.backend.instance == instance && matches!(member.backend.way, Way::Here)
        };
        let member = Arc::clone(state.members.iter().find(is_it)?);
        member.open.fetch_add(1, SeqCst);
        Some(Lease { pool: Arc::clone(self), backend: member.backend, member })
    }

    /// Open connections of each instance of this node that gets no new ones. Those of other nodes are counted
    /// by the edges there, which know to whom each went, and count each once.
    pub(crate) fn draining(&self) -> BTreeMap<InstanceId, u32> {
        let mut state = self.lock();
        state.leaving.retain(|member| member.open.load(SeqCst) > 0);
        let mut draining = BTreeMap::new();
        for member in state.leaving.iter().filter(|member| matches!(member.backend.way, Way::Here)) {
            let instance = member.backend.instance;
            // One whose target has changed still gets new ones, there.
            if state.members.iter().all(|member| member.backend.instance != instance) {
                *draining.entry(instance).or_default() += member.open.load(SeqCst);
            }
        }
        draining
    }

    /// What each backend has had.
    pub(crate) fn traffic(&self) -> Vec<BackendTraffic> {
        let state = self.lock();
        let members = state.members.iter().map(|member| (true, member));
        let leaving = state.leaving.iter().map(|member| (false, member));
        members.chain(leaving).map(|(serves, member)| member.traffic(serves)).collect()
    }

    /// Nothing panics while it holds the lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    fn new(backend: Backend) -> Member {
        let (serves, open) = (AtomicBool::new(true), AtomicU32::new(0));
        Member { backend, serves, open, total: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }

    fn traffic(&self, serves: bool) -> BackendTraffic {
        BackendTraffic {
            instance: self.backend.instance,
            serves,
            active: self.open.load(Relaxed),
            connections: self.total.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}

/// A counted connection to a backend; ends when dropped.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    member: Arc<Member>,
    /// The chosen one.
    pub(crate) backend: Backend,
}

impl Lease {
    /// The backend answered.
    pub(crate) fn succeeded(&self) {
        self.member.total.fetch_add(1, Relaxed);
    }

    /// It did not.
    pub(crate) fn failed(&self) {
        self.member.failed.fetch_add(1, Relaxed);
    }

    /// Whether new connections still go there.
    pub(crate) fn serves(&self) -> bool {
        self.member.serves.load(SeqCst)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // In this order: whoever withdraws the backend meanwhile sees the count, or is told.
        self.member.open.fetch_sub(1, SeqCst);
        if !self.serves() {
            self.pool.drained.notify_one();
        }
    }
}

/// The untried backend with the fewest connections; among equals, the one next in a circle.
fn pick(members: &[Arc<Member>], tried: &[InstanceId], turn: usize) -> Option<Arc<Member>> {
    let start = turn.checked_rem(members.len())?;
    let circle = members[start..].iter().chain(&members[..start]);
    let untried = circle.filter(|member| !tried.contains(&member.backend.instance));
    untried.min_by_key(|member| member.open.load(SeqCst)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::FarEdge;
    use freehold_model::NodeId;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn backend(n: u8) -> Backend {
        let instance = InstanceId(ulid::Ulid::from_parts(0, n.into()));
        Backend { instance, address: (Ipv4Addr::new(10, 210, 0, n), 80).into(), way: Way::Here }
    }

    fn backends(count: u8) -> Vec<Backend> {
        (1..=count).map(backend).collect()
    }

    #[test]
    fn equals_take_turns_and_the_busy_one_waits() {
        let pool = Pool::new(Arc::default());
        pool.set(&backends(3));
        let first: Vec<_> = (0..3).filter_map(|_| pool.lease(&[])).collect();
        let mut chosen: Vec<_> = first.iter().map(|lease| lease.backend.instance).collect();
        chosen.sort();
        assert_eq!(chosen, backends(3).iter().map(|b| b.instance).collect::<Vec<_>>());
        let idle = first[1].backend.instance;
        drop(first.into_iter().nth(1));
        pool.set(&backends(3));
        let _held: Vec<_> = (0..3).filter_map(|_| pool.lease(&[idle])).collect();
        assert_eq!(pool.lease(&[]).map(|lease| lease.backend.instance), Some(idle));
    }

    #[test]
    fn a_withdrawn_backend_drains_and_is_told_when_done() {
        let drained = Arc::new(Notify::new());
        let pool = Pool::new(Arc::clone(&drained));
        pool.set(&backends(1));
        let lease = pool.lease(&[]).unwrap();
        assert!(pool.draining().is_empty(), "it still serves");
        pool.set(&[]);
        assert_eq!(pool.draining(), [(backend(1).instance, 1)].into());
        assert!(pool.lease(&[]).is_none() && !lease.serves());
        drop(lease);
        assert!(pool.draining().is_empty());
        let told = std::pin::pin!(drained.notified());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(told.poll(&mut context).is_ready());
    }

    #[test]
    fn an_instance_of_another_node_drains_there_and_is_not_taken_here() {
        let pool = Pool::new(Arc::default());
        let way = Way::Edge(FarEdge { node: NodeId(ulid::Ulid::nil()), hop_port: None });
        pool.set(&[Backend { way, ..backend(1) }]);
        assert!(pool.lease_here(backend(1).instance).is_none(), "it would be handed on and on");
        let _lease = pool.lease(&[]).unwrap();
        pool.set(&[]);
        assert_eq!(pool.draining(), [].into());
        // It has moved here.
        pool.set(&backends(2));
        assert_eq!(pool.lease_here(backend(2).instance).map(|it| it.backend), Some(backend(2)));
        assert!(pool.lease_here(backend(3).instance).is_none());
    }

    #[test]
    fn a_backend_that_comes_back_still_has_its_connections() {
        let pool = Pool::new(Arc::default());
        pool.set(&backends(1));
        let _lease = pool.lease(&[]).unwrap();
        pool.set(&[]);
        pool.set(&backends(2));
        assert!(pool.draining().is_empty());
        let next = pool.lease(&[]).unwrap();
        assert_eq!(next.backend, backend(2), "the first one is busier");
    }

    proptest! {
        #[test]
        fn the_choice_is_untried_and_least_loaded(
            loads in prop::collection::vec(0u32..4, 0..8),
            tried in prop::collection::vec(1u8..9, 0..8),
            turn: usize,
        ) {
            let members: Vec<_> = backends(loads.len() as u8).into_iter().map(|b| Arc::new(Member::new(b))).collect();
            members.iter().zip(loads).for_each(|(member, load)| member.open.store(load, SeqCst));
            let tried: Vec<_> = tried.into_iter().map(|n| backend(n).instance).collect();
            let left: Vec<_> = members.iter().filter(|m| !tried.contains(&m.backend.instance)).collect();
            match pick(&members, &tried, turn) {
                None => prop_assert!(left.is_empty()),
                Some(chosen) => {
                    prop_assert!(left.iter().any(|m| m.backend == chosen.backend));
                    let load = |m: &Member| m.open.load(SeqCst);
                    prop_assert!(left.iter().all(|m| load(m) >= load(&chosen)));
                }
            }
        }
    }
}
