//! PostgreSQL as the source and as the target of [`crate::copy`].

use super::{
    connect::{PostgresOptions, Session},
    error::{PostgresError, say},
    pool::Engine,
    schema,
};
use crate::copy::{Cell, CopyError, Row, Side, Table, Target, Type};
use freehold_model::{Link, Seq};
use futures::executor::block_on;
use std::time::{Duration, Instant};
use tokio_postgres::{Error, Row as Line, types::ToSql};

/// So long the server may take to forget a connection that was closed.
const LEAVING: Duration = Duration::from_secs(2);

/// A database that no Freehold has open meanwhile.
pub(crate) struct CopySource {
    session: Session,
    place: String,
    /// Drives the connection.
    _engine: Engine,
}

/// A database that no Freehold opens before the copy is whole.
pub(crate) struct CopyTarget(CopySource);

impl CopySource {
    pub(crate) fn open(options: &PostgresOptions) -> Result<CopySource, CopyError> {
        CopySource::refuse_all(options)?;
        CopySource::snapshot(options)
    }

    pub(crate) fn refuse_all(options: &PostgresOptions) -> Result<(), CopyError> {
        CopySource::connect(options)?.refuse_users()
    }

    /// As of now, whoever goes on working on it.
    pub(crate) fn snapshot(options: &PostgresOptions) -> Result<CopySource, CopyError> {
        let source = CopySource::connect(options)?;
        let place = source.place.clone();
        match block_on(schema::found(&source.session, &place))? {
            0 => return Err(CopyError::Empty(place)),
            found if found < schema::current() => return Err(CopyError::Older(place)),
            found if found > schema::current() => {
                return Err(PostgresError::Newer { place, found, known: schema::current() }.into());
            }
            _ => {}
        }
        source.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        Ok(source)
    }

    fn connect(options: &PostgresOptions) -> Result<CopySource, CopyError> {
        let place = options.place().to_owned();
        let broken = |problem: String| CopyError::Engine { place: place.clone(), problem };
        let engine = Engine::start().map_err(|error| broken(error.to_string()))?;
        let connected = {
            let _within = engine.handle().enter();
            block_on(options.connect())
        };
        let session = connected.map_err(|error| PostgresError::of(&place, &error))?;
        Ok(CopySource { session, place, _engine: engine })
    }

