//! The event log: appending a row chained to the one before, and reading rows back.

use super::row::{broken, parse};
use freehold_model::{Actor, AnyId, Event, NewEvent, Seq};
use freehold_reconcile::StoreError;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

/// The columns of [`decode`], in its order.
pub(super) const COLUMNS: &str = "seq, time, actor, request, subject, what, data, hash";

/// The end of the log: what the next row is chained to.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub seq: Seq,
    pub hash: String,
}

/// What all events of one transaction share.
pub(super) struct Stamp<'a> {
    pub time: Timestamp,
    pub actor: &'a Actor,
    pub request: &'a str,
}

impl Head {
    /// The end of the stored log.
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Head> {
        let mut last = db.prepare_cached("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")?;
        let found = last.query_row([], |row| {
            let hash: Vec<u8> = row.get(1)?;
            Ok(Head { seq: row.get::<_, i64>(0)? as Seq, hash: hex::encode(hash) })
        });
        Ok(found.optional()?.unwrap_or(Head { seq: 0, hash: Event::GENESIS.to_owned() }))
    }

    /// Appends one row.
    pub(super) fn append(
        &mut self,
        db: &Connection,
        stamp: &Stamp<'_>,
        event: NewEvent,
    ) -> rusqlite::Result<()> {
        let mut event = Event {
            seq: self.seq + 1,
            time: stamp.time,
            actor: stamp.actor.clone(),
            request: stamp.request.to_owned(),
            subject: event.subject,
            what: event.what,
            data: settled(event.data),
            hash: String::new(),
        };
        event.hash = event.chain(&self.hash);
        insert(db, &event)?;
        *self = Head { seq: event.seq, hash: event.hash };
        Ok(())
    }
}

fn insert(db: &Connection, event: &Event) -> rusqlite::Result<()> {
    let sql = "INSERT INTO events (seq, time, actor, request, subject, what, data, hash)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    db.prepare_cached(sql)?.execute(params![
        event.seq as i64,
        event.time.to_string(),
        event.actor.to_string(),
        event.request,
        event.subject.to_string(),
        event.what,
        event.data.to_string(),
        hex::decode(&event.hash).expect("a chain hash is hex"),
    ])?;
    Ok(())
}

/// The event in a row of [`COLUMNS`].
pub(super) fn decode(row: &rusqlite::Row<'_>) -> Result<Event, StoreError> {
    let text = |index| row.get_ref(index).and_then(|value| Ok(value.as_str()?)).map_err(broken);
    let hash: Vec<u8> = row.get(7).map_err(broken)?;
    Ok(Event {
        seq: row.get::<_, i64>(0).map_err(broken)? as Seq,
        time: parse("time", text(1)?)?,
        actor: parse_actor(text(2)?)?,
        request: text(3)?.to_owned(),
        subject: parse::<AnyId>("id", text(4)?)?,
        what: text(5)?.to_owned(),
        data: serde_json::from_str(text(6)?).map_err(broken)?,
        hash: hex::encode(hash),
    })
}

/// The actor that prints as `text`.
fn parse_actor(text: &str) -> Result<Actor, StoreError> {
    match text.split_once(':') {
        None if text == "system" => Ok(Actor::System),
        Some(("user", name)) => Ok(Actor::User(name.into())),
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
