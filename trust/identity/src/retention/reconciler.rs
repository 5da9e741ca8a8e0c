//! Takes off the log what the house's rule no longer keeps: about once an hour, a bounded number at a time.
//!
//! Run by the daemon, under a lease. Invariants: only a prefix of the log goes, every event of which is old enough
//! and none of the newest that are to stay; and it goes only if it holds together, for a log that was tampered
//! with is evidence.

use super::owner;
use freehold_model::{Actor, Anchor, AnyId, Event, Kind, Link, Prune, Retention, Seq, Txn};
use freehold_reconcile::{Decision, Ids, Reconciler, StoreError, View};
use jiff::{SignedDuration, Timestamp};

/// Between two times.
const EVERY: SignedDuration = SignedDuration::from_hours(1);
/// So many go at a time: commits come in between.
const BATCH: usize = 500;

/// Keeps the log to the house's rule.
pub struct RetentionReconciler;

impl Reconciler for RetentionReconciler {
    fn name(&self) -> &'static str {
        "retention"
    }

    fn concerns(&self, event: &Event, _: &dyn View) -> Result<Vec<AnyId>, StoreError> {
        let set = event.subject.kind == Kind::Org && event.what == super::SET;
        Ok(set.then_some(event.subject).into_iter().collect())
    }

    fn subjects(&self, view: &dyn View) -> Result<Vec<AnyId>, StoreError> {
        Ok(owner(view)?.map(|org| org.any_id()).into_iter().collect())
    }

    fn decide(
        &self,
        subject: AnyId,
        view: &dyn View,
        now: Timestamp,
        _: &mut dyn Ids,
    ) -> Result<Decision, StoreError> {
        let Some(org) = owner(view)?.filter(|org| org.any_id() == subject) else {
            return Ok(Decision::default());
        };
        let Some(set) = org.spec.retention else { return Ok(Decision::default()) };
        let wake = Some(set.from).filter(|from| *from > now).unwrap_or_else(|| later(now, EVERY));
        let Some(rule) = set.in_force(now) else { return Ok(Decision { txn: None, wake: Some(wake) }) };
        let Some((last, full)) = due(view, &rule, now)? else {
            return Ok(Decision { txn: None, wake: Some(wake.min(later(now, EVERY))) });
        };
        let actor = Actor::Controller(self.name().into());
        let mut txn = Txn::new(actor, format!("kept are {rule}"), self.name());
        txn.prune = Some(Prune { last, subject, policy: format!("kept are {rule}; set by {}", set.by) });
        Ok(Decision { txn: Some(txn), wake: Some(if full { now } else { later(now, EVERY) }) })
    }
}

/// The last event to go now, and whether that is as many as go at a time.
fn due(view: &dyn View, rule: &Retention, now: Timestamp) -> Result<Option<(Seq, bool)>, StoreError> {
    // Older than what can be said is nothing.
    let Ok(horizon) = now.checked_sub(rule.keep.signed()) else { return Ok(None) };
    let anchor = view.anchor()?;
    if let Some(anchor) = &anchor
        && later(anchor.time, EVERY) > now
        && !was_full(view, anchor)?
    {
        return Ok(None);
    }
    let most = view.version()?.saturating_sub(rule.keep_events);
    let goes = |event: &Event| event.seq <= most && event.time < horizon;
    let mut last = anchor.as_ref().map_or_else(Link::genesis, Anchor::link);
    let begin = last.seq;
    if !view.events(begin, 1, None)?.first().is_some_and(goes) {
        return Ok(None);
    }
    for event in view.events(begin, BATCH, None)?.iter().take_while(|event| goes(event)) {
        last = last.follow(event).map_err(|broken| {
            StoreError::Engine(format!("the log was cut or changed ({broken}): nothing of it is pruned"))
        })?;
    }
    Ok(Some((last.seq, last.seq - begin == BATCH as Seq)))
}

/// Whether the last time as many went as go at a time: then more may wait.
fn was_full(view: &dyn View, anchor: &Anchor) -> Result<bool, StoreError> {
    let said = view.events(anchor.said - 1, 1, None)?;
    Ok(said.first().is_some_and(|said| said.data["events"] == BATCH))
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(now)
}

#[cfg(test)]
mod tests;
