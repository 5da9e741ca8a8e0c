//! Who else hears nodes: the other control planes with a door for them, and which of those are gone.
//!
//! Used by [`super::pulses`]. Invariant: a control plane is gone once nobody saw its lease renewed for the
//! length of [`LEASE`](super::pulses::LEASE) after it had run out, as this process counts by its own steady
//! clock; time in which this process stood still, or could read nothing, does not count.

use super::pulses::LEASE;
use freehold_model::{Fence, controls::Presence};
use freehold_reconcile::lease::{Seat, Watched};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tokio::{sync::watch, time::Instant};

/// What a control plane knows of those that hear nodes.
pub(crate) struct Hearing {
    /// Its own name.
    pub(crate) own: String,
    /// Every lease, as the keeper of this process last saw it.
    pub(crate) leases: watch::Receiver<Vec<Watched>>,
    /// Its own lease; `None` where nobody else can be.
    pub(crate) seat: Option<Seat>,
}

/// Since when control planes have been dead.
#[derive(Default)]
pub(super) struct Dead(Mutex<BTreeMap<String, Instant>>);

impl Hearing {
    /// Whether this control plane may judge, and under which lease.
    pub(super) fn may_judge(&self) -> Option<Option<Fence>> {
        match &self.seat {
            None => Some(None),
            Some(seat) => seat.held().map(Some),
        }
    }

    /// Where every control plane that lives answers nodes.
    pub(super) fn doors(&self) -> Vec<String> {
        let leases = self.leases.borrow();
        leases.iter().filter(|it| it.live).filter_map(|it| door(it).map(|(_, url)| url)).collect()
    }

    fn lives(&self, name: &str) -> bool {
        let leases = self.leases.borrow();
        leases.iter().any(|it| it.live && door(it).is_some_and(|(whose, _)| whose == name))
    }
}

/// Whose door a lease tells of, and where it is.
fn door(watched: &Watched) -> Option<(String, String)> {
    let name = Presence::of(&watched.lease.name)?;
    let said: Presence = serde_json::from_str(&watched.lease.note).ok()?;
    Some((name.to_owned(), said.node_url?))
}

impl Dead {
    /// Of `names`, those that are gone.
    pub(super) fn gone(&self, hearing: &Hearing, names: impl Iterator<Item = String>) -> Vec<String> {
        let mut dead = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let names: Vec<String> = names.filter(|name| *name != hearing.own && !hearing.lives(name)).collect();
        dead.retain(|name, _| names.contains(name));
        let is_gone = |name: &String| *dead.entry(name.clone()).or_insert(now) + LEASE < now;
        names.into_iter().filter(is_gone).collect()
    }

    /// Counts anew.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
