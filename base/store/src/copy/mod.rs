//! Copies a whole store, row by row, between engines: `freehold state copy`.
//!
//! Rows go over table by table in order of their keys, a batch in one transaction, so whoever was interrupted
//! goes on after the last key that arrived. Invariants: a store is not used before its copy was proved equal
//! by the hashes of every table, and nothing is written over.

mod table;

use crate::{BackupError, ChainError, OpenError, PostgresError, PostgresOptions, postgres, sqlite};
use freehold_model::{Anchor, Broken, Link, Seq};
use freehold_reconcile::StoreError;
use serde::Serialize;
use std::{
    fmt,
    path::{Path, PathBuf},
};
pub(crate) use table::{Cell, Row, TABLES, Table, Type};
use table::{Digest, decode_anchor, decode_event};

/// Rows that go over in one transaction.
const BATCH: usize = 1000;

/// A store that is not in use.
#[derive(Debug, Clone)]
pub enum Place {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(Box<PostgresOptions>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Sqlite(path) => write!(f, "{}", path.display()),
            Place::Postgres(options) => f.write_str(options.place()),
        }
    }
}

/// What was copied, and by what it is proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Rows per table, in the order of copying.
    pub rows: Vec<(&'static str, u64)>,
    /// The SHA-256 over all rows, in hex: the same for equal stores in whatever engine.
    pub hash: String,
    /// The first event of the log, behind the anchor if it was pruned.
    pub first: Seq,
    /// The end of the event log, walked from there in the copy.
    pub events: Seq,
}

impl Copied {
    /// How many events the log holds.
    pub fn held(&self) -> u64 {
        (self.events + 1).saturating_sub(self.first)
    }
}

/// A copy that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// SQLite could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file could not be put in its place.
    #[error(transparent)]
    File(#[from] BackupError),
    /// PostgreSQL could not be opened.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// There is nothing to copy.
    #[error("{0} holds no state of a Freehold: name the store to copy from first, then the one to copy to")]
    Empty(String),
    /// Its tables are of an older Freehold.
    #[error("{0} was written by an older Freehold: start this one over it once, stop it, and copy then")]
    Older(String),
    /// There is state where the copy should be.
    #[error("{0} holds state already, and nothing is written over: copy to an empty one")]
    Taken(String),
    /// Somebody works on it.
    #[error("{place} is in use by {holder}: stop every Freehold that works on it first")]
    InUse {
        /// Which store.
        place: String,
        /// Who.
        holder: String,
    },
    /// The source is another one, or has gone on, since the copy began.
    #[error(
        "{to} holds a part of another state than {from} has now: that one was changed meanwhile, or it is not \
         the same: {out}"
    )]
    Changed {
        /// The source.
        from: String,
        /// The target.
        to: String,
        /// The way out.
        out: String,
    },
    /// What arrived is not what was sent.
    #[error("the copies of table `{table}` differ, so {to} is not to be used: {out}")]
    Differs {
        /// The first that differs.
        table: &'static str,
        /// The target.
        to: String,
        /// The way out.
        out: String,
    },
    /// The log of the source does not hold together.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// An engine failed at something; the copy can be taken up again.
    #[error("{place}: {problem}; the same command goes on from there")]
    Engine {
        /// Which store.
        place: String,
        /// What it said.
        problem: String,
    },
}

impl From<StoreError> for CopyError {
    fn from(error: StoreError) -> CopyError {
        CopyError::Chain(ChainError::Engine(error.to_string()))
    }
}

impl From<Broken> for CopyError {
    fn from(Broken { seq, problem }: Broken) -> CopyError {
        CopyError::Chain(ChainError::Broken { seq, problem })
    }
}

/// One side: a store that only the copying has open.
pub(crate) trait Side {
    /// The end of its log.
    fn head(&mut self) -> Result<Link, CopyError>;

    /// At most `limit` rows whose keys come after `after`, in order of keys.
    fn read(&mut self, table: &Table, after: Option<&[Cell]>, limit: usize) -> Result<Vec<Row>, CopyError>;

    /// The greatest key.
    fn last_key(&mut self, table: &Table) -> Result<Option<Row>, CopyError>;
}

/// The side that is written.
pub(crate) trait Target: Side {
    /// Notes whose copy this becomes; answers what was noted when it was begun earlier.
    fn begin(&mut self, source: &Link) -> Result<Option<Link>, CopyError>;

    /// Adds rows, all or none.
    fn write(&mut self, table: &Table, rows: Vec<Row>) -> Result<(), CopyError>;

    /// Makes it a store like any other.
    fn finish(self: Box<Self>, end: &Link) -> Result<(), CopyError>;

    /// How to be rid of what is there.
    fn way_out(&self) -> String;
}

