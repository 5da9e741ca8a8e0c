//! Leading under leases: which of several processes runs a reconciler.
//!
//! [`Ballot`] decides purely what to take, from what was read and this process's own steady clock;
//! [`Keeper`] renews, reads and takes against a store; a [`Seat`] tells one reconciler whether it leads.
//! Believing to lead is never enough: every commit carries its [`Fence`](freehold_model::Fence), and the
//! store judges it.

mod ballot;
mod keeper;
mod seat;

pub use ballot::{Ballot, Watched};
pub use keeper::Keeper;
pub use seat::Seat;

use std::time::Duration;

/// How often leases are renewed and looked at.
pub const TICK: Duration = Duration::from_millis(500);
/// A lease that was not renewed for so long, as its contender counts, is taken. With a tick before and one
/// after, a dead leader is replaced within 4 s.
pub const TTL: Duration = Duration::from_secs(3);
