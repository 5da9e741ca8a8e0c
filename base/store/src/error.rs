//! What can go wrong with a store as a whole. A single commit or read fails with the errors of the
//! `Store` port instead.

use freehold_model::Seq;
use std::path::PathBuf;

/// A store that could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "{path} is in use by another Freehold ({holder}): stop that one first, or use another data directory"
    )]
    InUse {
        /// The database.
        path: PathBuf,
        /// Who has it open, as far as it is known.
        holder: String,
    },
    /// A newer Freehold wrote it.
    #[error(
        "{path} has schema {found}, and this Freehold knows schemas up to {known}: \
         start the newer Freehold that wrote it, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema of this program.
        known: i64,
    },
    /// It is a SQLite database of something else.
    #[error("{path} is a database of another program: move it away, or use another data directory")]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A file could not be made, read or locked.
    #[error("cannot open {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("cannot open {path}: {source}")]
    Engine {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
}

/// A copy of a database that came to nothing; nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is something where the copy should be.
    #[error("{path} is there already: nothing is written over")]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// No file can be of that name.
    #[error("{path} is no name for a file that SQLite can write")]
    Name {
        /// The place.
        path: PathBuf,
    },
    /// What was to be copied is not ours, or newer than this program.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What was to be copied does not hold together.
    #[error("{path} is damaged: {problem}")]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file could not be made or synced.
    #[error("cannot write {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("cannot copy {path}: {source}")]
    Engine {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
}

/// An event log that does not hold together.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The first row that is not as it was committed.
    #[error(
        "event {seq} {problem}: the log was cut or edited from here on; compare it with a backup \
         before trusting anything after event {}", seq.saturating_sub(1)
    )]
    Broken {
        /// Its place in the log.
        seq: Seq,
        /// What is wrong with it.
        problem: String,
    },
    /// The log could not be read.
    #[error("the event log cannot be read: {0}")]
    Engine(String),
}
