//! Makes one node match its assignments.
//!
//! The daemon starts one [`Agent`]. A supervisor compares what is assigned with what is known and keeps
//! one worker per instance; each worker asks a pure decider what to do next ([`decide`]), does it through
//! the [`Runtime`](freehold_runtime::Runtime), and reports what it saw through the [`Control`] port.
//! A journal lets the node go on while the control plane is away and after a crash of its own.

mod agent;
mod backoff;
mod control;
mod decide;
mod dns;
mod drill;
mod health;
mod images;
mod journal;
mod launch;
mod log_search;
mod logs;
mod meter;
mod network;
mod probe;
pub mod remote;
mod report;
mod residents;
mod retention;
mod secrets;
mod sources;
mod status;
mod supervisor;
mod volumes;
mod worker;

pub use agent::{Agent, AgentConfig, AgentError};
pub use control::{Control, ControlError, Healed, NodeReport, Noticed};
pub use dns::NameServers;
pub use images::Images;
pub use log_search::LogTrail;
pub use sources::LogSource;
