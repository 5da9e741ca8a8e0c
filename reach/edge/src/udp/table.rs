//! The sessions of one endpoint, and which of them has been silent longest.

use super::{Key, session::Session};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// By key, and by the order of their last datagram.
#[derive(Default)]
pub(super) struct Table {
    sessions: HashMap<Key, (u64, Arc<Session>)>,
    order: BTreeMap<u64, Key>,
    next: u64,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The session of `key`, which has just sent something.
    pub(super) fn touch(&mut self, key: &Key) -> Option<Arc<Session>> {
        let (stamp, session) = self.sessions.get_mut(key)?;
        self.order.remove(stamp);
        *stamp = self.next;
        self.order.insert(self.next, *key);
        self.next += 1;
        Some(Arc::clone(session))
    }

    /// Takes a session in; answers with the one that had its key.
    pub(super) fn insert(&mut self, key: Key, session: Arc<Session>) -> Option<Arc<Session>> {
        let before = self.sessions.insert(key, (self.next, session));
        if let Some((stamp, _)) = &before {
            self.order.remove(stamp);
        }
        self.order.insert(self.next, key);
        self.next += 1;
        before.map(|(_, session)| session)
    }

    /// Takes out the session that was silent longest.
    pub(super) fn evict(&mut self) -> Option<Arc<Session>> {
        let (_, key) = self.order.pop_first()?;
        self.sessions.remove(&key).map(|(_, session)| session)
    }

    /// Takes out this very session.
    pub(super) fn remove(&mut self, session: &Arc<Session>) {
        let is_it = |(_, there): &(u64, Arc<Session>)| Arc::ptr_eq(there, session);
        if self.sessions.get(&session.key).is_some_and(is_it)
            && let Some((stamp, _)) = self.sessions.remove(&session.key)
        {
            self.order.remove(&stamp);
        }
    }
}
