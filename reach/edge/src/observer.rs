//! Reads what endpoints carry, for the API: counters from memory, access logs from their files.

use crate::{
    access,
    bind::{self, BindError, Wanted},
    ports::Doors,
};
use freehold_model::{
    EndpointId,
    manifest::Protocol,
    traffic::{AccessLine, AccessQuery, EndpointTraffic},
};
use std::{io, net::IpAddr, path::PathBuf, sync::PoisonError};
use tokio::sync::mpsc;

/// A view of a running edge.
#[derive(Clone)]
pub struct Observer {
    pub(crate) doors: Doors,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) listen_on: Vec<IpAddr>,
}

/// A port that an endpoint could not have now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedPort {
    /// Why, and who has it, in a sentence.
    pub reason: String,
    /// This very program has it, which may be about to let it go.
    pub is_ours: bool,
    /// Somebody has it; otherwise it can't be had at all.
    pub is_taken: bool,
}

impl Observer {
    /// What an endpoint has carried; `None` before the edge knows it.
    pub fn traffic(&self, endpoint: EndpointId) -> Option<EndpointTraffic> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.get(&endpoint).map(|door| door.traffic())
    }

    /// Binds `port` on this machine as an endpoint would, and lets go of it again.
    ///
    /// # Errors
    /// When it can't be had now.
    pub fn try_port(&self, protocol: Protocol, port: u16) -> Result<(), ClosedPort> {
        let wanted = Wanted { port, listen_on: &self.listen_on, own: None };
        bind::probe(wanted, protocol).map_err(|error| {
            let reason = error.to_string();
            let ours = format!("(pid {})", std::process::id());
            let is_taken = matches!(error, BindError::Taken { .. });
            ClosedPort { is_ours: is_taken && reason.contains(&ours), is_taken, reason }
        })
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
