//! Lines that instances print, as stored, asked for and sent.

use crate::{InstanceId, Name};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Where a line was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// What Freehold itself says of the instance: started, exited, restarted, lines lost.
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
    /// Where its instance's log goes on after it: what to ask for after a connection broke.
    #[serde(default)]
    #[schema(value_type = String)]
    pub next: LogPlace,
    /// The text.
    pub text: String,
}

/// A place in the log of one instance: `<file>.<byte>`, always between two lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPlace {
    /// The number of the file; later files have higher ones.
    pub file: u64,
    /// The byte within it.
    pub offset: u64,
}

impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.file, self.offset)
    }
}

/// A text that is no place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a place in a log is written like 3.1024: the `next` of a line")]
pub struct LogPlaceError;

impl FromStr for LogPlace {
    type Err = LogPlaceError;
    fn from_str(text: &str) -> Result<LogPlace, LogPlaceError> {
        let (file, offset) = text.split_once('.').ok_or(LogPlaceError)?;
        let number = |text: &str| text.parse().map_err(|_| LogPlaceError);
        Ok(LogPlace { file: number(file)?, offset: number(offset)? })
    }
}

impl Serialize for LogPlace {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LogPlace {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<LogPlace, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogQuery {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Only the last so many of all that fit.
    pub tail: Option<usize>,
    /// Goes on with new lines as they come.
    pub follow: bool,
    /// Only lines that match one of these regular expressions; every line, where there is none.
    pub grep: Vec<String>,
    /// Of these instances only what comes after these places.
    pub after: BTreeMap<InstanceId, LogPlace>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ordered_and_read_as_written() {
        let place = LogPlace { file: 3, offset: 1024 };
        assert_eq!(place.to_string().parse(), Ok(place));
        assert!(place < LogPlace { file: 10, offset: 0 });
        for bad in ["", "3", "3.", ".1", "-1.2", "a.b", "1.2.3"] {
            assert_eq!(bad.parse::<LogPlace>(), Err(LogPlaceError), "{bad}");
        }
    }
}
