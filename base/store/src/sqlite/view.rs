//! A snapshot: a read transaction on a connection of its own.

use super::{
    log,
    pool::Reader,
    prune,
    row::{self, broken},
};
use crate::row::{COLUMNS, parent_text, parse};
use freehold_model::{Anchor, AnyId, AnyResource, Claim, Event, Page, Query, Seq, Tombstone};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

/// Everything committed before it was made, and nothing after. Dropping it frees its connection.
pub(super) struct SqliteView {
    reader: Reader,
    version: Seq,
}

impl SqliteView {
    /// Starts a read transaction and fixes what it sees by a first read.
    pub(super) fn begin(reader: Reader) -> rusqlite::Result<SqliteView> {
        reader.db().prepare_cached("BEGIN")?.execute([])?;
        let mut last = reader.db().prepare_cached("SELECT coalesce(max(seq), 0) FROM events")?;
        let version = last.query_row([], |row| row.get::<_, i64>(0))? as Seq;
        drop(last);
        Ok(SqliteView { reader, version })
    }

    pub(super) fn db(&self) -> &Connection {
        self.reader.db()
    }
}

impl View for SqliteView {
    fn get(&self, id: AnyId) -> Result<Option<AnyResource>, StoreError> {
        let sql = format!("SELECT {} FROM resources WHERE id = ?1", COLUMNS);
        let mut statement = self.db().prepare_cached(&sql).map_err(broken)?;
        let mut rows = statement.query([id.to_string()]).map_err(broken)?;
        rows.next().map_err(broken)?.map(row::decode).transpose()
    }

    fn list(&self, query: &Query) -> Result<Page, StoreError> {
        let limit = query.limit.clamp(1, Query::MAX_LIMIT);
        let mut page = Page::default();
        let (sql, values) = selection(query);
        let mut statement = self.db().prepare_cached(&sql).map_err(broken)?;
        let values: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
        let mut rows = statement.query(values.as_slice()).map_err(broken)?;
        while let Some(found) = rows.next().map_err(broken)? {
            if !has_labels(found, query)? {
                continue;
            }
            if page.items.len() == limit {
                page.next = page.items.last().map(|item| item.id);
                break;
            }
            page.items.push(row::decode(found)?);
        }
        Ok(page)
    }

    fn claim(&self, scope: &str, key: &str) -> Result<Option<AnyId>, StoreError> {
        let sql = "SELECT owner FROM claims WHERE scope = ?1 AND key = ?2";
        let mut statement = self.db().prepare_cached(sql).map_err(broken)?;
        let owner = statement.query_row([scope, key], |row| row.get::<_, String>(0)).optional();
        owner.map_err(broken)?.map(|text| parse("id", &text)).transpose()
    }

    fn claims(&self, scope: &str) -> Result<Vec<Claim>, StoreError> {
        let sql = "SELECT key, owner FROM claims WHERE scope = ?1 ORDER BY key";
        let mut statement = self.db().prepare_cached(sql).map_err(broken)?;
        let mut rows = statement.query([scope]).map_err(broken)?;
        let mut claims = vec![];
        while let Some(row) = rows.next().map_err(broken)? {
            let owner: String = row.get(1).map_err(broken)?;
            let key = row.get(0).map_err(broken)?;
            claims.push(Claim { scope: scope.to_owned(), key, owner: parse("id", &owner)? });
        }
        Ok(claims)
    }

    fn events(&self, after: Seq, limit: usize, subject: Option<AnyId>) -> Result<Vec<Event>, StoreError> {
        let about = if subject.is_some() { "subject = ?3 AND" } else { "?3 IS NULL AND" };
        let sql = format!(
            "SELECT {} FROM events WHERE {about} seq > ?1 ORDER BY seq LIMIT ?2",
            crate::log::COLUMNS
        );
        let read = self.read_events(&sql, after, limit, subject)?;
        if subject.is_some() { Ok(read) } else { self.unbroken(after, read) }
    }

