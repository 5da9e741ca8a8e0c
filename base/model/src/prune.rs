//! Taking the oldest events off the log: what a transaction asks for, and what is kept of them.
//!
//! Asked for by the reconciler of the log's retention, done by every engine. Invariants: the log is cut at its
//! beginning alone; the link of the last event that went is kept, so the rest can still be proved; and the cut
//! says so itself, as the event [`Prune::DONE`] of the same transaction.

use crate::{AnyId, Broken, CommitError, Event, Kind, Link, NewEvent, Seq};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Part of a transaction: every event up to one goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {
    /// The last event that goes; it must be in the log.
    pub last: Seq,
    /// Whom the event about it is about.
    pub subject: AnyId,
    /// By what rule, in a phrase.
    pub policy: String,
}

/// Where a log that was pruned begins: behind this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Anchor {
    /// The last event that went. As many went in all.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// The hash that it carried.
    pub hash: String,
    /// The event, further on in the log, that says so.
    #[schema(value_type = u64)]
    pub said: Seq,
    /// When it went.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// By what rule.
    pub policy: String,
}

/// What is kept of a resource whose first event went: where it is, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// What it belongs to; nothing if it stands at the top.
    pub parent: Option<AnyId>,
}

impl Prune {
    /// No transaction takes more: others wait for it.
    pub const MOST: u64 = 1000;
    /// The event that says that events went.
    pub const DONE: &'static str = "audit.pruned";

    /// The event that this causes in a log that begins behind `begin` and holds the event [`Prune::last`] with
    /// `hash` (`None`: it does not hold it); `None` where all of that went already.
    ///
    /// # Errors
    /// When the log does not reach so far, or it is too much for one transaction.
    pub fn plan(&self, begin: Seq, hash: Option<&str>) -> Result<Option<NewEvent>, CommitError> {
        let last = self.last;
        if last <= begin {
            return Ok(None);
        }
        let Some(hash) = hash else {
            return Err(CommitError::Engine(format!("event {last} is to be pruned, and the log has none")));
        };
        let events = last - begin;
        if events > Prune::MOST {
            let text = format!("{events} events are to be pruned at once; {} are the most", Prune::MOST);
            return Err(CommitError::Engine(text));
        }
        let link = Link { seq: last, hash: hash.to_owned() };
        let data = serde_json::json!({
            "first": begin + 1, "events": events, "anchor": link.to_string(), "policy": self.policy,
        });
        Ok(Some(NewEvent { subject: self.subject, what: Prune::DONE.into(), data }))
    }
}

impl Anchor {
    /// The place behind which the log begins.
    pub fn link(&self) -> Link {
        Link { seq: self.seq, hash: self.hash.clone() }
    }

    /// Whether `event` says what this says.
    pub fn is_said_by(&self, event: &Event) -> bool {
        let said = event.data.get("anchor").and_then(|anchor| anchor.as_str());
        event.seq == self.said && event.what == Prune::DONE && said == Some(&self.link().to_string())
    }

    /// What is wrong with a log in which no event says it.
    pub fn unsaid(&self) -> Broken {
        let problem = format!("does not say that the log was pruned up to event {}", self.seq);
        Broken { seq: self.said, problem }
    }
}

impl Tombstone {
    /// What to keep of the subject of `event`, which goes: all that is ever asked about a resource that may be
    /// gone by then. Of a custom event, nothing.
    pub fn of(event: &Event) -> Option<Tombstone> {
        let is_creation = event.what.strip_suffix(".created")? == event.subject.kind.name();
        let (name, parent) = (event.data.get("name")?, event.data.get("parent")?);
        let parent = match parent {
            serde_json::Value::Null => None,
            parent => Some(parent.as_str()?.parse().ok()?),
        };
        (is_creation && name.is_string()).then_some(Tombstone { parent })
    }

    /// Whether nothing is kept of the subject any more once `event` goes: it was deleted, and nothing that
    /// remains can be in it.
    pub fn ends_with(event: &Event) -> bool {
        let kind = event.subject.kind;
        Kind::LEAVES.contains(&kind) && event.what.strip_suffix(".deleted") == Some(kind.name())
    }
}

impl Kind {
    /// The kinds that come and go with every deploy or sign-in, and that nothing is ever a part of.
    pub const LEAVES: &'static [Kind] = &[
        Kind::Release,
        Kind::Rollout,
        Kind::Receipt,
        Kind::Instance,
        Kind::Endpoint,
        Kind::Session,
        Kind::Grant,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Actor;
    use serde_json::{Value, json};

    fn event(kind: Kind, what: &str, data: Value) -> Event {
        Event {
            seq: 9,
            time: Timestamp::UNIX_EPOCH,
            actor: Actor::System,
            request: "req".into(),
            subject: AnyId { kind, ulid: ulid::Ulid(7) },
            what: what.into(),
            data,
            hash: String::new(),
        }
    }

    #[test]
    fn a_cut_is_within_the_log_and_of_a_bounded_size() {
        let cut = |last, begin, hash| {
            let subject = AnyId { kind: Kind::Org, ulid: ulid::Ulid(1) };
            Prune { last, subject, policy: "400d".into() }.plan(begin, hash)
        };
        assert_eq!(cut(5, 5, Some("ab")).unwrap(), None);
        assert_eq!(cut(4, 5, None).unwrap(), None);
        assert!(cut(6, 5, None).is_err());
        assert!(cut(1001, 0, Some("ab")).is_err());
        let said = cut(1005, 5, Some("ab")).unwrap().unwrap();
        assert_eq!(said.data["anchor"], "1005:ab");
        assert_eq!((&said.data["first"], &said.data["events"]), (&json!(6), &json!(1000)));
    }

    #[test]
    fn creations_leave_a_place_and_only_what_has_no_parts_is_forgotten() {
        let parent = AnyId { kind: Kind::Env, ulid: ulid::Ulid(1) };
        let made = |parent: Value| {
            event(Kind::Instance, "instance.created", json!({ "name": "a", "parent": parent }))
        };
        assert_eq!(Tombstone::of(&made(json!(parent))), Some(Tombstone { parent: Some(parent) }));
        assert_eq!(Tombstone::of(&made(Value::Null)), Some(Tombstone { parent: None }));
        assert_eq!(Tombstone::of(&made(json!("nowhere"))), None);
        assert_eq!(Tombstone::of(&event(Kind::Instance, "instance.created", json!({}))), None);
        let other = json!({ "name": "a", "parent": null });
        assert_eq!(Tombstone::of(&event(Kind::Instance, "app.created", other)), None);
        assert!(Tombstone::ends_with(&event(Kind::Instance, "instance.deleted", json!({}))));
        assert!(!Tombstone::ends_with(&event(Kind::Instance, "instance.observed", json!({}))));
        assert!(!Tombstone::ends_with(&event(Kind::Env, "env.deleted", json!({}))));
    }
}
