//! How long the event log reaches back: set by owners of the house, kept to by a reconciler.
//!
//! Called by the API. Invariant: whoever changes it leaves an event that outlives the change: what is younger
//! than [`Retention::LEAST`] never goes, and less is kept only a while after it was said.

mod reconciler;

pub use reconciler::RetentionReconciler;

use crate::{
    Asker,
    error::{PeopleError, invalid},
    place::house,
};
use freehold_model::{LogRetention, Org, OrgSpec, Retention, RetentionReport, Txn};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use jiff::Timestamp;
use serde_json::json;

/// The event of a change.
const SET: &str = "audit.retention_set";

/// The transaction that makes `rule` (`None`: keep everything) the house's, and how it is then.
///
/// # Errors
/// When it would keep too little.
pub fn set_retention(
    view: &dyn View,
    asker: &Asker,
    rule: Option<Retention>,
) -> Result<(Txn, RetentionReport), PeopleError> {
    if let Some(rule) = rule.filter(|rule| rule.keep < Retention::LEAST) {
        let title =
            format!("keep: {} is too short: the log is kept for {} at least.", rule.keep, Retention::LEAST);
        return Err(invalid(
            title,
            "What happened lately must be there for whoever looks into it: keep longer.",
        ));
    }
    let mut txn = Txn::new(asker.principal.actor(), "set how long the log is kept", &asker.request);
    let Some(mut org) = owner(view)? else {
        return Err(invalid(
            "This house has no org `home`.",
            "It is made at the first start: `freehold up`.",
        ));
    };
    let before = org.spec.retention.take();
    // Said again, it goes on waiting as it did.
    if before.as_ref().is_some_and(|before| before.rule == rule) || (before.is_none() && rule.is_none()) {
        return Ok((txn, report(view, asker.now)?));
    }
    let after = LogRetention::after(before.as_ref(), rule, asker.principal.actor().to_string(), asker.now);
    let said = |rule: Option<Retention>| rule.map_or_else(|| "for ever".to_owned(), |rule| rule.to_string());
    let was = before.as_ref().and_then(|before| before.in_force(asker.now));
    txn.event(org.id, SET, json!({ "keeps": said(rule), "from": after.from, "kept": said(was) }));
    let mut report = report(view, asker.now)?;
    (report.rule, report.set) = (after.in_force(asker.now), Some(after.clone()));
    org.spec.retention = Some(after);
    txn.put_spec(&org);
    Ok((txn, report))
}

/// How far the log reaches back, and what was said of that.
///
/// # Errors
/// When the view fails.
pub fn report(view: &dyn View, now: Timestamp) -> Result<RetentionReport, StoreError> {
    let set = owner(view)?.and_then(|org| org.spec.retention);
    let anchor = view.anchor()?;
    Ok(RetentionReport {
        rule: set.as_ref().and_then(|set| set.in_force(now)),
        set,
        first: anchor.as_ref().map_or(0, |anchor| anchor.seq) + 1,
        last: view.version()?,
        anchor,
    })
}

/// The org that the rule is kept in.
fn owner(view: &dyn View) -> Result<Option<Org>, StoreError> {
    let Some(id) = house(view)? else { return Ok(None) };
    view.find::<OrgSpec>(id)
}
