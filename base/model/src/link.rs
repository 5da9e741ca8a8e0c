//! Following the event log from link to link: who kept one proves that nothing up to it was cut or edited.

use crate::{Event, Seq};
use std::{fmt, str::FromStr};

/// A place in the log and the hash that its event carries: `SEQ:HASH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The place; 0 is before the first event.
    pub seq: Seq,
    /// 64 hexadecimal digits.
    pub hash: String,
}

/// The first place at which a log is not as it was committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} {problem}")]
pub struct Broken {
    /// The place.
    pub seq: Seq,
    /// What is wrong with it.
    pub problem: String,
}

impl Link {
    /// Before the first event.
    pub fn genesis() -> Link {
        Link { seq: 0, hash: Event::GENESIS.to_owned() }
    }

    /// That of an event.
    pub fn of(event: &Event) -> Link {
        Link { seq: event.seq, hash: event.hash.clone() }
    }

    /// The link of `event`, if it is what follows this one.
    ///
    /// # Errors
    /// When something is missing in between, or the event was edited.
    pub fn follow(&self, event: &Event) -> Result<Link, Broken> {
        let seq = self.seq + 1;
        if event.seq != seq {
            return Err(Broken { seq, problem: "is missing".into() });
        }
        if event.chain(&self.hash) != event.hash {
            let problem = "does not carry the hash of its content and of the row before it".into();
            return Err(Broken { seq, problem });
        }
        Ok(Link::of(event))
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Link, String> {
        let wrong = || "it is written as `SEQ:HASH`, a number and 64 hexadecimal digits".to_owned();
        let (seq, hash) = text.split_once(':').ok_or_else(wrong)?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        match seq.parse() {
            Ok(seq) if is_hash => Ok(Link { seq, hash: hash.to_ascii_lowercase() }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_as_it_is_written() {
        let link = Link { seq: 7, hash: "ab".repeat(32) };
        assert_eq!(link.to_string().parse(), Ok(link));
        for bad in ["", "7", "7:", ":ab", "x:ab", "7:abcd", &format!("7:{}", "g".repeat(64))] {
            assert!(bad.parse::<Link>().is_err(), "{bad}");
        }
    }
}
