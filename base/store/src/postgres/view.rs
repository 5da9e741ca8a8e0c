//! A snapshot: a read-only transaction on a connection of its own.
//!
//! Reads block the calling thread, as the port has it; the connection is driven by the store's own runtime.

use super::{engine, load::parts, pool::Reader, prune};
use crate::row::{COLUMNS, parent_text, parse};
use freehold_model::{Anchor, AnyId, AnyResource, Claim, Event, Page, Query, Seq, Tombstone};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use futures::executor::block_on;
use tokio_postgres::{Error, Row, types::ToSql};

/// Everything committed before it was made, and nothing after. Dropping it frees its connection.
pub(super) struct PostgresView {
    reader: Reader,
    version: Seq,
}

impl PostgresView {
    pub(super) fn new(reader: Reader, version: Seq) -> PostgresView {
        PostgresView { reader, version }
    }

    fn query(&self, sql: &str, with: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        let session = self.reader.session();
        let rows = async { session.client.query(&session.prepare(sql).await?, with).await };
        block_on(rows).map_err(broken)
    }
}

impl View for PostgresView {
    fn get(&self, id: AnyId) -> Result<Option<AnyResource>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM freehold.resources WHERE id = $1");
        self.query(&sql, &[&id.to_string()])?.first().map(decode).transpose()
    }

    fn list(&self, query: &Query) -> Result<Page, StoreError> {
        if query.name.as_ref().is_some_and(|name| name.contains('\0')) {
            return Ok(Page::default());
        }
        let limit = query.limit.clamp(1, Query::MAX_LIMIT);
        let (sql, values) = selection(query, limit);
        let with: Vec<&(dyn ToSql + Sync)> =
            values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let mut page = Page::default();
        for row in self.query(&sql, &with)? {
            if !has_labels(&row, query)? {
                continue;
            }
            if page.items.len() == limit {
                page.next = page.items.last().map(|item| item.id);
                break;
            }
            page.items.push(decode(&row)?);
        }
        Ok(page)
    }

    fn claim(&self, scope: &str, key: &str) -> Result<Option<AnyId>, StoreError> {
        if scope.contains('\0') || key.contains('\0') {
            return Ok(None);
        }
        let sql = "SELECT owner FROM freehold.claims WHERE scope = $1 AND key = $2";
        let rows = self.query(sql, &[&scope, &key])?;
        rows.first().map(|row| parse("id", row.try_get(0).map_err(broken)?)).transpose()
    }

    fn claims(&self, scope: &str) -> Result<Vec<Claim>, StoreError> {
        let sql = "SELECT key, owner FROM freehold.claims WHERE scope = $1 ORDER BY key";
        let claim = |row: &Row| {
            let key = row.try_get(0).map_err(broken)?;
            let owner = parse("id", row.try_get(1).map_err(broken)?)?;
            Ok(Claim { scope: scope.to_owned(), key, owner })
        };
        self.query(sql, &[&scope])?.iter().map(claim).collect()
    }

    fn events(&self, after: Seq, limit: usize, subject: Option<AnyId>) -> Result<Vec<Event>, StoreError> {
        let read = self.read_events(after, limit, subject, "ASC")?;
        if subject.is_some() { Ok(read) } else { self.unbroken(after, read) }
    }

    fn last_events(&self, limit: usize, subject: Option<AnyId>) -> Result<Vec<Event>, StoreError> {
        self.read_events(0, limit, subject, "DESC")
    }

    fn version(&self) -> Result<Seq, StoreError> {
        Ok(self.version)
    }

    fn anchor(&self) -> Result<Option<Anchor>, StoreError> {
        prune::decode(&self.query(&prune::asked(), &[])?)
    }

    fn tombstone(&self, id: AnyId) -> Result<Option<Tombstone>, StoreError> {
        let rows = self.query("SELECT parent FROM freehold.tombstones WHERE id = $1", &[&id.to_string()])?;
        let parent = rows.first().map(|row| row.try_get::<_, String>(0)).transpose().map_err(broken)?;
        parent.map(|parent| crate::prune::tombstone(&parent)).transpose()
    }
}

