//! Decides which leases to take. Pure: time is a duration on the caller's own steady clock, which no change
//! of the wall clock moves.
//!
//! Called by the keeper and by the simulation. Invariants: a lease that somebody else renews is never
//! asked for; a lease counts as held only if this very life of the process took it, so what a process of the
//! same name held before its death is taken anew, under a new version.

use freehold_model::{Lease, LeaseChange};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What one contender knows of leases.
#[derive(Debug)]
pub struct Ballot {
    holder: String,
    note: String,
    ttl: Duration,
    contested: BTreeSet<String>,
    /// The version that each lease has if what was asked for last came true.
    asked: BTreeMap<String, u64>,
    held: BTreeMap<String, u64>,
    seen: BTreeMap<String, Seen>,
}

/// A lease as it was seen, and since when it has been so.
#[derive(Debug, Clone)]
struct Seen {
    lease: Lease,
    at: Duration,
}

/// A lease and how long nobody renewed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The lease.
    pub lease: Lease,
    /// For how long it has been as it is, as far as this process saw.
    pub silent: Duration,
    /// Whether it is held and renewed.
    pub live: bool,
}

impl Ballot {
    /// A contender that has seen nothing. `holder` is a name that no other living process has.
    pub fn new(holder: impl Into<String>, note: impl Into<String>, ttl: Duration) -> Ballot {
        let (holder, note) = (holder.into(), note.into());
        assert!(!holder.is_empty(), "a free lease has the empty holder");
        let (contested, asked, held) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Ballot { holder, note, ttl, contested, asked, held, seen: BTreeMap::new() }
    }

    /// Contends for the lease from now on.
    pub fn contest(&mut self, lease: impl Into<String>) {
        self.contested.insert(lease.into());
    }

    /// Takes no part in the election of the lease until [`Ballot::contest`] is called again. What is held is still
    /// held: the caller gives it back.
    pub fn withdraw(&mut self, lease: &str) {
        self.contested.remove(lease);
    }

    /// Takes note of every lease as it was read at `now`; answers what to take.
    pub fn look(&mut self, leases: &[Lease], now: Duration) -> Vec<LeaseChange> {
        self.seen.retain(|name, _| leases.iter().any(|lease| lease.name == *name));
        for lease in leases {
            let seen = self.seen.entry(lease.name.clone());
            let seen = seen.or_insert_with(|| Seen { lease: lease.clone(), at: now });
            if (seen.lease.version, seen.lease.renewals) != (lease.version, lease.renewals) {
                *seen = Seen { lease: lease.clone(), at: now };
            }
        }
        self.held =
            self.contested.iter().filter_map(|name| Some((name.clone(), self.holds(name)?))).collect();
        let wanted: Vec<String> =
            self.contested.iter().filter(|name| self.may_take(name, now)).cloned().collect();
        wanted.into_iter().map(|name| self.take(name)).collect()
    }

    /// Nothing could be read: others may have been unable to renew, so their silence is counted anew.
    pub fn blind(&mut self, now: Duration) {
        self.seen.values_mut().for_each(|seen| seen.at = now);
    }

    /// The version under which the lease is held, as far as the last look showed.
    pub fn leads(&self, lease: &str) -> Option<u64> {
        self.held.get(lease).copied()
    }

    /// Whether there is anything to renew.
    pub fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Who contends.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Every lease, in order of names.
    pub fn watched(&self, now: Duration) -> Vec<Watched> {
        let watched = |Seen { lease, at }: &Seen| {
            let silent = now.saturating_sub(*at);
            Watched { lease: lease.clone(), silent, live: !lease.holder.is_empty() && silent < self.ttl }
        };
        self.seen.values().map(watched).collect()
    }

    fn holds(&self, name: &str) -> Option<u64> {
        let lease = &self.seen.get(name)?.lease;
        let ours = lease.holder == self.holder && self.asked.get(name) == Some(&lease.version);
        ours.then_some(lease.version)
    }

    fn may_take(&self, name: &str, now: Duration) -> bool {
        if self.held.contains_key(name) {
            return false;
        }
        let Some(Seen { lease, at }) = self.seen.get(name) else { return true };
        // Held under our name by a former life: that one is dead.
        lease.holder.is_empty() || lease.holder == self.holder || now.saturating_sub(*at) >= self.ttl
    }

    fn take(&mut self, name: String) -> LeaseChange {
        let seen = self.seen.get(&name).map_or((0, 0), |seen| (seen.lease.version, seen.lease.renewals));
        self.asked.insert(name.clone(), seen.0 + 1);
        LeaseChange::Take { name, holder: self.holder.clone(), note: self.note.clone(), seen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(3);

    fn ballot(holder: &str) -> Ballot {
        let mut ballot = Ballot::new(holder, "", TTL);
        ballot.contest("rollout");
        ballot
    }

    fn lease(holder: &str, version: u64, renewals: u64) -> Lease {
        let (name, since) = ("rollout".to_owned(), jiff::Timestamp::UNIX_EPOCH);
        Lease { name, holder: holder.into(), version, renewals, since, note: String::new() }
    }

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn what_is_renewed_is_left_alone_and_what_is_silent_is_taken_as_it_was_seen() {
        let mut a = ballot("a");
        for n in 0..20 {
            assert_eq!(a.look(&[lease("b", 4, n)], second(n)), []);
        }
        assert_eq!(a.look(&[lease("b", 4, 19)], second(21)), []);
        let [LeaseChange::Take { seen, .. }] = &a.look(&[lease("b", 4, 19)], second(22))[..] else {
            panic!()
        };
        assert_eq!(*seen, (4, 19));
        assert_eq!(a.leads("rollout"), None, "asking is not having");
        assert_eq!(a.look(&[lease("a", 5, 20)], second(22)), []);
        assert_eq!(a.leads("rollout"), Some(5));
    }

    #[test]
    fn a_new_or_free_lease_is_taken_at_once_and_so_is_that_of_a_former_life() {
        for (found, expected) in
            [(vec![], (0, 0)), (vec![lease("", 2, 9)], (2, 9)), (vec![lease("a", 3, 9)], (3, 9))]
        {
            let taken = ballot("a").look(&found, second(0));
            assert!(matches!(&taken[..], [LeaseChange::Take { seen, .. }] if *seen == expected), "{taken:?}");
        }
    }

    #[test]
    fn what_somebody_else_took_is_not_led() {
        let mut a = ballot("a");
        a.look(&[], second(0));
        a.look(&[lease("a", 1, 1)], second(0));
        assert_eq!(a.leads("rollout"), Some(1));
        assert_eq!(a.look(&[lease("b", 2, 5)], second(9)), [], "its silence is counted from now on");
        assert_eq!(a.leads("rollout"), None);
    }

    #[test]
    fn silence_while_nobody_could_renew_does_not_count() {
        let mut a = ballot("a");
        a.look(&[lease("b", 1, 7)], second(0));
        a.blind(second(60));
        assert_eq!(a.look(&[lease("b", 1, 7)], second(61)), []);
        assert_eq!(a.look(&[lease("b", 1, 7)], second(63)).len(), 1);
    }
}
