//! Running one more command inside an instance: the request, and the frames of its WebSocket.
//!
//! The first message of either side is JSON text: the client's [`ExecRequest`], then for the rest of
//! the session [`ExecControl`] from the client and [`ExecReport`] from the server. Binary messages carry
//! bytes: from the client standard input; from the server one byte that names the stream
//! ([`STDOUT`] or [`STDERR`]) and then its output.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// The first byte of a server's binary message that carries standard output (or the terminal's).
pub const STDOUT: u8 = 1;
/// The first byte of a server's binary message that carries standard error.
pub const STDERR: u8 = 2;

/// What to run.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// Program and arguments; at least one.
    pub command: Vec<String>,
    /// Whether to give it a terminal, and how large.
    #[serde(default)]
    pub tty: Option<TtySize>,
    /// Environment variables besides, or instead of, those of the instance.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// `user`, `uid`, `user:group` or `uid:gid` of the image; the instance's own when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The working directory; the instance's own when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
}

impl ExecRequest {
    /// One that runs `command`, and changes nothing else.
    pub fn new<T: Into<String>>(command: impl IntoIterator<Item = T>) -> ExecRequest {
        ExecRequest { command: command.into_iter().map(Into::into).collect(), ..ExecRequest::default() }
    }
}

impl fmt::Debug for ExecRequest {
    /// Without arguments and values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecRequest").field("program", &self.command.first()).finish_non_exhaustive()
    }
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
