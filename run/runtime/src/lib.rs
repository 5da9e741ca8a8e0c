//! Drivers that run one instance: container and process.
//!
//! An instance is owned by its *shim*: this program, re-executed as `<program> shim <directory>`, one
//! small single-threaded process per instance. The shim makes the mounts, the container and the
//! network, holds the pipes, writes the log, waits, and records the end. It outlives whoever started
//! it, so a node agent may be killed and adopt what runs when it is back. [`LocalRuntime`] is the
//! side that starts shims and talks to them; [`shim::dispatch`] is the door to the other side.

mod cgroup;
mod error;
mod first;
mod handle;
mod installation;
mod launch;
mod legacy;
mod liveness;
mod local;
mod netfilter;
mod netlink;
mod program;
mod runtime;
mod seccomp;
mod secrets;
mod surroundings;
mod unlinked;
mod user;
mod wire;

pub mod doctor;
pub mod exec;
pub mod logs;
pub mod network;
pub mod quota;
pub mod rootless;
pub mod shim;
pub mod volume;

pub use error::RuntimeError;
pub use exec::{ExecInput, ExecOutput, ExecSession};
pub use installation::{Installation, InstallationError};
pub use launch::{Launch, LogLimits};
pub use local::{LocalRuntime, RuntimeConfig};
pub use runtime::{Handle, Layer, RunState, Runtime};
pub use secrets::{Place, Secrets};
pub use surroundings::{Damage, InstanceLink, Lost, Surroundings};
