//! Composes control, node and edge into one process; wiring only.
//!
//! [`run`] is `freehold up`: it opens the data directory, makes what a first start needs, starts every
//! part, says when all of them are ready, and on SIGTERM stops them in the reverse order.

mod absent;
mod backup;
mod bootstrap;
mod collect;
mod control;
mod data;
mod disk;
mod edge;
mod far;
mod forget;
mod guests;
mod house_images;
mod isolation;
mod local;
mod lock;
mod machines;
mod name;
mod node;
mod nodes;
mod peers;
mod plane;
mod range;
mod serve;
mod state;
mod strict;
mod tasks;
mod trim;
mod up;

pub use backup::{backup, copy, export, import, restore};
pub use bootstrap::host_name;
pub use data::{Format, Running};
pub use far::{NodeOptions, NodeReady, keep_machine, run_node};
pub use freehold_deploy::address::Range;
pub use freehold_store::{Copied, PostgresError, PostgresOptions};
pub use up::{Ended, Options, Ready, Role, run};
