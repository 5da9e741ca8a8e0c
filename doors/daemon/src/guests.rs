//! The connections that are open and whose they are, so that a newcomer always gets in: when there is no room, the
//! connection that has been open longest of whoever has most makes way.
//!
//! Called by [`crate::serve`]. Invariants: strangers only ever displace strangers, and the owner of the house is
//! displaced by nobody.

use freehold_api::{ClientAddress, ConnectionPlace};
use freehold_identity::RateOf;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;

/// Every open connection of one door.
#[derive(Debug, Clone)]
pub(crate) struct Guests(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    strangers: usize,
    connections: usize,
    open: Mutex<Open>,
}

/// In the order in which they came.
#[derive(Debug, Default)]
struct Open {
    next: u64,
    guests: BTreeMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    whose: Whose,
    leave: CancellationToken,
}

/// Whose connections count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    Stranger(RateOf),
    Known(RateOf),
    Owner,
}

/// One connection's place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    guests: Guests,
    number: u64,
    from: RateOf,
    /// Told when it has to make way for another.
    pub(crate) leave: CancellationToken,
}

impl Guests {
    /// Limits the strangers, and the connections in all.
    pub(crate) fn new(strangers: usize, connections: usize) -> Guests {
        Guests(Arc::new(Shared { strangers, connections, open: Mutex::default() }))
    }

    /// Lets a connection in of which nobody has shown yet who they are.
    pub(crate) fn admit(&self, address: ClientAddress) -> Place {
        let leave = CancellationToken::new();
        let from = RateOf::address(address.0);
        let whose = Whose::Stranger(from);
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        open.guests.insert(number, Guest { whose, leave: leave.clone() });
        open.make_room(self.0.strangers, |whose| matches!(whose, Whose::Stranger(_)));
        open.make_room(self.0.connections, |whose| whose != Whose::Owner);
        drop(open);
        Place { guests: self.clone(), number, from, leave }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Closes the oldest one of the caller with most, while there are more than `limit` of those that `count`.
    fn make_room(&mut self, limit: usize, count: impl Fn(Whose) -> bool) {
        let counted = || self.guests.values().map(|guest| guest.whose).filter(|whose| count(*whose));
        // As a rule there is room, and nothing to count.
        if self.guests.len() <= limit || counted().count() <= limit {
            return;
        }
        let mut shares = HashMap::<Whose, usize>::new();
        counted().for_each(|whose| *shares.entry(whose).or_default() += 1);
        let Some(most) = shares.values().max().copied() else { return };
        let oldest = self.guests.iter().find(|(_, guest)| shares.get(&guest.whose) == Some(&most));
        if let Some(number) = oldest.map(|(number, _)| *number)
            && let Some(guest) = self.guests.remove(&number)
        {
            guest.leave.cancel();
        }
    }
}

impl Place {
    fn is(&self, whose: Whose) {
        if let Some(guest) = self.guests.lock().guests.get_mut(&self.number) {
            guest.whose = whose;
        }
    }
}

impl ConnectionPlace for Place {
    fn is_known(&self, whose: Option<RateOf>) {
        self.is(whose.map_or(Whose::Owner, Whose::Known));
    }

    fn is_a_strangers(&self) {
        self.is(Whose::Stranger(self.from));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guests.lock().guests.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8) -> ClientAddress {
        ClientAddress(Some([192, 0, 2, last].into()))
    }

    #[test]
    fn whoever_has_most_makes_way_and_the_oldest_of_it_first() {
        let guests = Guests::new(3, 100);
        let many: Vec<Place> = (0..2).map(|_| guests.admit(from(1))).collect();
        let one = guests.admit(from(2));
        let newcomer = guests.admit(from(3));
        assert!(many[0].leave.is_cancelled() && !many[1].leave.is_cancelled());
        assert!(!one.leave.is_cancelled() && !newcomer.leave.is_cancelled());
        drop(many);
        let _room = guests.admit(from(2));
        assert!(!one.leave.is_cancelled(), "what was given back is room");
    }

    #[test]
    fn who_is_known_makes_way_for_no_stranger_and_the_owner_for_nobody() {
        let guests = Guests::new(1, 3);
        let (owner, known) = (guests.admit(from(1)), guests.admit(from(1)));
        assert!(owner.leave.is_cancelled(), "nobody knew yet");
        let owner = guests.admit(from(2));
        owner.is_known(None);
        let known_by = RateOf::address(None);
        known.is_known(Some(known_by));
        let again = guests.admit(from(1));
        again.is_known(Some(known_by));
        let crowd: Vec<Place> = (0..9).map(|_| guests.admit(from(9))).collect();
        assert!(!owner.leave.is_cancelled() && !crowd[8].leave.is_cancelled());
        assert_eq!(crowd.iter().filter(|it| it.leave.is_cancelled()).count(), 8);
        crowd[8].is_known(Some(RateOf::address(from(9).0)));
        let _another = guests.admit(from(3));
        assert!(again.leave.is_cancelled() || known.leave.is_cancelled(), "one with two gives one up");
        assert!(!owner.leave.is_cancelled());
        // As a proxy's connection is, on which others ask next.
        owner.is_a_strangers();
        let _newcomer = guests.admit(from(2));
        assert!(owner.leave.is_cancelled());
    }
}