    fn last_events(&self, limit: usize, subject: Option<AnyId>) -> Result<Vec<Event>, StoreError> {
        let about = if subject.is_some() { "subject = ?3 AND" } else { "?3 IS NULL AND" };
        let sql = format!(
            "SELECT {} FROM events WHERE {about} seq > ?1 ORDER BY seq DESC LIMIT ?2",
            crate::log::COLUMNS
        );
        self.read_events(&sql, 0, limit, subject)
    }

    fn version(&self) -> Result<Seq, StoreError> {
        Ok(self.version)
    }

    fn anchor(&self) -> Result<Option<Anchor>, StoreError> {
        prune::anchor(self.db())
    }

    fn tombstone(&self, id: AnyId) -> Result<Option<Tombstone>, StoreError> {
        prune::buried(self.db(), id)
    }
}

impl SqliteView {
    /// How far consumer `name` has come.
    pub(super) fn cursor(&self, name: &str) -> Result<Seq, StoreError> {
        let sql = "SELECT seq FROM cursors WHERE name = ?1";
        let mut statement = self.db().prepare_cached(sql).map_err(broken)?;
        let seq = statement.query_row([name], |row| row.get::<_, i64>(0)).optional().map_err(broken)?;
        Ok(seq.unwrap_or(0) as Seq)
    }

    /// The greatest version of any resource. Reads all of them.
    pub(super) fn greatest_version(&self) -> Result<Seq, StoreError> {
        let sql = "SELECT coalesce(max(version), 0) FROM resources";
        let version = self.db().query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(broken)?;
        Ok(version as Seq)
    }

    fn read_events(
        &self,
        sql: &str,
        after: Seq,
        limit: usize,
        subject: Option<AnyId>,
    ) -> Result<Vec<Event>, StoreError> {
        let mut statement = self.db().prepare_cached(sql).map_err(broken)?;
        let subject = subject.map(|id| id.to_string());
        let (after, limit) = (clamped(after), i64::try_from(limit).unwrap_or(i64::MAX));
        let mut rows = statement.query(params![after, limit, subject]).map_err(broken)?;
        let mut events = vec![];
        while let Some(row) = rows.next().map_err(broken)? {
            events.push(log::decode(row)?);
        }
        Ok(events)
    }
}

fn clamped(seq: Seq) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// The rows that fit `query`, labels aside, in order of ids or in reverse.
///
/// Without parent and name the primary key gives them in order: a kind is a range of ids. With one of
/// them the index by name finds the few that fit, and they are sorted; the `+` keeps SQLite from walking
/// every id instead.
fn selection(query: &Query) -> (String, Vec<String>) {
    let prefix = query.kind.prefix();
    // Ids of a kind lie between `app_` and `` app` ``: the character after `_`.
    let (first, last) = (format!("{prefix}_"), format!("{prefix}`"));
    let after = query.after.map(|id| id.to_string());
    let (beyond, until, order, start, end) =
        if query.newest_first { ("<", ">", "DESC", last, first) } else { (">", "<", "ASC", first, last) };
    let mut values = vec![after.unwrap_or(start), end];
    let mut conditions = String::new();
    let mut also = |column: &str, value: String| {
        values.push(value);
        conditions += &format!(" AND {column} = ?{}", values.len());
    };
    let narrow = query.parent.is_some() || query.name.is_some();
    if narrow {
        also("kind", query.kind.name().to_owned());
    }
    if let Some(parent) = query.parent {
        also("parent", parent_text(Some(parent)));
    }
    if let Some(name) = &query.name {
        also("name", name.clone());
    }
    let id = if narrow { "+id" } else { "id" };
    let columns = COLUMNS;
    let range = format!("{id} {beyond} ?1 AND {id} {until} ?2");
    let sql = format!("SELECT {columns} FROM resources WHERE {range}{conditions} ORDER BY {id} {order}");
    (sql, values)
}

fn has_labels(found: &rusqlite::Row<'_>, query: &Query) -> Result<bool, StoreError> {
    if query.labels.is_empty() {
        return Ok(true);
    }
    let text = found.get_ref(3).and_then(|value| Ok(value.as_str()?)).map_err(broken)?;
    let labels: std::collections::BTreeMap<String, String> = serde_json::from_str(text).map_err(broken)?;
    Ok(query.labels.iter().all(|(key, value)| labels.get(key) == Some(value)))
}
