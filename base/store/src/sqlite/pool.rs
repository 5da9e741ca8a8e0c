//! Connections for snapshots: made when needed, kept when idle.
//!
//! At most [`MOST`] are open at once: who wants one more waits. At most [`IDLE`] are kept when nobody
//! uses them.

use super::schema;
use rusqlite::Connection;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const MOST: usize = 256;
const IDLE: usize = 16;

/// The readers of one database.
#[derive(Debug)]
pub(super) struct Pool {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

/// A connection on loan. Whatever read transaction it is in ends when it is dropped.
pub(super) struct Reader {
    connection: Option<Connection>,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    /// No connections yet.
    pub(super) fn new(path: PathBuf) -> Arc<Pool> {
        Arc::new(Pool { path, permits: Arc::new(Semaphore::new(MOST)), idle: Mutex::default() })
    }

    /// Lends a connection, waiting while too many are out. `None` once the pool is closed.
    pub(super) async fn lend(self: &Arc<Pool>) -> rusqlite::Result<Option<Reader>> {
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return Ok(None) };
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => schema::open_reader(&self.path)?,
        };
        Ok(Some(Reader { connection: Some(connection), pool: Arc::clone(self), _permit: permit }))
    }

    /// Lends no more, and closes what is idle; what is on loan closes when it comes back.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Reader {
    /// The connection.
    pub(super) fn db(&self) -> &Connection {
        self.connection.as_ref().expect("a reader has its connection until it is dropped")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let clean = connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok();
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if clean && idle.len() < IDLE && !self.pool.permits.is_closed() {
            idle.push(connection);
        }
    }
}
