//! The place of a connection among all that are open, which whoever serves the router puts into each request's
//! extensions.
//!
//! Invariant: the guard says whose it is once it knows, and nothing else does: until then it counts as a stranger's.

use freehold_identity::RateOf;
use std::{fmt::Debug, sync::Arc};

/// A connection's place, as the server that accepts connections keeps it.
pub trait ConnectionPlace: Debug + Send + Sync + 'static {
    /// The connection is this caller's; `None`: the owner's of the house.
    fn is_known(&self, whose: Option<RateOf>);
    /// Nobody has shown on it who they are, or somebody did and the next one did not.
    fn is_a_strangers(&self);
}

/// A connection of which nobody may have shown yet who they are.
#[derive(Debug, Clone)]
pub struct Stranger(Arc<dyn ConnectionPlace>);

impl Stranger {
    /// With its place.
    pub fn with(place: Arc<dyn ConnectionPlace>) -> Stranger {
        Stranger(place)
    }

    /// Whoever asks on it now shows nothing.
    pub fn is_a_strangers(&self) {
        self.0.is_a_strangers();
    }

    /// The connection is somebody's.
    pub fn is_known(&self, whose: Option<RateOf>) {
        self.0.is_known(whose);
    }
}
