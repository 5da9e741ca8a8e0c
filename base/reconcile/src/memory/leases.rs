//! The leases of the store in memory.

use freehold_model::{CommitError, Fence, Lease, LeaseChange};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// By name.
#[derive(Default)]
pub(super) struct Leases(BTreeMap<String, Lease>);

impl Leases {
    /// In order of names.
    pub(super) fn all(&self) -> Vec<Lease> {
        self.0.values().cloned().collect()
    }

    /// Refuses a fence whose lease has moved on.
    pub(super) fn check(&self, fence: Option<&Fence>) -> Result<(), CommitError> {
        let Some(Fence { lease, version }) = fence else { return Ok(()) };
        let found = self.0.get(lease).map_or(0, |found| found.version);
        if found == *version {
            return Ok(());
        }
        Err(CommitError::LeaseLost { lease: lease.clone(), held: *version, found })
    }

    pub(super) fn change(&mut self, change: LeaseChange, now: Timestamp) {
        match change {
            LeaseChange::Take { name, holder, note, seen } => {
                let (version, renewals) =
                    self.0.get(&name).map_or((0, 0), |found| (found.version, found.renewals));
                if (version, renewals) == seen {
                    let lease = Lease {
                        name,
                        holder,
                        version: version + 1,
                        renewals: renewals + 1,
                        since: now,
                        note,
                    };
                    self.0.insert(lease.name.clone(), lease);
                }
            }
            LeaseChange::Renew { holder } => self.of(&holder).for_each(|lease| lease.renewals += 1),
            LeaseChange::Release { holder } => self.of(&holder).for_each(|lease| free(lease, now)),
            LeaseChange::GiveUp { name, holder } => {
                self.of(&holder).filter(|lease| lease.name == name).for_each(|lease| free(lease, now));
            }
        }
    }

    fn of(&mut self, holder: &str) -> impl Iterator<Item = &mut Lease> {
        self.0.values_mut().filter(move |lease| lease.holder == holder)
    }
}

fn free(lease: &mut Lease, now: Timestamp) {
    lease.holder.clear();
    lease.version += 1;
    lease.since = now;
}
