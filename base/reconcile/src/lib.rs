//! The control loop, its ports (resources, clock, randomness) and the seeded simulated world.
//!
//! A reconciler decides purely: it reads a consistent [`View`] and returns a transaction and its next
//! wake-up. The loop commits what it decided, here against a real [`Store`], in the simulation against
//! the same trait in memory.

pub mod agenda;
pub mod backoff;
pub mod lease;
pub mod memory;
pub mod ports;
pub mod reconciler;
pub mod run;
pub mod sim;
pub mod tasks;
pub mod watch;

pub use backoff::Backoff;
pub use lease::{Keeper, Seat};
pub use memory::MemoryStore;
pub use ports::{Clock, Ids, Store, StoreError, SystemClock, SystemIds, View, ViewExt};
pub use reconciler::{Decision, Reconciler};
pub use run::run;
pub use tasks::{TaskBoard, TaskHandle, TaskSpec, supervise};
pub use watch::{EventWatch, watch_from};