impl PostgresView {
    /// How far consumer `name` has come.
    pub(super) fn cursor(&self, name: &str) -> Result<Seq, StoreError> {
        let rows = self.query("SELECT seq FROM freehold.cursors WHERE name = $1", &[&name])?;
        let seq = rows.first().map(|row| row.try_get::<_, i64>(0)).transpose().map_err(broken)?;
        Ok(seq.unwrap_or(0) as Seq)
    }

    /// How far the log must reach, by what is beside it: its recorded end, and the greatest version of any
    /// resource. Reads all of them.
    pub(super) fn reached(&self) -> Result<Seq, StoreError> {
        let sql = "SELECT greatest((SELECT seq FROM freehold.head),
                                   (SELECT coalesce(max(version), 0) FROM freehold.resources))";
        let rows = self.query(sql, &[])?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0)) as Seq)
    }

    fn read_events(
        &self,
        after: Seq,
        limit: usize,
        subject: Option<AnyId>,
        order: &str,
    ) -> Result<Vec<Event>, StoreError> {
        let columns = crate::log::COLUMNS;
        let about = if subject.is_some() { "subject = $3 AND" } else { "" };
        let sql = format!(
            "SELECT {columns} FROM freehold.events WHERE {about} seq > $1 ORDER BY seq {order} LIMIT $2"
        );
        let subject = subject.map(|id| id.to_string());
        let (after, limit) = (clamped(after), i64::try_from(limit).unwrap_or(i64::MAX));
        let mut with: Vec<&(dyn ToSql + Sync)> = vec![&after, &limit];
        with.extend(subject.as_ref().map(|subject| subject as &(dyn ToSql + Sync)));
        self.query(&sql, &with)?.iter().map(decode_event).collect()
    }
}

fn clamped(seq: Seq) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// The rows that fit `query`, labels aside, in order of ids or in reverse. A kind is a range of ids.
fn selection(query: &Query, limit: usize) -> (String, Vec<String>) {
    let prefix = query.kind.prefix();
    // Ids of a kind lie between `app_` and `` app` ``: the character after `_`.
    let (first, last) = (format!("{prefix}_"), format!("{prefix}`"));
    let after = query.after.map(|id| id.to_string());
    let (beyond, until, order, start, end) =
        if query.newest_first { ("<", ">", "DESC", last, first) } else { (">", "<", "ASC", first, last) };
    let mut values = vec![after.unwrap_or(start), end];
    let mut conditions = format!("id {beyond} $1 AND id {until} $2");
    let mut also = |column: &str, value: String| {
        values.push(value);
        conditions += &format!(" AND {column} = ${}", values.len());
    };
    if query.parent.is_some() || query.name.is_some() {
        also("kind", query.kind.name().to_owned());
    }
    if let Some(parent) = query.parent {
        also("parent", parent_text(Some(parent)));
    }
    if let Some(name) = &query.name {
        also("name", name.clone());
    }
    // Labels are looked at afterwards, so then nobody knows how many rows a page takes.
    let limit = if query.labels.is_empty() { format!(" LIMIT {}", limit + 1) } else { String::new() };
    let sql =
        format!("SELECT {COLUMNS} FROM freehold.resources WHERE {conditions} ORDER BY id {order}{limit}");
    (sql, values)
}

fn has_labels(row: &Row, query: &Query) -> Result<bool, StoreError> {
    if query.labels.is_empty() {
        return Ok(true);
    }
    let text: &str = row.try_get(3).map_err(broken)?;
    let labels: std::collections::BTreeMap<String, String> = crate::row::json("labels", text)?;
    Ok(query.labels.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

fn decode(row: &Row) -> Result<AnyResource, StoreError> {
    parts(row).map_err(broken)?.decode()
}

/// The event in a row of [`crate::log::COLUMNS`].
pub(super) fn decode_event(row: &Row) -> Result<Event, StoreError> {
    let text = |index| row.try_get::<usize, &str>(index).map_err(broken);
    let parts = crate::log::Parts {
        seq: row.try_get(0).map_err(broken)?,
        time: text(1)?,
        actor: text(2)?,
        request: text(3)?,
        subject: text(4)?,
        what: text(5)?,
        data: text(6)?,
        hash: row.try_get(7).map_err(broken)?,
    };
    parts.decode()
}

fn broken(error: Error) -> StoreError {
    StoreError::Engine(engine(&error))
}
