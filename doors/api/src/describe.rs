//! Explains one resource: its family, its last events, and in a sentence why it is not yet as wanted.
//!
//! Called by the description route. Pure: one consistent view in, a value out.

use crate::{reason::reason, who::Sight};
use freehold_model::{AnyId, AnyResource, Kind, Query, api::Description};
use freehold_reconcile::{StoreError, View};

/// At most so many children, and so many events, are told.
const CHILDREN: usize = 100;
const EVENTS: usize = 20;

/// Everything that `sight` sees of what explains `id`, or `None` if there is no such resource.
///
/// # Errors
/// When the view fails.
pub(crate) fn describe(
    view: &dyn View,
    sight: &mut Sight,
    id: AnyId,
) -> Result<Option<Description>, StoreError> {
    let Some(resource) = view.get(id)? else { return Ok(None) };
    Ok(Some(Description {
        reason: reason(view, &resource)?,
        ancestors: sight.filter(view, ancestors(view, &resource)?)?,
        children: sight.filter(view, children(view, id)?)?,
        events: view.last_events(EVENTS, Some(id))?,
        resource,
        traffic: None,
    }))
}

/// From the org down. Ends at a parent that is gone, as an app's may be for a receipt.
fn ancestors(view: &dyn View, resource: &AnyResource) -> Result<Vec<AnyResource>, StoreError> {
    let mut found: Vec<AnyResource> = vec![];
    let mut next = resource.parent;
    // The tree is a handful of levels deep; the bound keeps a defect from becoming a loop.
    while let (Some(id), true) = (next, found.len() < 16) {
        let Some(parent) = view.get(id)? else { break };
        next = parent.parent;
        found.push(parent);
    }
    found.reverse();
    Ok(found)
}

/// The newest children of every kind, the newest first.
fn children(view: &dyn View, id: AnyId) -> Result<Vec<AnyResource>, StoreError> {
    let mut found = vec![];
    for kind in Kind::ALL {
        found.extend(view.list(&Query::of(*kind).under(id).newest(CHILDREN))?.items);
    }
    found.sort_by_key(|child| std::cmp::Reverse(child.id.ulid));
    found.truncate(CHILDREN);
    Ok(found)
}
