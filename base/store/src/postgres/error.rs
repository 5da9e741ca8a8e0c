//! Why a database could not be opened, with the way out. No message repeats the URL: it may hold a
//! password.

use tokio_postgres::{Error, error::SqlState};

/// A PostgreSQL store that could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The URL cannot be used.
    #[error(
        "the store's URL {problem}: write postgres://USER@HOST/DATABASE, or \
             postgres:///DATABASE?host=/run/postgresql for a unix socket"
    )]
    Url {
        /// What is wrong with it; never the URL itself.
        problem: String,
    },
    /// Nobody answers there.
    #[error("cannot connect to {place}: {problem}: start PostgreSQL, or name another with --store")]
    Unreachable {
        /// Where it was looked for.
        place: String,
        /// Why not.
        problem: String,
    },
    /// The server does not let this user in.
    #[error(
        "{place} refuses this user: {problem}: check the user and the password in the store's URL, and \
             the server's pg_hba.conf"
    )]
    Denied {
        /// Where.
        place: String,
        /// The server's words.
        problem: String,
    },
    /// There is no such database.
    #[error(
        "{place}: {problem}: make it, as in `createdb --owner USER --encoding UTF8 --template template0 NAME`"
    )]
    NoDatabase {
        /// Where.
        place: String,
        /// The server's words.
        problem: String,
    },
    /// The server is older than 15.
    #[error(
        "{place} is PostgreSQL {found}, and Freehold needs 15 or newer: upgrade the server (pg_upgrade, \
             or pg_dump and pg_restore), or name another with --store"
    )]
    TooOld {
        /// Where.
        place: String,
        /// Its version.
        found: String,
    },
    /// The database does not hold UTF-8.
    #[error(
        "{place} is encoded in {encoding}: make a database with `createdb --encoding UTF8 --template \
             template0 NAME` and name that one"
    )]
    Encoding {
        /// Where.
        place: String,
        /// Its encoding.
        encoding: String,
    },
    /// The server takes no writes.
    #[error("{place} is a standby and takes no writes: name the primary with --store, or promote this one")]
    Standby {
        /// Where.
        place: String,
    },
    /// The database is another program's.
    #[error(
        "{place} holds tables of another program ({found}): make a database for Freehold alone \
             (`createdb NAME`) and name that one"
    )]
    Foreign {
        /// Where.
        place: String,
        /// One of the tables.
        found: String,
    },
    /// A newer Freehold wrote it.
    #[error(
        "{place} has schema {found}, and this Freehold knows schemas up to {known}: start the newer \
             Freehold that wrote it, or restore a backup made before the upgrade"
    )]
    Newer {
        /// Where.
        place: String,
        /// Its schema.
        found: i64,
        /// The newest schema of this program.
        known: i64,
    },
    /// A copy of another store into it has not come to its end.
    #[error(
        "{place} is half of a copy: give the `freehold state copy` that began it again, which goes on where it was \
             interrupted, or drop the schema `freehold` there"
    )]
    Copying {
        /// Where.
        place: String,
    },
    /// The user may not make the tables.
    #[error(
        "{place}: this user may not make Freehold's tables ({problem}): make it the database's owner, as \
             in `ALTER DATABASE name OWNER TO user`"
    )]
    NotOwner {
        /// Where.
        place: String,
        /// The server's words.
        problem: String,
    },
    /// Another process works on it alone.
    #[error(
        "{place} is in use by another Freehold ({holder}): stop that one first, or name another database"
    )]
    InUse {
        /// Where.
        place: String,
        /// Who, as far as the server tells.
        holder: String,
    },
    /// The server failed at something.
    #[error("{place}: {problem}")]
    Engine {
        /// Where.
        place: String,
        /// What it said.
        problem: String,
    },
}

impl PostgresError {
    /// What a failed connection or statement means to a person.
    pub(super) fn of(place: &str, error: &Error) -> PostgresError {
        let (place, problem) = (place.to_owned(), say(error));
        let Some(code) = error.code() else {
            // The library asks for a password, or does not know what the server asks for.
            let kind = error.to_string();
            let refused = kind.starts_with("authentication") || kind.starts_with("invalid configuration");
            return match refused {
                true => PostgresError::Denied { place, problem },
                false => PostgresError::Unreachable { place, problem },
            };
        };
        match code {
            &SqlState::INVALID_CATALOG_NAME => PostgresError::NoDatabase { place, problem },
            &SqlState::INSUFFICIENT_PRIVILEGE => PostgresError::NotOwner { place, problem },
            code if code.code().starts_with("28") => PostgresError::Denied { place, problem },
            code if code.code().starts_with("57P") => PostgresError::Unreachable { place, problem },
            _ => PostgresError::Engine { place, problem },
        }
    }
}

/// The server's message alone, or the whole chain of causes of what went wrong on the way to it.
pub(super) fn say(error: &Error) -> String {
    if let Some(told) = error.as_db_error() {
        return told.message().to_owned();
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = deeper.source();
    }
    text
}

/// Whether the connection is of no more use, and so what was being asked may have happened or not.
pub(super) fn is_lost(error: &Error) -> bool {
    use tokio_postgres::error::Severity;
    match error.as_db_error() {
        Some(told) => !matches!(told.parsed_severity(), Some(Severity::Error)),
        None => true,
    }
}
