//! What is kept of events that are pruned, the same in every engine: where the log begins from then on, and
//! where resources are whose first event went.

use crate::row::{parent_text, parse, parse_parent};
use freehold_model::{Anchor, AnyId, Event, Tombstone};
use freehold_reconcile::StoreError;
use std::collections::BTreeMap;

/// The columns of [`AnchorParts`], in its order.
pub(crate) const ANCHOR: &str = "seq, hash, said, time, policy";

/// A stored anchor, column by column.
pub(crate) struct AnchorParts<'a> {
    pub seq: i64,
    pub hash: &'a [u8],
    pub said: i64,
    pub time: &'a str,
    pub policy: &'a str,
}

impl AnchorParts<'_> {
    pub(crate) fn decode(self) -> Result<Anchor, StoreError> {
        Ok(Anchor {
            seq: self.seq as u64,
            hash: hex::encode(self.hash),
            said: self.said as u64,
            time: parse("time", self.time)?,
            policy: self.policy.to_owned(),
        })
    }
}

/// The tombstone that a stored parent is.
pub(crate) fn tombstone(parent: &str) -> Result<Tombstone, StoreError> {
    Ok(Tombstone { parent: parse_parent(parent)? })
}

/// What becomes of tombstones when events go.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Graves {
    /// Kept from now on: ids and parents, as they are stored.
    pub made: (Vec<String>, Vec<String>),
    /// Kept no longer.
    pub left: Vec<String>,
}

impl Graves {
    /// By the events that go, in their order. Others than creations and deletions need not be among them.
    pub(crate) fn of(gone: impl IntoIterator<Item = Event>) -> Graves {
        let mut made: BTreeMap<AnyId, Tombstone> = BTreeMap::new();
        let mut left = vec![];
        for event in gone {
            if let Some(stone) = Tombstone::of(&event) {
                made.insert(event.subject, stone);
            } else if Tombstone::ends_with(&event) && made.remove(&event.subject).is_none() {
                left.push(event.subject.to_string());
            }
        }
        let made = made.into_iter().map(|(id, stone)| (id.to_string(), parent_text(stone.parent))).unzip();
        Graves { made, left }
    }
}
