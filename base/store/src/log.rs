//! The event log: how a row is chained to the one before, and how it is read back. The same in every
//! engine.

use crate::row::{json, parse};
use freehold_model::{Actor, AnyId, Event, Link, NewEvent, Seq};
use freehold_reconcile::StoreError;
use jiff::Timestamp;
use serde_json::Value;

/// The columns of [`Parts`], in its order.
pub(crate) const COLUMNS: &str = "seq, time, actor, request, subject, what, data, hash";

/// A stored event, column by column.
pub(crate) struct Parts<'a> {
    pub seq: i64,
    pub time: &'a str,
    pub actor: &'a str,
    pub request: &'a str,
    pub subject: &'a str,
    pub what: &'a str,
    pub data: &'a str,
    pub hash: &'a [u8],
}

/// What all events of one transaction share.
pub(crate) struct Stamp<'a> {
    pub time: Timestamp,
    pub actor: &'a Actor,
    pub request: &'a str,
}

impl Stamp<'_> {
    /// The event that follows `end`, the end of the log, which moves on to it.
    pub(crate) fn append(&self, end: &mut Link, event: NewEvent) -> Event {
        let mut event = Event {
            seq: end.seq + 1,
            time: self.time,
            actor: self.actor.clone(),
            request: self.request.to_owned(),
            subject: event.subject,
            what: event.what,
            data: settled(event.data),
            hash: String::new(),
        };
        event.hash = event.chain(&end.hash);
        *end = Link::of(&event);
        event
    }
}

impl Parts<'_> {
    /// The event that these columns are.
    pub(crate) fn decode(self) -> Result<Event, StoreError> {
        Ok(Event {
            seq: self.seq as Seq,
            time: parse("time", self.time)?,
            actor: parse_actor(self.actor)?,
            request: self.request.to_owned(),
            subject: parse::<AnyId>("id", self.subject)?,
            what: self.what.to_owned(),
            data: json("data of an event", self.data)?,
            hash: hex::encode(self.hash),
        })
    }
}

/// The actor that prints as `text`.
fn parse_actor(text: &str) -> Result<Actor, StoreError> {
    match text.split_once(':') {
        None if text == "system" => Ok(Actor::System),
        Some(("user", name)) => Ok(Actor::User(name.into())),
        Some(("token", name)) => Ok(Actor::Token(name.into())),
        Some(("controller", name)) => Ok(Actor::Controller(name.into())),
        Some(("node", id)) => Ok(Actor::Node(id.into())),
        _ => Err(StoreError::Engine(format!("stored actor `{text}` is of no known type"))),
    }
}

/// `data` as it will be read back, since the hash of what is read must be the hash of what was written.
/// serde_json may miss the last bit of a fraction that it parses: such a fraction is kept as its text.
fn settled(data: Value) -> Value {
    match data {
        Value::Number(number) if number.is_f64() => {
            let text = number.to_string();
            let bits = |number: &Value| number.as_f64().map(f64::to_bits);
            let read = serde_json::from_str::<Value>(&text).ok();
            let number = Value::Number(number);
            let exact = read.is_some_and(|read| bits(&read) == bits(&number));
            if exact { number } else { Value::String(text) }
        }
        Value::Array(items) => items.into_iter().map(settled).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, settled(value))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_actor_reads_back() {
        for actor in [
            Actor::System,
            Actor::User("a:b".into()),
            Actor::Token("ci".into()),
            Actor::Controller("rollout".into()),
            Actor::Node("nod_1".into()),
            Actor::User(String::new()),
        ] {
            assert_eq!(parse_actor(&actor.to_string()).unwrap(), actor);
        }
        assert!(parse_actor("ghost").is_err());
    }

    #[test]
    fn settled_fractions_read_back_as_they_were_hashed() {
        for bits in (0..20_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let float = f64::from_bits(bits);
            if !float.is_finite() {
                continue;
            }
            let data = settled(serde_json::json!({ "deep": [float] }));
            let read: Value = serde_json::from_str(&data.to_string()).unwrap();
            assert_eq!(read.to_string(), data.to_string());
        }
        let plain = serde_json::json!([0.5, -0.0, 0.1, 1e300, 3, null, "x"]);
        assert_eq!(settled(plain.clone()), plain);
    }
}
