//! The way of a connection between two edges of one house: the one where the client came hands it to the one
//! where the instance is, with the client's address, so that instances see one client on every node.
//!
//! TCP goes to a port of the far edge for this alone, which answers whether the instance took the connection;
//! a datagram goes to the endpoint's own port with a header before it. Invariants: a header counts only with a
//! code under the receiving node's key ([`header`]), which the control plane alone gives; an edge that does not
//! know hops, or whose port cannot be reached, is handed connections as any client hands them.

mod accept;
mod dial;
mod header;

pub(crate) use accept::accept;
pub(crate) use dial::{Handed, hand};
pub(crate) use header::{Hop, seal};

use freehold_model::NodeId;
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The first of the ports that are tried for hops, and how many there are: several Freeholds of one machine
/// have one each.
pub(crate) const PORT: u16 = 7119;
pub(crate) const PORTS: u16 = 8;
/// A node whose port for hops did not answer is handed connections the plain way for so long.
const BLOCKED: Duration = Duration::from_secs(30);
/// The answers to a header: the instance has the connection, or cannot have it.
const TAKEN: u8 = 0x06;
const REFUSED: u8 = 0x15;

/// A node's key for hops.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HopKey([u8; 32]);

impl HopKey {
    /// The key that a secret text stands for.
    pub(crate) fn of(secret: &str) -> HopKey {
        HopKey(Sha256::digest(secret).into())
    }
}

impl fmt::Debug for HopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HopKey(…)")
    }
}

type SecretOf = dyn Fn(NodeId) -> String + Send + Sync;

/// Where an edge beside the control plane has the keys of all nodes from; the default has none.
#[derive(Clone, Default)]
pub struct HopKeys(Option<Arc<SecretOf>>);

impl HopKeys {
    /// Those that `secret` gives, the same for the same node on every control plane.
    pub fn by(secret: impl Fn(NodeId) -> String + Send + Sync + 'static) -> HopKeys {
        HopKeys(Some(Arc::new(secret)))
    }

    /// The secret of a node.
    pub(crate) fn secret(&self, node: NodeId) -> Option<String> {
        self.0.as_ref().map(|secret| secret(node))
    }
}

impl fmt::Debug for HopKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "of the house" } else { "none" })
    }
}

/// What an edge knows of hops.
#[derive(Clone, Default)]
pub(crate) struct Hops(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// Its own: the newest first, and the one before it.
    own: Vec<HopKey>,
    /// Those of other nodes.
    others: BTreeMap<NodeId, HopKey>,
    blocked: BTreeMap<NodeId, Instant>,
}

impl Hops {
    /// Takes hops under this key from now on, and under the one before it.
    pub(crate) fn accept_under(&self, secret: &str) {
        let (key, mut known) = (HopKey::of(secret), self.lock());
        if known.own.first() != Some(&key) {
            known.own.insert(0, key);
            known.own.truncate(2);
        }
    }

    /// The keys of other nodes, as they are now.
    pub(crate) fn know(&self, others: BTreeMap<NodeId, HopKey>) {
        let mut known = self.lock();
        known.blocked.retain(|node, until| others.contains_key(node) && *until > Instant::now());
        known.others = others;
    }

    /// The header that `bytes` begin with, and what follows it; `None` unless another edge of this house made it.
    pub(crate) fn open<'b>(&self, bytes: &'b [u8]) -> Option<(Hop, &'b [u8])> {
        header::may_be(bytes).then(|| header::open(bytes, &self.lock().own.clone()))?
    }

    /// The key for hops to `node`; none for a while after its port did not answer.
    fn open_to(&self, node: NodeId) -> Option<HopKey> {
        let known = self.lock();
        let is_blocked = known.blocked.get(&node).is_some_and(|until| *until > Instant::now());
        if is_blocked { None } else { known.others.get(&node).cloned() }
    }

    /// The key for hops to `node`.
    pub(crate) fn key_to(&self, node: NodeId) -> Option<HopKey> {
        self.lock().others.get(&node).cloned()
    }

    fn block(&self, node: NodeId) {
        self.lock().blocked.insert(node, Instant::now() + BLOCKED);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
