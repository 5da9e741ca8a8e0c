//! The place of a connection among those of strangers, which whoever serves the router puts into each
//! request's extensions.
//!
//! Invariant: the guard gives it back once it knows who asks, and nothing else does: strangers, however
//! many, take only the places that are meant for them.

use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedSemaphorePermit;

/// A connection of which nobody has shown yet who they are; given back when it ends, at the latest.
#[derive(Debug, Clone)]
pub struct Stranger(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Stranger {
    /// With one of the places for strangers.
    pub fn with(place: OwnedSemaphorePermit) -> Stranger {
        Stranger(Arc::new(Mutex::new(Some(place))))
    }

    /// The connection is somebody's: its place is for the next.
    pub fn is_known(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
