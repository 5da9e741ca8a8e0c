//! Lines that instances print, as stored, asked for and sent.

use crate::{InstanceId, Name};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a line was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// What Freehold itself says of the instance: started, exited, restarted.
    System,
}

/// One line, without its line feed. Bytes that are not UTF-8 were replaced (U+FFFD).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogLine {
    /// When the line was complete.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Where it was printed.
    pub stream: LogStream,
    /// Who printed it.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// The process of the manifest that the instance runs.
    pub process: Name,
    /// The text.
    pub text: String,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogQuery {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Only the last so many (of each instance) that fit.
    pub tail: Option<usize>,
    /// Goes on with new lines as they come.
    pub follow: bool,
}
