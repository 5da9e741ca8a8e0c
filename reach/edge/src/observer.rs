//! Reads what endpoints carry, for the API: counters from memory, access logs from their files.

use crate::{access, ports::Doors};
use freehold_model::{
    EndpointId,
    traffic::{AccessLine, AccessQuery, EndpointTraffic},
};
use std::{io, path::PathBuf, sync::PoisonError};
use tokio::sync::mpsc;

/// A view of a running edge.
#[derive(Clone)]
pub struct Observer {
    pub(crate) doors: Doors,
    pub(crate) folder: Option<PathBuf>,
}

impl Observer {
    /// What an endpoint has carried; `None` before the edge knows it.
    pub fn traffic(&self, endpoint: EndpointId) -> Option<EndpointTraffic> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.get(&endpoint).map(|door| door.traffic())
    }

    /// The lines of an endpoint's access log that `query` wants, the oldest first, in chunks.
    pub fn access(
        &self,
        endpoint: EndpointId,
        query: AccessQuery,
    ) -> mpsc::Receiver<io::Result<Vec<AccessLine>>> {
        match &self.folder {
            Some(folder) => access::read(folder.clone(), endpoint, query),
            None => mpsc::channel(1).1,
        }
    }
}