/// Copies the store at `from` to `to`, where there may be nothing but an earlier attempt at the same copy.
/// `said` is told after each batch which table it was and how many rows of it went over. Blocks.
///
/// # Errors
/// When a side is in use, cannot be opened or fails; when there is nothing at `from` or something at `to`; when
/// the two differ in the end. The source is never changed.
pub fn copy(from: &Place, to: &Place, said: impl FnMut(&'static str, u64)) -> Result<Copied, CopyError> {
    let source: Box<dyn Side> = match from {
        Place::Sqlite(path) => Box::new(sqlite::CopySource::open(path)?),
        Place::Postgres(options) => Box::new(postgres::CopySource::open(options)?),
    };
    carry_all(source, from, to, said)
}

/// Copies a database as of one moment while it may be in use, to a new SQLite file. Blocks.
///
/// # Errors
/// As [`copy`].
pub fn backup(from: &PostgresOptions, to: &Path) -> Result<Copied, CopyError> {
    // Of another moment than this one.
    sqlite::CopyTarget::forget(to)?;
    let source = Box::new(postgres::CopySource::snapshot(from)?);
    let (from, to) = (Place::Postgres(Box::new(from.clone())), Place::Sqlite(to.to_owned()));
    carry_all(source, &from, &to, |_, _| {})
}

/// Refuses a database that any Freehold has open, be it a whole one or a control plane beside others. Blocks.
///
/// # Errors
/// When one has, or the database cannot be asked.
pub fn refuse_users(of: &PostgresOptions) -> Result<(), CopyError> {
    postgres::CopySource::refuse_all(of)
}

fn carry_all(
    mut source: Box<dyn Side>,
    from: &Place,
    to: &Place,
    mut said: impl FnMut(&'static str, u64),
) -> Result<Copied, CopyError> {
    let begun = source.head()?;
    if begun == Link::genesis() {
        return Err(CopyError::Empty(from.to_string()));
    }
    let mut target: Box<dyn Target> = match to {
        Place::Sqlite(path) => Box::new(sqlite::CopyTarget::open(path)?),
        Place::Postgres(options) => Box::new(postgres::CopyTarget::open(options)?),
    };
    let changed = |target: &dyn Target| CopyError::Changed {
        from: from.to_string(),
        to: to.to_string(),
        out: target.way_out(),
    };
    if target.begin(&begun)?.is_some_and(|noted| noted != begun) {
        return Err(changed(&*target));
    }
    for table in TABLES {
        carry(table, &mut *source, &mut *target, &mut said)?;
    }
    let copied = prove(&mut *source, &mut *target, to)?;
    if source.head()? != begun {
        return Err(changed(&*target));
    }
    target.finish(&begun)?;
    Ok(copied)
}

/// Copies what is missing of one table.
fn carry(
    table: &Table,
    source: &mut dyn Side,
    target: &mut dyn Target,
    said: &mut impl FnMut(&'static str, u64),
) -> Result<(), CopyError> {
    let mut last = target.last_key(table)?;
    let mut gone = 0;
    loop {
        let rows = source.read(table, last.as_deref(), BATCH)?;
        let Some(end) = rows.last() else { return Ok(()) };
        last = Some(table.key_of(end));
        gone += rows.len() as u64;
        target.write(table, rows)?;
        said(table.name, gone);
    }
}

/// Reads both sides through, compares them and walks the log.
fn prove(source: &mut dyn Side, target: &mut dyn Target, to: &Place) -> Result<Copied, CopyError> {
    let (mut whole, mut rows, mut end) = (Digest::default(), vec![], Link::genesis());
    let (mut first, mut unsaid) = (1, None);
    for table in TABLES {
        let (sent, _) = digest(table, source, &mut |_| Ok(()))?;
        let (arrived, count) = digest(table, target, &mut |row| {
            match table.name {
                "anchor" => {
                    let anchor = decode_anchor(row)?;
                    (first, end, unsaid) = (anchor.seq + 1, anchor.link(), Some(anchor));
                }
                "events" => {
                    let event = decode_event(row)?;
                    end = end.follow(&event)?;
                    unsaid = unsaid.take().filter(|anchor: &Anchor| !anchor.is_said_by(&event));
                }
                _ => {}
            }
            Ok(())
        })?;
        if sent != arrived {
            let out = target.way_out();
            return Err(CopyError::Differs { table: table.name, to: to.to_string(), out });
        }
        whole.add(&[Cell::Text(table.name.to_owned()), Cell::Text(arrived)]);
        rows.push((table.name, count));
    }
    unsaid.map_or(Ok(()), |anchor| Err(anchor.unsaid()))?;
    Ok(Copied { rows, hash: whole.hex(), first, events: end.seq })
}

/// The hash of a table, and how many rows it has.
fn digest<S: Side + ?Sized>(
    table: &Table,
    side: &mut S,
    each: &mut dyn FnMut(&Row) -> Result<(), CopyError>,
) -> Result<(String, u64), CopyError> {
    let (mut digest, mut last, mut count) = (Digest::default(), None, 0);
    loop {
        let rows = side.read(table, last.as_deref(), BATCH)?;
        let Some(end) = rows.last() else { return Ok((digest.hex(), count)) };
        last = Some(table.key_of(end));
        count += rows.len() as u64;
        for row in &rows {
            digest.add(row);
            each(row)?;
        }
    }
}
