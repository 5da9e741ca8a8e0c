//! How resources are listed: by kind, parent, name and labels, in pages.

use crate::{AnyId, AnyResource, Kind};
use std::collections::BTreeMap;

/// Which resources are wanted. Every given condition must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Of this kind.
    pub kind: Kind,
    /// Belonging to this resource.
    pub parent: Option<AnyId>,
    /// With exactly this name.
    pub name: Option<String>,
    /// With all of these labels.
    pub labels: BTreeMap<String, String>,
    /// After this id, in the order asked for.
    pub after: Option<AnyId>,
    /// In reverse order of ids, which is the newest first.
    pub newest_first: bool,
    /// At most this many.
    pub limit: usize,
}

impl Query {
    /// Pages are never larger than this.
    pub const MAX_LIMIT: usize = 1000;

    /// Everything of `kind`, a page of the largest size.
    pub fn of(kind: Kind) -> Query {
        Query {
            kind,
            parent: None,
            name: None,
            labels: BTreeMap::new(),
            after: None,
            newest_first: false,
            limit: Query::MAX_LIMIT,
        }
    }

    /// Only what belongs to `parent`.
    pub fn under(mut self, parent: impl Into<AnyId>) -> Query {
        self.parent = Some(parent.into());
        self
    }

    /// The newest first, at most `limit`.
    pub fn newest(mut self, limit: usize) -> Query {
        self.newest_first = true;
        self.limit = limit;
        self
    }

    /// Only what is called `name`.
    pub fn named(mut self, name: impl Into<String>) -> Query {
        self.name = Some(name.into());
        self
    }
}

/// One page of a listing, in the order asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// The resources.
    pub items: Vec<AnyResource>,
    /// Where the next page starts, if there is one.
    pub next: Option<AnyId>,
}
