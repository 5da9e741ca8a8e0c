//! The seeded simulated world: reconcilers run against simulated nodes and a simulated edge, with
//! crashes, delays, conflicts and partitions, in simulated time.
//!
//! A capability's test builds a [`World`] of parts, lets it run, and inspects it after every step.
//! Invariant: everything that happens follows from the seed, so a failing seed replays exactly.

mod controller;
mod edge;
mod lease;
mod machine;
mod node;
mod random;
mod seeds;
mod term;
mod time;
mod world;

pub use controller::SimController;
pub use edge::{Routing, SimEdge};
pub use lease::SimLease;
pub use machine::Machine;
pub use node::SimNode;
pub use random::Random;
pub use seeds::{check_seeds, run_seed};
pub use time::{SimClock, SimIds};
pub use world::{Context, Part, World};
