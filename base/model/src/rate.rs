//! How many requests a caller may make in a time: `600/min`.
//!
//! Written by people at `freehold token create --rate` and `freehold quota set --rate`, kept in tokens and in the
//! house's quota; counted by `trust/identity`. On the wire it is its text.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr, time::Duration};

/// So many requests in a second, a minute or an hour: they may come at once, and their number grows back evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    per: Per,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Per {
    Second,
    Minute,
    Hour,
}

/// The most that can be said; more is no limit.
const MOST: u32 = 1_000_000;

/// A text that is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rate; write it like `600/min`, `20/s` or `5000/h`, from 1 to {MOST}")]
pub struct RateError(String);

impl Rate {
    /// What a token, or all sessions of a person, may do where nothing else is said.
    pub const OF_CALLERS: Rate = Rate { count: 6_000, per: Per::Minute };
    /// What one address may do without a valid token.
    pub const OF_STRANGERS: Rate = Rate { count: 1_200, per: Per::Minute };

    /// How many may come at once.
    pub fn burst(self) -> u32 {
        self.count
    }

    /// After how long one more may come.
    pub fn interval(self) -> Duration {
        self.per.length() / self.count
    }
}

impl PartialOrd for Rate {
    fn partial_cmp(&self, other: &Rate) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// By what it lets through in the long run, then by what it lets through at once.
impl Ord for Rate {
    fn cmp(&self, other: &Rate) -> std::cmp::Ordering {
        let hourly = |rate: &Rate| u64::from(rate.count) * 3600 / rate.per.length().as_secs();
        (hourly(self), self.count).cmp(&(hourly(other), other.count))
    }
}

impl Per {
    fn length(self) -> Duration {
        Duration::from_secs(match self {
            Per::Second => 1,
            Per::Minute => 60,
            Per::Hour => 3600,
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Per::Second => "s",
            Per::Minute => "min",
            Per::Hour => "h",
        };
        f.pad(&format!("{}/{per}", self.count))
    }
}

impl FromStr for Rate {
    type Err = RateError;
    fn from_str(text: &str) -> Result<Rate, RateError> {
        let wrong = || RateError(text.chars().take(40).collect());
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let per = match per {
            "s" => Per::Second,
            "min" => Per::Minute,
            "h" => Per::Hour,
            _ => return Err(wrong()),
        };
        let digits = !count.is_empty() && count.bytes().all(|c| c.is_ascii_digit());
        let count = count.parse().ok().filter(|count| digits && (1..=MOST).contains(count));
        Ok(Rate { count: count.ok_or_else(wrong)?, per })
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rate, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_back_as_it_was_written() {
        for good in ["1/s", "600/min", "5000/h", "1000000/s"] {
            assert_eq!(good.parse::<Rate>().unwrap().to_string(), good);
        }
        for bad in ["", "600", "/min", "0/s", "1000001/s", "+1/s", "1/m", "1.5/s", "-1/s", "1/s/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn more_in_the_long_run_is_more() {
        let rate = |text: &str| text.parse::<Rate>().unwrap();
        assert!(rate("1/s") < rate("61/min") && rate("60/min") > rate("1/s") && rate("3599/h") < rate("1/s"));
        assert_eq!(rate("2/s").interval(), Duration::from_millis(500));
    }
}
