//! How many long calls (watches, logs, commands, waits) may be open at once: shares for each caller and each org, so
//! that one of them never takes all there is.
//!
//! Called by the routes that hold a connection. Invariant: the owner of the house is never refused here, and an org
//! has at most [`ORG`] callers' shares of each kind.

use crate::who::Who;
use freehold_identity::RateOf;
use freehold_model::{Code, OrgId, Problem};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The limit of an org, in multiples of that of one of its callers.
const ORG: usize = 4;

/// The kinds of long calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Long {
    /// Follows the event log.
    Watch,
    /// Reads logs, or follows them.
    Logs,
    /// Runs a command in an instance.
    Exec,
    /// Waits for a verdict.
    Wait,
}

impl Long {
    /// How many one caller may have open.
    const fn share(self) -> usize {
        match self {
            Long::Watch | Long::Wait => 64,
            Long::Logs => 16,
            Long::Exec => 32,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Long::Watch => "watches of the event log",
            Long::Logs => "reads of logs",
            Long::Exec => "commands in instances",
            Long::Wait => "waits for a verdict",
        }
    }
}

/// Whose calls are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Caller(RateOf),
    Org(OrgId),
}

/// The long calls that are open.
#[derive(Debug, Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<(Holder, Long), usize>>>);

/// One long call; counted until it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Open {
    streams: Streams,
    counted: Vec<(Holder, Long)>,
}

impl Streams {
    /// Counts one more long call of somebody.
    ///
    /// # Errors
    /// They have as many open as they may, or their org has.
    pub(crate) fn open(&self, who: &Who, kind: Long) -> Result<Open, Problem> {
        let holders = RateOf::of(who.principal.identity).map(|of| (Holder::Caller(of), kind.share()));
        let org =
            who.principal.bindings.first().map(|binding| (Holder::Org(binding.org), ORG * kind.share()));
        // The owner of the house is counted nowhere.
        let holders: Vec<_> = holders.into_iter().flat_map(|caller| [Some(caller), org]).flatten().collect();
        let mut open = self.lock();
        if let Some((holder, limit)) = holders
            .iter()
            .find(|(holder, limit)| open.get(&(*holder, kind)).is_some_and(|count| count >= limit))
        {
            return Err(refused(*holder, kind, *limit, &who.principal.name));
        }
        let counted: Vec<_> = holders.into_iter().map(|(holder, _)| (holder, kind)).collect();
        counted.iter().for_each(|key| *open.entry(*key).or_default() += 1);
        Ok(Open { streams: self.clone(), counted })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Holder, Long), usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(holder: Holder, kind: Long, limit: usize, name: &str) -> Problem {
    let whose = match holder {
        Holder::Caller(_) => format!("{name} has"),
        Holder::Org(_) => format!("The org of {name} has"),
    };
    let title = format!("{whose} {limit} {} open, as many as may be at once.", kind.name());
    Problem::new(Code::RateLimited, title).hint("Try again once one of them has ended.")
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        for key in &self.counted {
            let left = open.get_mut(key).map(|count| {
                *count -= 1;
                *count
            });
            if left == Some(0) {
                open.remove(key);
            }
        }
    }
}
