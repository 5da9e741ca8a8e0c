//! Room for connections: how many may be open at a time, so that the store, the API and the agent are left the
//! files that they need, and no endpoint takes the room of others.
//!
//! Invariant: an endpoint gets no more than half of what its owner could still take, and an owner no more than is
//! free (dynamic thresholds: Choudhury and Hahne, IEEE/ACM ToN 6:2, 1998). So one endpoint alone has a quarter of
//! all room, one owner half of it, and each that comes after them half of what they left.

use freehold_model::AnyId;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

/// The connections that an endpoint may always have, while there is any room.
const LEAST: usize = 32;

/// The open connections of all endpoints, and room for more.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) tasks: TaskTracker,
    room: Arc<Semaphore>,
    /// The open connections of each owner.
    owners: Arc<Mutex<BTreeMap<AnyId, Weak<AtomicUsize>>>>,
}

/// The connections of one endpoint, beside those of its owner.
pub(crate) struct Share {
    open: AtomicUsize,
    owner: Arc<AtomicUsize>,
}

/// A place for one connection, until it is dropped.
pub(crate) struct Room {
    share: Arc<Share>,
    _place: OwnedSemaphorePermit,
}

impl Connections {
    /// Room for `most` at a time.
    pub(crate) fn new(most: usize) -> Connections {
        Connections {
            tasks: TaskTracker::new(),
            room: Arc::new(Semaphore::new(most)),
            owners: Arc::default(),
        }
    }

    /// The share of an endpoint of this owner; one of nobody's has an owner of its own.
    pub(crate) fn share(&self, owner: Option<AnyId>) -> Arc<Share> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.retain(|_, open| open.strong_count() > 0);
        let known = owner.and_then(|owner| owners.get(&owner)?.upgrade());
        let open = known.unwrap_or_default();
        if let Some(owner) = owner {
            owners.insert(owner, Arc::downgrade(&open));
        }
        Arc::new(Share { open: AtomicUsize::new(0), owner: open })
    }

    /// Waits for room: clients wait where the kernel keeps them.
    pub(crate) async fn wait(&self) -> OwnedSemaphorePermit {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            return room;
        }
        tracing::warn!("as many connections are open as may be; others wait");
        Arc::clone(&self.room).acquire_owned().await.expect("it is never closed")
    }

    /// Room for a connection of this share, unless it has all that it may have.
    pub(crate) fn admit(&self, share: &Arc<Share>, place: OwnedSemaphorePermit) -> Option<Room> {
        let free = self.room.available_permits();
        let of_owner = share.owner.fetch_add(1, SeqCst);
        let of_endpoint = share.open.fetch_add(1, SeqCst);
        let room = Room { share: Arc::clone(share), _place: place };
        may_have_more(of_endpoint, of_owner, free).then_some(room)
    }

    /// The same for one that would rather be turned away than wait.
    pub(crate) fn admit_now(&self, share: &Arc<Share>) -> Option<Room> {
        let place = Arc::clone(&self.room).try_acquire_owned().ok()?;
        self.admit(share, place)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.share.open.fetch_sub(1, SeqCst);
        self.share.owner.fetch_sub(1, SeqCst);
    }
}

/// Whether an endpoint gets one more of the connections that are `free`, by what it and its owner have.
fn may_have_more(of_endpoint: usize, of_owner: usize, free: usize) -> bool {
    of_endpoint < LEAST || of_endpoint < free.saturating_sub(of_owner) / 2
}

/// How the `limit` of open files is shared out: so many connections, of two files each, and so many
/// pipes, likewise, leave a quarter of the files to others.
pub(crate) fn shares(limit: Option<u64>) -> (usize, usize) {
    let limit = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX).min(1 << 20);
    let pipes = (limit / 16).min(512);
    ((limit - limit / 4) / 2 - pipes, pipes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_files_is_left_to_others() {
        for limit in [1024_u64, 20_000, 1 << 20] {
            let (connections, pipes) = shares(Some(limit));
            assert!(2 * (connections + pipes) as u64 <= limit - limit / 4, "{limit}");
            assert!(connections as u64 > limit / 4 && pipes > 32, "{limit}: {connections}, {pipes}");
        }
        assert!(shares(None).0 < Semaphore::MAX_PERMITS);
    }

    /// Fills each share in turn, in rounds, until none gets more; what each has then.
    fn filled(connections: &Connections, shares: &[Arc<Share>]) -> (Vec<usize>, Vec<Room>) {
        let (mut rooms, mut counts) = (vec![], vec![0; shares.len()]);
        for (share, count) in shares.iter().zip(&mut counts) {
            while let Some(room) = connections.admit_now(share) {
                rooms.push(room);
                *count += 1;
            }
        }
        (counts, rooms)
    }

    fn owner(n: u128) -> Option<AnyId> {
        Some(freehold_model::OrgId(ulid::Ulid(n)).into())
    }

    #[test]
    fn whoever_comes_after_the_greedy_gets_in() {
        let connections = Connections::new(8000);
        let [first, second, third] = [1, 1, 1].map(|n| connections.share(owner(n)));
        let other = connections.share(owner(2));
        let (counts, rooms) = filled(&connections, &[first, second, third, other.clone()]);
        assert_eq!(counts[0], 2000, "a quarter");
        assert!(counts[1] > 800 && counts[2] > 400, "{counts:?}");
        assert!(counts[..3].iter().sum::<usize>() <= 4000, "an owner has half: {counts:?}");
        assert!(counts[3] > 1000, "another owner is not touched by it: {counts:?}");
        drop(rooms);
        assert_eq!(filled(&connections, &[other]).0, [2000], "what ended is free again");
    }

    #[test]
    fn many_greedy_ones_leave_room_for_one_more() {
        let connections = Connections::new(8000);
        let all: Vec<_> = (0..20).map(|n| connections.share(owner(n / 4))).collect();
        let (counts, _rooms) = filled(&connections, &all);
        let late = connections.share(owner(99));
        let (more, _) = filled(&connections, &[late]);
        assert!(more[0] > LEAST, "{more:?} after {counts:?}");
    }

    #[test]
    fn a_small_house_gives_everybody_a_few() {
        let connections = Connections::new(100);
        let (one, two) = (connections.share(None), connections.share(None));
        assert_eq!(filled(&connections, &[one, two]).0, [LEAST, LEAST]);
    }
}
