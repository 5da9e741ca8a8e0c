//! Running one more command inside an instance: the request, and the frames of its WebSocket.
//!
//! The first message of either side is JSON text: the client's [`ExecRequest`], then for the rest of
//! the session [`ExecControl`] from the client and [`ExecReport`] from the server. Binary messages carry
//! bytes: from the client standard input; from the server one byte that names the stream
//! ([`STDOUT`] or [`STDERR`]) and then its output.

use serde::{Deserialize, Serialize};

/// The first byte of a server's binary message that carries standard output (or the terminal's).
pub const STDOUT: u8 = 1;
/// The first byte of a server's binary message that carries standard error.
pub const STDERR: u8 = 2;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// Program and arguments; at least one.
    pub command: Vec<String>,
    /// Whether to give it a terminal, and how large.
    #[serde(default)]
    pub tty: Option<TtySize>,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TtySize {
    /// Lines.
    pub rows: u16,
    /// Characters on a line.
    pub cols: u16,
}

/// What the client says besides standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecControl {
    /// Standard input has ended.
    Eof,
    /// The terminal has another size.
    Resize(TtySize),
    /// Sends a signal, by number.
    Signal(i32),
}

/// What the server says besides output; the last message of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecReport {
    /// The command ended with this code (128 + n when signal n killed it).
    Exit(i32),
    /// The command could not be run.
    Failed(String),
}
