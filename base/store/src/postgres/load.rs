//! Begins a group: locks the end of the log and loads what the group touches, in one round trip.

use super::{
    connect::Session,
    desk::{Key, Layer, Name, Need, Stored},
    prune::{self, Beginning},
};
use crate::row::{Parts, Row, parse, parse_parent};
use freehold_model::{AnyId, Link};
use freehold_reconcile::StoreError;
use futures::try_join;
use std::sync::Arc;
use tokio_postgres::{Error, Row as Line, types::ToSql};

/// What was found at the beginning of a group.
pub(super) struct Found {
    pub head: Link,
    /// The last group of this writer that is committed.
    pub groups: i64,
    pub layer: Layer,
    pub beginning: Beginning,
}

/// A group that could not be begun.
pub(super) enum Trouble {
    Engine(Error),
    Stored(StoreError),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Engine(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::Stored(error)
    }
}

const HEAD: &str = "SELECT seq, hash FROM freehold.head FOR UPDATE";
const GROUPS: &str = "SELECT groups FROM freehold.writers WHERE writer = $1";
const ROWS: &str = "SELECT id, parent, name, labels, generation, version, created, deleting, spec, status
                    FROM freehold.resources WHERE id = ANY($1)";
const NAMES: &str = "SELECT r.parent, r.name, r.id FROM freehold.resources r
                     JOIN unnest($1::text[], $2::text[], $3::text[]) AS n (kind, parent, name)
                     ON r.kind = n.kind AND r.parent = n.parent AND r.name = n.name";
const CLAIMS: &str = "SELECT c.scope, c.key, c.owner FROM freehold.claims c
                      JOIN unnest($1::text[], $2::text[]) AS n (scope, key)
                      ON c.scope = n.scope AND c.key = n.key";
const ANSWERS: &str = "SELECT key, time, answer FROM freehold.idempotency WHERE key = ANY($1)";
// A renewal does not wait for this lock; whoever takes or gives back the lease does.
const LEASES: &str = "SELECT name, version FROM freehold.leases WHERE name = ANY($1) FOR KEY SHARE";

/// Begins the transaction, waits for the end of the log to be free, and loads. The statements are sent
/// together; the server runs them one after the other, each seeing what was committed before the lock.
pub(super) async fn load(session: &Session, writer: &str, need: &Need) -> Result<Found, Trouble> {
    let ids = texts(&need.ids);
    let (kinds, parents, names) = unzip3(&need.names);
    let (scopes, keys): (Vec<String>, Vec<String>) = need.claims.iter().cloned().unzip();
    let answers = texts(&need.answers);
    let leases = texts(&need.leases);
    for sql in [HEAD, GROUPS, LEASES, ROWS, NAMES, CLAIMS, ANSWERS] {
        session.prepare(sql).await?;
    }
    let begin = session.client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED");
    let wanted = |wanted: bool, sql: &'static str, with: Vec<_>| ask(session, wanted, sql, with);
    let (_, head, groups, fenced, rows, named, claimed, answered) = try_join!(
        begin,
        wanted(true, HEAD, vec![]),
        wanted(true, GROUPS, vec![&writer]),
        wanted(!leases.is_empty(), LEASES, vec![&leases]),
        wanted(!ids.is_empty(), ROWS, vec![&ids]),
        wanted(!names.is_empty(), NAMES, vec![&kinds, &parents, &names]),
        wanted(!keys.is_empty(), CLAIMS, vec![&scopes, &keys]),
        wanted(!answers.is_empty(), ANSWERS, vec![&answers]),
    )?;
    let head = head.first().ok_or_else(|| StoreError::Engine("the end of the log is missing".into()))?;
    let head =
        Link { seq: head.try_get::<_, i64>(0)? as u64, hash: hex::encode(head.try_get::<_, &[u8]>(1)?) };
    let groups = groups.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
    let mut layer = Layer::default();
    for row in &fenced {
        layer.leases.insert(row.try_get(0)?, row.try_get::<_, i64>(1)? as u64);
    }
    for row in &rows {
        let stored = stored(row)?;
        layer.rows.insert(stored.row.id, Some(Arc::new(stored)));
    }
    for row in &named {
        let (name, id) = name(row)?;
        layer.names.insert(name, Some(id));
    }
    for row in &claimed {
        let (scope, key, owner): (String, String, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        layer.claims.insert(Key::from((scope, key)), Some(parse("id", owner)?));
    }
    for row in &answered {
        layer.answers.insert(row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?));
    }
    let mut beginning = Beginning::default();
    if !need.cuts.is_empty() {
        let cuts: Vec<i64> = need.cuts.iter().map(|cut| i64::try_from(*cut).unwrap_or(i64::MAX)).collect();
        (layer.anchor, beginning) = prune::load(session, &cuts).await?;
    }
    Ok(Found { head, groups, layer, beginning })
}

/// Runs a prepared statement, unless nothing is wanted of it.
async fn ask(
    session: &Session,
    wanted: bool,
    sql: &str,
    with: Vec<&(dyn ToSql + Sync)>,
) -> Result<Vec<Line>, Error> {
    if !wanted {
        return Ok(vec![]);
    }
    let statement = session.prepare(sql).await?;
    session.client.query(&statement, &with).await
}

fn texts<T: ToString>(all: impl IntoIterator<Item = T>) -> Vec<String> {
    all.into_iter().map(|one| one.to_string()).collect()
}

fn unzip3<'a>(names: impl IntoIterator<Item = &'a Name>) -> (Vec<&'static str>, Vec<&'a str>, Vec<&'a str>) {
    let mut all = (vec![], vec![], vec![]);
    for (kind, parent, name) in names {
        all.0.push(*kind);
        all.1.push(&**parent);
        all.2.push(&**name);
    }
    all
}

/// The columns of [`crate::row::COLUMNS`].
pub(super) fn parts(row: &Line) -> Result<Parts<'_>, Error> {
    Ok(Parts {
        id: row.try_get(0)?,
        parent: row.try_get(1)?,
        name: row.try_get(2)?,
        labels: row.try_get(3)?,
        generation: row.try_get(4)?,
        version: row.try_get(5)?,
        created: row.try_get(6)?,
        deleting: row.try_get(7)?,
        spec: row.try_get(8)?,
        status: row.try_get(9)?,
    })
}

fn stored(row: &Line) -> Result<Stored, Trouble> {
    let parts = parts(row)?;
    let id: AnyId = parse("id", parts.id)?;
    let row = Row {
        id,
        kind: id.kind,
        parent: parse_parent(parts.parent)?,
        name: parts.name.to_owned(),
        labels: parts.labels.to_owned(),
        version: parts.version as u64,
        created: parts.created.to_owned(),
        deleting: parts.deleting.map(str::to_owned),
        spec: parts.spec.to_owned(),
        status: parts.status.to_owned(),
    };
    Ok(Stored { row, generation: parts.generation as u64 })
}

fn name(row: &Line) -> Result<(Name, AnyId), Trouble> {
    let id: AnyId = parse("id", row.try_get(2)?)?;
    Ok(((id.kind.name(), row.try_get(0)?, row.try_get(1)?), id))
}
