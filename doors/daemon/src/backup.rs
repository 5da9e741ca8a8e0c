//! The state as a whole: into one file and back, or from one store to another. `freehold state` calls it.

use crate::{
    data::{self, Running},
    state::State,
};
use anyhow::{Result, bail};
use freehold_model::Inventory;
use freehold_reconcile::{Clock, SystemClock, SystemIds};
use freehold_store::{Copied, Place, PostgresOptions, PostgresStore, SqliteStore};
use std::{path::Path, sync::Arc};

/// Copies the state of `data`, or of the database `store`, to the new file `file`, whether or not Freehold runs
/// over it; answers how many events it holds, all of which were read back.
///
/// # Errors
/// When there is no state, it is elsewhere, the file exists, or the copy is not as it should be.
pub fn backup(data: &Path, store: Option<&PostgresOptions>, file: &Path) -> Result<u64> {
    match store {
        Some(store) => Ok(freehold_store::backup(store, file)?.held()),
        None => Ok(SqliteStore::copy(&state_of(data)?, file)?),
    }
}

/// Makes `data`, or the database `store`, which may hold no state yet, remember what is in the backup `file`.
///
/// # Errors
/// When there is state already, or the backup does not hold together; then nothing is changed.
pub fn restore(file: &Path, data: &Path, store: Option<&PostgresOptions>) -> Result<u64> {
    if !file.exists() {
        bail!("there is no backup {}", file.display());
    }
    if let Some(store) = store {
        let (file, store) = (Place::Sqlite(file.to_owned()), Place::Postgres(Box::new(store.clone())));
        return Ok(freehold_store::copy(&file, &store, |_, _| {})?.held());
    }
    let state = data.join("state.db");
    for there in [&state, &data.join("store.json")] {
        if there.exists() {
            bail!(
                "{} is there already: stop Freehold and move it away, or name another --data",
                there.display()
            );
        }
    }
    if let Some(running) = Running::over(data) {
        bail!("a Freehold (process {}) runs over {}: stop it first", running.pid, data.display());
    }
    data::prepare(data)?;
    Ok(SqliteStore::copy(file, &state)?)
}

/// Copies the state at `from` to `to`, each a database's URL, a data directory or a file, with no Freehold at
/// work on either. `said` hears of every batch: which table, and how many rows of it so far.
///
/// # Errors
/// When one is in use or cannot be opened, there is nothing to copy or something in its way, or the copy is
/// not equal. The same call goes on with what was interrupted.
pub fn copy(from: &str, to: &str, said: impl FnMut(&'static str, u64)) -> Result<Copied> {
    let from = match place(from)? {
        Place::Sqlite(path) if path.is_dir() => Place::Sqlite(state_of(&path)?),
        other => other,
    };
    let to = match place(to)? {
        Place::Sqlite(path) if path.is_dir() => {
            if let Some(home) = crate::state::home(&path)? {
                bail!("{} keeps its state in {home}: name that, or another directory", path.display());
            }
            Place::Sqlite(path.join("state.db"))
        }
        other => other,
    };
    Ok(freehold_store::copy(&from, &to, said)?)
}

/// Begins the empty store of `data`, or the database `store`, with an inventory; answers with how many events it
/// made.
///
/// # Errors
/// When there is state already, or the store fails; then nothing is changed.
pub async fn import(inventory: &Inventory, data: &Path, store: Option<PostgresOptions>) -> Result<u64> {
    if let Some(running) = Running::over(data) {
        bail!("a Freehold (process {}) runs over {}: stop it first", running.pid, data.display());
    }
    if store.is_none() {
        data::prepare(data)?;
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let state = open(data, store, clock.clone()).await?;
    let imported = freehold_store::import(&*state.store(), inventory, &mut SystemIds, clock.now()).await;
    state.close().await;
    Ok(imported?)
}

/// The inventory of what `data`, or the database `store`, knows; nothing else may be at work on it.
///
/// # Errors
/// When there is no state, or it cannot be read.
pub async fn export(data: &Path, store: Option<PostgresOptions>) -> Result<Inventory> {
    if store.is_none() {
        state_of(data)?;
    }
    let state = open(data, store, Arc::new(SystemClock)).await?;
    let view = state.store().view().await?;
    let inventory = tokio::task::spawn_blocking(move || freehold_store::export(&*view)).await?;
    state.close().await;
    Ok(inventory?)
}

/// The store itself, whatever data directory it is of.
async fn open(data: &Path, store: Option<PostgresOptions>, clock: Arc<dyn Clock>) -> Result<State> {
    Ok(match store {
        Some(store) => {
            // `sole` keeps out another that acts on the nodes alone: control planes work beside one.
            let users = store.clone();
            tokio::task::spawn_blocking(move || freehold_store::refuse_users(&users)).await??;
            let store = Arc::new(PostgresStore::open(store.sole(), clock).await?);
            State::Postgres { store, _lock: None }
        }
        None => State::Sqlite(Arc::new(SqliteStore::open(data.join("state.db"), clock)?)),
    })
}

fn place(text: &str) -> Result<Place> {
    if text.contains("://") {
        return Ok(Place::Postgres(Box::new(PostgresOptions::parse(text)?)));
    }
    Ok(Place::Sqlite(text.into()))
}

/// The database in a data directory.
fn state_of(data: &Path) -> Result<std::path::PathBuf> {
    if let Some(home) = crate::state::home(data)? {
        bail!("{} keeps its state in {home}: name it as the store", data.display());
    }
    let state = data.join("state.db");
    if !state.exists() {
        bail!("{} holds no state: name the data directory of a Freehold", data.display());
    }
    Ok(state)
}
