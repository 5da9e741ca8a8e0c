//! The state of a data directory as one file, and back: `freehold state backup` and `restore`.

use crate::data::{self, Running};
use anyhow::{Result, bail};
use freehold_store::SqliteStore;
use std::path::Path;

/// Copies the state of `data` to the new file `file`, whether or not Freehold runs over it; answers how many
/// events it holds, all of which were read back.
///
/// # Errors
/// When there is no state, it is in PostgreSQL, the file exists, or the copy is not as it should be.
pub fn backup(data: &Path, file: &Path) -> Result<u64> {
    let state = data.join("state.db");
    if data.join("store.json").exists() {
        bail!("{} keeps its state in PostgreSQL: back it up with pg_dump", data.display());
    }
    if !state.exists() {
        bail!("{} holds no state: name the data directory of a Freehold with --data", data.display());
    }
    Ok(SqliteStore::copy(&state, file)?)
}

/// Makes `data`, which may hold no state yet, remember what is in the backup `file`.
///
/// # Errors
/// When there is state already, or the backup does not hold together; then nothing is changed.
pub fn restore(file: &Path, data: &Path) -> Result<u64> {
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
    if !file.exists() {
        bail!("there is no backup {}", file.display());
    }
    data::prepare(data)?;
    Ok(SqliteStore::copy(file, &state)?)
}
