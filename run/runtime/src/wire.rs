//! What shims say and are told, over `shim.sock`: one JSON value per line. And how a run ended, as kept
//! in `exit.json`.
//!
//! A connection is told at once how things are, then of every change. The end of the connection without
//! an [`Report::Ended`] means that the shim died.

use freehold_model::Exit;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a shim says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The first process runs.
    Started { pid: i32, at: Timestamp },
    /// Nothing runs any more, and nothing more will be said.
    Ended(End),
}

/// What a shim is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Send this signal to the first process.
    Signal(i32),
    /// Answer with the descriptor of the memory that holds the instance's secrets (SCM_RIGHTS).
    Secrets,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// It ran, and ended.
    Exited(Exit),
    /// It could not be started.
    Failed { message: String },
}
