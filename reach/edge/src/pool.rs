//! The backends of one endpoint and the connections that each has: who gets the next one.
//!
//! Invariant: a connection is counted from the moment its backend is chosen, under the same lock that
//! guards the set of backends. So once [`Pool::set`] has returned, [`Pool::draining`] misses nobody.

use crate::routing::Backend;
use freehold_model::InstanceId;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, watch};

/// The shared state of an endpoint's connections.
pub(crate) struct Pool {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    drained: Arc<Notify>,
}

#[derive(Default)]
struct State {
    backends: Vec<Backend>,
    open: BTreeMap<InstanceId, u32>,
    turn: usize,
}

impl Pool {
    /// A pool without backends that notifies `drained` when a draining connection ends.
    pub(crate) fn new(drained: Arc<Notify>) -> Arc<Pool> {
        let (changed, _) = watch::channel(());
        Arc::new(Pool { state: Mutex::default(), changed, drained })
    }

    /// Replaces the backends: new connections go to these alone, open ones stay.
    pub(crate) fn set(&self, backends: &[Backend]) {
        let mut state = self.lock();
        if state.backends != backends {
            state.backends = backends.to_vec();
            self.changed.send_replace(());
        }
    }

    /// Tells when the set of backends changes.
    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Chooses a backend that is not among `tried`, and counts a connection to it.
    pub(crate) fn lease(self: &Arc<Self>, tried: &[InstanceId]) -> Option<Lease> {
        let mut state = self.lock();
        let backend = pick(&state.backends, &state.open, tried, state.turn)?;
        state.turn = state.turn.wrapping_add(1);
        *state.open.entry(backend.instance).or_default() += 1;
        Some(Lease { pool: Arc::clone(self), backend })
    }

    /// Open connections of each instance that gets no new ones.
    pub(crate) fn draining(&self) -> BTreeMap<InstanceId, u32> {
        let state = self.lock();
        let open = state.open.iter().map(|(instance, count)| (*instance, *count));
        open.filter(|(instance, _)| !state.serves(*instance)).collect()
    }

    fn end(&self, instance: InstanceId) {
        let mut state = self.lock();
        let left = state.open.get(&instance).map_or(0, |count| count - 1);
        match left {
            0 => state.open.remove(&instance),
            _ => state.open.insert(instance, left),
        };
        if !state.serves(instance) {
            self.drained.notify_one();
        }
    }

    /// Nothing panics while it holds the lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn serves(&self, instance: InstanceId) -> bool {
        self.backends.iter().any(|backend| backend.instance == instance)
    }
}

/// A counted connection to a backend; ends when dropped.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    /// The chosen one.
    pub(crate) backend: Backend,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.end(self.backend.instance);
    }
}

/// The untried backend with the fewest connections; among equals, the `turn`-th in a circle.
fn pick(
    backends: &[Backend],
    open: &BTreeMap<InstanceId, u32>,
    tried: &[InstanceId],
    turn: usize,
) -> Option<Backend> {
    let load = |backend: &Backend| open.get(&backend.instance).copied().unwrap_or(0);
    let untried = || backends.iter().filter(|backend| !tried.contains(&backend.instance));
    let least = untried().map(load).min()?;
    let equals: Vec<_> = untried().filter(|backend| load(backend) == least).collect();
    Some(*equals[turn % equals.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn backend(n: u8) -> Backend {
        let instance = InstanceId(ulid::Ulid::from_parts(0, n.into()));
        Backend { instance, address: (Ipv4Addr::new(10, 210, 0, n), 80).into() }
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
        assert!(pool.lease(&[]).is_none());
        drop(lease);
        assert!(pool.draining().is_empty());
        let told = std::pin::pin!(drained.notified());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(told.poll(&mut context).is_ready());
    }

    proptest! {
        #[test]
        fn the_choice_is_untried_and_least_loaded(
            loads in prop::collection::vec(0u32..4, 0..8),
            tried in prop::collection::vec(1u8..9, 0..8),
            turn: usize,
        ) {
            let backends = backends(loads.len() as u8);
            let tried: Vec<_> = tried.into_iter().map(|n| backend(n).instance).collect();
            let open: BTreeMap<_, _> = backends.iter().map(|b| b.instance).zip(loads).collect();
            let left: Vec<_> = backends.iter().filter(|b| !tried.contains(&b.instance)).collect();
            match pick(&backends, &open, &tried, turn) {
                None => prop_assert!(left.is_empty()),
                Some(chosen) => {
                    prop_assert!(left.contains(&&chosen));
                    prop_assert!(left.iter().all(|b| open[&b.instance] >= open[&chosen.instance]));
                }
            }
        }
    }
}
