//! SQLite as the source and as the target of [`crate::copy`].

use super::{backup::keep, lock::Lock, log, schema};
use crate::{
    BackupError, OpenError,
    copy::{Cell, CopyError, Row, Side, Table, Target},
};
use freehold_model::{Link, Seq};
use rusqlite::{Connection, OptionalExtension, params_from_iter, types::Value};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A database that nobody has open meanwhile.
pub(crate) struct CopySource {
    db: Connection,
    path: PathBuf,
    _lock: Lock,
}

/// A file beside the place where the copy will be, until it is whole.
pub(crate) struct CopyTarget {
    side: CopySource,
    to: PathBuf,
}

impl CopySource {
    pub(crate) fn open(path: &Path) -> Result<CopySource, CopyError> {
        if !path.exists() {
            return Err(CopyError::Empty(path.display().to_string()));
        }
        let lock = Lock::take(path)?;
        let failed = |source| OpenError::Engine { path: path.to_owned(), source };
        let db = schema::open_reader(path).map_err(failed)?;
        if schema::check(&db, path)? < schema::current() {
            return Err(CopyError::Older(path.display().to_string()));
        }
        Ok(CopySource { db, path: path.to_owned(), _lock: lock })
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> CopyError + use<> {
        let place = self.path.display().to_string();
        move |error| CopyError::Engine { place: place.clone(), problem: error.to_string() }
    }
}

impl Side for CopySource {
    fn head(&mut self) -> Result<Link, CopyError> {
        log::head(&self.db).map_err(self.failed())
    }

    fn read(&mut self, table: &Table, after: Option<&[Cell]>, limit: usize) -> Result<Vec<Row>, CopyError> {
        let (columns, key) = (table.names(), table.key_names());
        let after = after.unwrap_or_default();
        let beyond = if after.is_empty() {
            String::new()
        } else {
            format!("WHERE ({key}) > ({})", vec!["?"; table.key].join(", "))
        };
        let sql = format!("SELECT {columns} FROM {} {beyond} ORDER BY {key} LIMIT {limit}", table.name);
        let failed = self.failed();
        let mut statement = self.db.prepare_cached(&sql).map_err(&failed)?;
        let row = |row: &rusqlite::Row<'_>| (0..table.columns.len()).map(|n| Ok(cell(row.get(n)?))).collect();
        let rows = statement.query_map(params_from_iter(after.iter().map(value)), row).map_err(&failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    fn last_key(&mut self, table: &Table) -> Result<Option<Row>, CopyError> {
        let key = table.key_names();
        let descending: Vec<String> =
            table.columns[..table.key].iter().map(|column| format!("{} DESC", column.name)).collect();
        let sql = format!("SELECT {key} FROM {} ORDER BY {} LIMIT 1", table.name, descending.join(", "));
        let row = |row: &rusqlite::Row<'_>| (0..table.key).map(|n| Ok(cell(row.get(n)?))).collect();
        self.db.query_row(&sql, [], row).optional().map_err(self.failed())
    }
}

impl CopyTarget {
    pub(crate) fn open(to: &Path) -> Result<CopyTarget, CopyError> {
        if to.exists() {
            return Err(CopyError::Taken(to.display().to_string()));
        }
        let mut name = to.file_name().ok_or_else(|| BackupError::Name { path: to.to_owned() })?.to_owned();
        name.push(".copying");
        let path = to.with_file_name(name);
        let lock = Lock::take(&path)?;
        let db = schema::open_writer(&path)?;
        Ok(CopyTarget { side: CopySource { db, path, _lock: lock }, to: to.to_owned() })
    }

    /// Removes what an earlier attempt left.
    pub(crate) fn forget(to: &Path) -> Result<(), CopyError> {
        match fs::remove_file(draft(to)?) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(BackupError::File { path: to.to_owned(), source }.into())
            }
            _ => Ok(()),
        }
    }
}

fn draft(to: &Path) -> Result<PathBuf, CopyError> {
    let mut name = to.file_name().ok_or_else(|| BackupError::Name { path: to.to_owned() })?.to_owned();
    name.push(".copying");
    Ok(to.with_file_name(name))
}

impl Side for CopyTarget {
    fn head(&mut self) -> Result<Link, CopyError> {
        self.side.head()
    }

    fn read(&mut self, table: &Table, after: Option<&[Cell]>, limit: usize) -> Result<Vec<Row>, CopyError> {
        self.side.read(table, after, limit)
    }

    fn last_key(&mut self, table: &Table) -> Result<Option<Row>, CopyError> {
        self.side.last_key(table)
    }
}

impl Target for CopyTarget {
    fn begin(&mut self, source: &Link) -> Result<Option<Link>, CopyError> {
        let failed = self.side.failed();
        let db = &self.side.db;
        db.execute_batch(
            "CREATE TABLE IF NOT EXISTS copying (seq INTEGER NOT NULL, hash TEXT NOT NULL) STRICT",
        )
        .map_err(&failed)?;
        let noted = db.query_row("SELECT seq, hash FROM copying", [], |row| {
            Ok(Link { seq: row.get::<_, i64>(0)? as Seq, hash: row.get(1)? })
        });
        let noted = noted.optional().map_err(&failed)?;
        if noted.is_none() {
            let note = "INSERT INTO copying (seq, hash) VALUES (?1, ?2)";
            db.execute(note, (source.seq as i64, &source.hash)).map_err(failed)?;
        }
        Ok(noted)
    }

    fn write(&mut self, table: &Table, rows: Vec<Row>) -> Result<(), CopyError> {
        let failed = self.side.failed();
        let places = vec!["?"; table.columns.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({places})", table.name, table.names());
        let transaction = self.side.db.transaction().map_err(&failed)?;
        {
            let mut insert = transaction.prepare_cached(&sql).map_err(&failed)?;
            for row in &rows {
                insert.execute(params_from_iter(row.iter().map(value))).map_err(&failed)?;
            }
        }
        transaction.commit().map_err(failed)
    }

    fn finish(self: Box<Self>, _end: &Link) -> Result<(), CopyError> {
        let CopyTarget { side, to } = *self;
        let failed = side.failed();
        side.db.execute_batch("DROP TABLE copying").map_err(&failed)?;
        let CopySource { db, path, _lock } = side;
        // The last connection to go takes the journal with it.
        db.close().map_err(|(_, error)| failed(error))?;
        keep(&path, &to)?;
        let _ = fs::remove_file(&path);
        Ok(())
    }

    fn way_out(&self) -> String {
        format!("remove {} and copy again", self.side.path.display())
    }
}

fn cell(value: Value) -> Cell {
    match value {
        Value::Null => Cell::Absent,
        Value::Integer(number) => Cell::Number(number),
        Value::Real(number) => Cell::Text(number.to_string()),
        Value::Text(text) => Cell::Text(text),
        Value::Blob(bytes) => Cell::Bytes(bytes),
    }
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Absent => Value::Null,
        Cell::Number(number) => Value::Integer(*number),
        Cell::Text(text) => Value::Text(text.clone()),
        Cell::Bytes(bytes) => Value::Blob(bytes.clone()),
    }
}
