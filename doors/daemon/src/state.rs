//! Where resources and events are kept: SQLite in the data directory, or a PostgreSQL database.
//!
//! Opened by `up`. What runs on this machine belongs to what the store says, so a data directory stays with
//! the store it began with: `store.json` names it, and another is refused before anything changes.

use crate::{lock::Lock, up::Role};
use anyhow::{Context, Result, bail};
use freehold_reconcile::{Clock, Store};
use freehold_store::{PostgresOptions, PostgresStore, SqliteStore};
use serde::{Deserialize, Serialize};
use std::{fs, path::Path, sync::Arc};

/// The store that is open.
pub(crate) enum State {
    Sqlite(Arc<SqliteStore>),
    /// With what keeps others from the data directory.
    Postgres {
        store: Arc<PostgresStore>,
        _lock: Option<Lock>,
    },
}

/// `store.json`: the PostgreSQL database of a data directory.
#[derive(Serialize, Deserialize)]
struct Home {
    /// What was made along with the database's tables.
    installation: String,
    /// The database in words, for people.
    place: String,
}

impl State {
    /// Opens the store that `postgres` names, or else the one in `data`.
    pub(crate) async fn open(
        data: &Path,
        postgres: Option<PostgresOptions>,
        role: Role,
        clock: Arc<dyn Clock>,
    ) -> Result<State> {
        let (file, home) = (data.join("state.db"), data.join("store.json"));
        let known = known(&home)?;
        let Some(options) = postgres else {
            if let Some(known) = known {
                bail!(
                    "{} keeps its state in {}: name it with --store or FREEHOLD_STORE, or use another directory \
                     with --data",
                    data.display(),
                    known.place
                );
            }
            return Ok(State::Sqlite(Arc::new(SqliteStore::open(file, clock)?)));
        };
        if file.exists() {
            bail!(
                "{} keeps its state in SQLite ({}): start without --store, or use another directory with --data",
                data.display(),
                file.display()
            );
        }
        let place = options.place().to_owned();
        let lock = Lock::take(data)?;
        // Its node is the house's first, and what was pushed to it lies on its disk: one of these at a time.
        let options = if role == Role::Up { options.sole() } else { options };
        let store = PostgresStore::open(options, clock).await?;
        let installation = store.installation().to_owned();
        match known {
            Some(known) if known.installation != installation => {
                let (data, began) = (data.display(), known.place);
                store.close().await;
                bail!(
                    "{place} holds the state of another Freehold than the one that {data} began with (in {began}): \
                     name that database, or use another directory with --data"
                );
            }
            Some(_) => {}
            None => crate::data::replace(&home, &Home { installation, place: place.clone() })?,
        }
        tracing::info!(place, "state is kept in PostgreSQL");
        Ok(State::Postgres { store: Arc::new(store), _lock: Some(lock) })
    }

    /// Whether other control planes may work on it, too.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, State::Postgres { .. })
    }

    /// The same through the port.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            State::Sqlite(store) => store.clone(),
            State::Postgres { store, .. } => store.clone(),
        }
    }

    /// Makes durable what is queued and lets go of the database.
    pub(crate) async fn close(&self) {
        match self {
            State::Sqlite(store) => store.close().await,
            State::Postgres { store, .. } => store.close().await,
        }
    }
}

/// Where the state of a data directory is, in words, if it is not within.
pub(crate) fn home(data: &Path) -> Result<Option<String>> {
    Ok(known(&data.join("store.json"))?.map(|home| home.place))
}

fn known(home: &Path) -> Result<Option<Home>> {
    match fs::read(home) {
        Ok(text) => {
            let read = serde_json::from_slice(&text);
            read.map(Some).with_context(|| format!("{} is damaged: restore it from a backup", home.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", home.display())),
    }
}