    /// Every Freehold signs its connections. One that has just stopped is forgotten by the server in a moment.
    fn refuse_users(&mut self) -> Result<(), CopyError> {
        let sql = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()
                   AND pid <> pg_backend_pid() AND application_name LIKE 'freehold %' ORDER BY 1";
        let until = Instant::now() + LEAVING;
        let holders = loop {
            let users = self.query(sql, &[])?;
            let holders: Vec<String> = users.iter().map(|row| row.get(0)).collect();
            if holders.is_empty() || Instant::now() >= until {
                break holders;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        match holders.as_slice() {
            [] => Ok(()),
            _ => Err(CopyError::InUse {
                place: self.place.clone(),
                holder: holders.join(", ").replace("freehold", "process"),
            }),
        }
    }

    fn query(&mut self, sql: &str, with: &[&(dyn ToSql + Sync)]) -> Result<Vec<Line>, CopyError> {
        let rows = async { self.session.client.query(&self.session.prepare(sql).await?, with).await };
        block_on(rows).map_err(|error| self.failed(&error))
    }

    fn batch(&self, sql: &str) -> Result<(), CopyError> {
        block_on(self.session.client.batch_execute(sql)).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &Error) -> CopyError {
        CopyError::Engine { place: self.place.clone(), problem: say(error) }
    }
}

impl Side for CopySource {
    fn head(&mut self) -> Result<Link, CopyError> {
        // Not the table `head`, which a copy has written only in the end.
        let rows = self.query("SELECT seq, hash FROM freehold.events ORDER BY seq DESC LIMIT 1", &[])?;
        let link =
            |row: &Line| Link { seq: row.get::<_, i64>(0) as Seq, hash: hex::encode(row.get::<_, &[u8]>(1)) };
        Ok(rows.first().map_or_else(Link::genesis, link))
    }

    fn read(&mut self, table: &Table, after: Option<&[Cell]>, limit: usize) -> Result<Vec<Row>, CopyError> {
        let (columns, key) = (table.names(), table.key_names());
        let after = after.unwrap_or_default();
        let numbered: Vec<String> = (1..=after.len()).map(|n| format!("${n}")).collect();
        let beyond = match after {
            [] => String::new(),
            _ => format!("WHERE ({key}) > ({})", numbered.join(", ")),
        };
        let sql =
            format!("SELECT {columns} FROM freehold.{} {beyond} ORDER BY {key} LIMIT {limit}", table.name);
        let with: Vec<&(dyn ToSql + Sync)> = after.iter().map(value).collect();
        let rows = self.query(&sql, &with)?;
        rows.iter()
            .map(|row| cells(table, row, table.columns.len()).map_err(|error| self.failed(&error)))
            .collect()
    }

    fn last_key(&mut self, table: &Table) -> Result<Option<Row>, CopyError> {
        let key = table.key_names();
        let descending = key.replace(", ", " DESC, ");
        let sql = format!("SELECT {key} FROM freehold.{} ORDER BY {descending} DESC LIMIT 1", table.name);
        let rows = self.query(&sql, &[])?;
        rows.first().map(|row| cells(table, row, table.key)).transpose().map_err(|error| self.failed(&error))
    }
}

impl CopyTarget {
    pub(crate) fn open(options: &PostgresOptions) -> Result<CopyTarget, CopyError> {
        let mut target = CopySource::connect(options)?;
        target.refuse_users()?;
        block_on(schema::prepare(&target.session, &target.place))?;
        Ok(CopyTarget(target))
    }
}

impl Side for CopyTarget {
    fn head(&mut self) -> Result<Link, CopyError> {
        self.0.head()
    }

    fn read(&mut self, table: &Table, after: Option<&[Cell]>, limit: usize) -> Result<Vec<Row>, CopyError> {
        self.0.read(table, after, limit)
    }

    fn last_key(&mut self, table: &Table) -> Result<Option<Row>, CopyError> {
        self.0.last_key(table)
    }
}

impl Target for CopyTarget {
    fn begin(&mut self, source: &Link) -> Result<Option<Link>, CopyError> {
        let begun = self.0.query("SELECT to_regclass('freehold.copying') IS NOT NULL", &[])?;
        if begun[0].get(0) {
            let noted = self.0.query("SELECT seq, hash FROM freehold.copying", &[])?;
            let link = |row: &Line| Link { seq: row.get::<_, i64>(0) as Seq, hash: row.get(1) };
            return Ok(noted.first().map(link));
        }
        let sql = "SELECT EXISTS (SELECT FROM freehold.resources) OR EXISTS (SELECT FROM freehold.events)";
        if self.0.query(sql, &[])?[0].get(0) {
            return Err(CopyError::Taken(self.0.place.clone()));
        }
        let Link { seq, hash } = source;
        self.0.batch(&format!(
            "BEGIN; CREATE TABLE freehold.copying (seq bigint NOT NULL, hash text NOT NULL);
             INSERT INTO freehold.copying VALUES ({seq}, '{hash}'); COMMIT"
        ))?;
        Ok(None)
    }

    fn write(&mut self, table: &Table, rows: Vec<Row>) -> Result<(), CopyError> {
        let types = table.columns.iter().enumerate().map(|(n, column)| {
            let of = match column.of {
                Type::Text => "text",
                Type::Number => "bigint",
                Type::Bytes => "bytea",
            };
            format!("${}::{of}[]", n + 1)
        });
        let arrays = types.collect::<Vec<_>>().join(", ");
        let sql =
            format!("INSERT INTO freehold.{} ({}) SELECT * FROM unnest({arrays})", table.name, table.names());
        let mut columns: Vec<Array> = table.columns.iter().map(|column| Array::of(column.of)).collect();
        for row in rows {
            for (array, cell) in columns.iter_mut().zip(row) {
                array.push(cell);
            }
        }
        let with: Vec<&(dyn ToSql + Sync)> = columns.iter().map(Array::value).collect();
        self.0.query(&sql, &with).map(drop)
    }

    fn finish(self: Box<Self>, end: &Link) -> Result<(), CopyError> {
        let Link { seq, hash } = end;
        self.0.batch(&format!(
            "BEGIN; UPDATE freehold.head SET seq = {seq}, hash = decode('{hash}', 'hex');
             DROP TABLE freehold.copying; COMMIT; ANALYZE"
        ))
    }

    fn way_out(&self) -> String {
        format!("drop the schema `freehold` in {} and copy again", self.0.place)
    }
}

/// The values of one column.
enum Array {
    Text(Vec<Option<String>>),
    Number(Vec<i64>),
    Bytes(Vec<Vec<u8>>),
}

impl Array {
    fn of(of: Type) -> Array {
        match of {
            Type::Text => Array::Text(vec![]),
            Type::Number => Array::Number(vec![]),
            Type::Bytes => Array::Bytes(vec![]),
        }
    }

    /// A value of another type than the column's, which no engine stores, would be missed by the proof.
    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Array::Text(texts), Cell::Text(text)) => texts.push(Some(text)),
            (Array::Text(texts), Cell::Absent) => texts.push(None),
            (Array::Number(numbers), Cell::Number(number)) => numbers.push(number),
            (Array::Bytes(all), Cell::Bytes(bytes)) => all.push(bytes),
            _ => {}
        }
    }

    fn value(&self) -> &(dyn ToSql + Sync) {
        match self {
            Array::Text(texts) => texts,
            Array::Number(numbers) => numbers,
            Array::Bytes(all) => all,
        }
    }
}

fn cells(table: &Table, row: &Line, count: usize) -> Result<Row, Error> {
    let cell = |n: usize| {
        Ok(match table.columns[n].of {
            Type::Text => row.try_get::<_, Option<String>>(n)?.map_or(Cell::Absent, Cell::Text),
            Type::Number => Cell::Number(row.try_get(n)?),
            Type::Bytes => Cell::Bytes(row.try_get(n)?),
        })
    };
    (0..count).map(cell).collect()
}

fn value(cell: &Cell) -> &(dyn ToSql + Sync) {
    match cell {
        Cell::Absent => &None::<String>,
        Cell::Text(text) => text,
        Cell::Number(number) => number,
        Cell::Bytes(bytes) => bytes,
    }
}
