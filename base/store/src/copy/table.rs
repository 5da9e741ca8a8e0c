//! The tables that every engine has, and rows of them that belong to none.

use crate::{log::Parts, prune::AnchorParts};
use freehold_model::{Anchor, Event};
use freehold_reconcile::StoreError;
use sha2::{Digest as _, Sha256};

/// A table, its columns in order, the first of which are its key.
pub(crate) struct Table {
    pub name: &'static str,
    pub columns: &'static [Column],
    /// How many columns are its key.
    pub key: usize,
}

pub(crate) struct Column {
    pub name: &'static str,
    pub of: Type,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// May be absent.
    Text,
    Number,
    Bytes,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Absent,
    Text(String),
    Number(i64),
    Bytes(Vec<u8>),
}

/// As long as its table has columns; a key is as long as the table's key.
pub(crate) type Row = Vec<Cell>;

const fn text(name: &'static str) -> Column {
    Column { name, of: Type::Text }
}

const fn number(name: &'static str) -> Column {
    Column { name, of: Type::Number }
}

/// Everything that is copied.
pub(crate) const TABLES: &[Table] = &[
    Table {
        name: "resources",
        columns: &[
            text("id"),
            text("kind"),
            text("parent"),
            text("name"),
            text("labels"),
            number("generation"),
            number("version"),
            text("created"),
            text("deleting"),
            text("spec"),
            text("status"),
        ],
        key: 1,
    },
    Table { name: "claims", columns: &[text("scope"), text("key"), text("owner")], key: 2 },
    Table { name: "idempotency", columns: &[text("key"), text("time"), text("answer")], key: 1 },
    Table { name: "cursors", columns: &[text("name"), number("seq")], key: 1 },
    // Before the events, which are walked from there.
    Table {
        name: "anchor",
        columns: &[
            number("seq"),
            Column { name: "hash", of: Type::Bytes },
            number("said"),
            text("time"),
            text("policy"),
        ],
        key: 1,
    },
    Table { name: "tombstones", columns: &[text("id"), text("parent")], key: 1 },
    // As `crate::log::COLUMNS` has them.
    Table {
        name: "events",
        columns: &[
            number("seq"),
            text("time"),
            text("actor"),
            text("request"),
            text("subject"),
            text("what"),
            text("data"),
            Column { name: "hash", of: Type::Bytes },
        ],
        key: 1,
    },
];

impl Table {
    /// The names of its columns, separated by commas.
    pub(crate) fn names(&self) -> String {
        list(self.columns)
    }

    /// The same of its key.
    pub(crate) fn key_names(&self) -> String {
        list(&self.columns[..self.key])
    }

    pub(crate) fn key_of(&self, row: &Row) -> Row {
        row[..self.key].to_vec()
    }
}

fn list(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    names.join(", ")
}

/// A SHA-256 over rows: each value with its type and its length before it.
#[derive(Default)]
pub(super) struct Digest(Sha256);

impl Digest {
    pub(super) fn add(&mut self, row: &[Cell]) {
        for cell in row {
            let (of, bytes) = match cell {
                Cell::Absent => (0_u8, vec![]),
                Cell::Text(text) => (1, text.as_bytes().to_vec()),
                Cell::Number(number) => (2, number.to_be_bytes().to_vec()),
                Cell::Bytes(bytes) => (3, bytes.clone()),
            };
            self.0.update([of]);
            self.0.update((bytes.len() as u64).to_be_bytes());
            self.0.update(bytes);
        }
    }

    pub(super) fn hex(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// The anchor in a row of the table `anchor`.
pub(super) fn decode_anchor(row: &Row) -> Result<Anchor, StoreError> {
    let [Cell::Number(seq), Cell::Bytes(hash), Cell::Number(said), Cell::Text(time), Cell::Text(policy)] =
        row.as_slice()
    else {
        return Err(StoreError::Engine("a row of the anchor is not one".into()));
    };
    AnchorParts { seq: *seq, hash, said: *said, time, policy }.decode()
}

/// The event in a row of the table `events`.
pub(super) fn decode_event(row: &Row) -> Result<Event, StoreError> {
    let [
        Cell::Number(seq),
        Cell::Text(time),
        Cell::Text(actor),
        Cell::Text(request),
        Cell::Text(subject),
        Cell::Text(what),
        Cell::Text(data),
        Cell::Bytes(hash),
    ] = row.as_slice()
    else {
        return Err(StoreError::Engine("a row of the log is not one".into()));
    };
    Parts { seq: *seq, time, actor, request, subject, what, data, hash }.decode()
}
