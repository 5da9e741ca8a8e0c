//! How long an instance may be unhealthy before it is started again.

use crate::{Millis, units::UnitError};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The word for never.
pub(super) const NEVER: &str = "never";

/// How long an instance may fail its check before its node starts it again; `None`: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RestartAfter(pub Option<Millis>);

impl RestartAfter {
    /// When nothing is said.
    pub const DEFAULT: RestartAfter = RestartAfter(Some(Millis(120_000)));

    pub(super) fn is_default(&self) -> bool {
        *self == RestartAfter::DEFAULT
    }
}

impl Default for RestartAfter {
    fn default() -> RestartAfter {
        RestartAfter::DEFAULT
    }
}

impl fmt::Display for RestartAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => time.fmt(f),
            None => f.pad(NEVER),
        }
    }
}

impl FromStr for RestartAfter {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<RestartAfter, UnitError> {
        match text {
            NEVER => Ok(RestartAfter(None)),
            time => time.parse().map(|time| RestartAfter(Some(time))),
        }
    }
}

impl TryFrom<String> for RestartAfter {
    type Error = UnitError;
    fn try_from(text: String) -> Result<RestartAfter, UnitError> {
        text.parse()
    }
}

impl From<RestartAfter> for String {
    fn from(after: RestartAfter) -> String {
        after.to_string()
    }
}
