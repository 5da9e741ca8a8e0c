//! Reads of one snapshot of the store in memory.

use super::{State, log::Log};
use crate::ports::{StoreError, View, ViewExt as _};
use freehold_model::{Anchor, AnyId, AnyResource, Claim, Event, Page, Query, Seq, Tombstone};
use std::{ops::Bound, sync::Arc};
use ulid::Ulid;

/// A snapshot: what is committed later does not show.
#[derive(Clone)]
pub struct MemoryView {
    pub(super) state: Arc<State>,
    pub(super) log: Arc<Log>,
}

impl MemoryView {
    /// Every resource, in order of kind and id.
    pub fn resources(&self) -> impl Iterator<Item = &AnyResource> {
        self.state.resources.values().map(|resource| &**resource)
    }

    /// Every claim, in order of scope and key.
    pub fn every_claim(&self) -> impl Iterator<Item = Claim> {
        self.state.claims.iter().map(|((scope, key), owner)| claim(scope, key, *owner))
    }
}

impl View for MemoryView {
    fn get(&self, id: AnyId) -> Result<Option<AnyResource>, StoreError> {
        Ok(self.state.resources.get(&id).map(|found| AnyResource::clone(found)))
    }

    fn list(&self, query: &Query) -> Result<Page, StoreError> {
        let first = AnyId { kind: query.kind, ulid: Ulid::nil() };
        let last = AnyId { kind: query.kind, ulid: Ulid(u128::MAX) };
        let kind = self.state.resources.range((Bound::Included(first), Bound::Included(last)));
        let limit = query.limit.clamp(1, Query::MAX_LIMIT);
        let ordered: Box<dyn Iterator<Item = _>> =
            if query.newest_first { Box::new(kind.rev()) } else { Box::new(kind) };
        let before = |id: &AnyId| match query.after {
            Some(after) if query.newest_first => *id >= after,
            Some(after) => *id <= after,
            None => false,
        };
        let mut items: Vec<AnyResource> = ordered
            .skip_while(|(id, _)| before(id))
            .filter(|(_, resource)| fits(query, resource))
            .take(limit + 1)
            .map(|(_, resource)| AnyResource::clone(resource))
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|last| last.id) } else { None };
        Ok(Page { items, next })
    }

    fn claim(&self, scope: &str, key: &str) -> Result<Option<AnyId>, StoreError> {
        Ok(self.state.claims.get(&(scope.to_owned(), key.to_owned())).copied())
    }

    fn claims(&self, scope: &str) -> Result<Vec<Claim>, StoreError> {
        let from = (scope.to_owned(), String::new());
        let range = self.state.claims.range(from..).take_while(|((found, _), _)| found == scope);
        Ok(range.map(|((scope, key), owner)| claim(scope, key, *owner)).collect())
    }

    fn events(&self, after: Seq, limit: usize, subject: Option<AnyId>) -> Result<Vec<Event>, StoreError> {
        let about = |event: &&Event| subject.is_none_or(|subject| event.subject == subject);
        let read = self.log.after(after).iter().filter(about).take(limit).cloned().collect();
        if subject.is_some() { Ok(read) } else { self.unbroken(after, read) }
    }

    fn last_events(&self, limit: usize, subject: Option<AnyId>) -> Result<Vec<Event>, StoreError> {
        let about = |event: &&Event| subject.is_none_or(|subject| event.subject == subject);
        Ok(self.log.events.iter().rev().filter(about).take(limit).cloned().collect())
    }

    fn version(&self) -> Result<Seq, StoreError> {
        Ok(self.log.end().seq)
    }

    fn anchor(&self) -> Result<Option<Anchor>, StoreError> {
        Ok(self.log.anchor.clone())
    }

    fn tombstone(&self, id: AnyId) -> Result<Option<Tombstone>, StoreError> {
        Ok(self.log.tombstones.get(&id).copied())
    }
}

fn claim(scope: &str, key: &str, owner: AnyId) -> Claim {
    Claim { scope: scope.to_owned(), key: key.to_owned(), owner }
}

fn fits(query: &Query, resource: &AnyResource) -> bool {
    query.parent.is_none_or(|parent| resource.parent == Some(parent))
        && query.name.as_ref().is_none_or(|name| resource.name == *name)
        && query.labels.iter().all(|(key, value)| resource.labels.get(key) == Some(value))
}
