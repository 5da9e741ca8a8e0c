//! Finds the logs that are asked for on this node, now and, while they are followed, as instances come
//! and go. Called by [`Agent::logs`](crate::Agent::logs).
//!
//! Invariant: a log is given out once, and all that are there when the search begins come first.

use crate::{LogSource, agent::Shared, sources};
use freehold_model::{InstanceId, logs::LogQuery};
use freehold_runtime::logs::{self, LogBatch, LogError, LogPlace, LogReader, Patterns, Range};
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::watch;

/// The lines of one instance.
pub struct LogTrail {
    /// No line of it is older.
    pub starts: Option<Timestamp>,
    /// The lines, in the order in which they were printed.
    pub lines: BoxStream<'static, Result<LogBatch, LogError>>,
}

/// A search that goes on for as long as logs are followed.
pub(crate) struct Search<F> {
    shared: Arc<Shared>,
    fits: Arc<F>,
    query: LogQuery,
    patterns: Patterns,
    seen: BTreeSet<InstanceId>,
    /// The instances that this node keeps.
    kept: watch::Receiver<BTreeSet<InstanceId>>,
    /// The logs that are followed: dropping one lets it end.
    followed: BTreeMap<InstanceId, watch::Sender<bool>>,
}

/// A log that fits, and from where to read it.
struct Found {
    source: LogSource,
    reader: LogReader,
    range: Range,
    from: Option<LogPlace>,
    starts: Option<Timestamp>,
}

impl<F: Fn(&LogSource) -> bool + Send + Sync + 'static> Search<F> {
    pub(crate) fn new(shared: Arc<Shared>, fits: F, query: LogQuery, patterns: Patterns) -> Search<F> {
        let kept = shared.kept();
        let (seen, followed) = Default::default();
        Search { shared, fits: Arc::new(fits), query, patterns, seen, kept, followed }
    }

    /// The logs. All that are there now are found before this returns, so that whoever merges them with those of
    /// other nodes gives out no line before it has them all.
    pub(crate) async fn trails(mut self) -> impl Stream<Item = LogTrail> + Send + use<F> {
        let now = self.round(true).await;
        let rounds = stream::unfold(self, |mut search| async move {
            if !search.query.follow || search.kept.changed().await.is_err() {
                return None;
            }
            let trails = search.round(false).await;
            Some((stream::iter(trails), search))
        });
        stream::iter(now).chain(rounds.flatten())
    }

    /// Lets go of what is gone, and finds what is new.
    async fn round(&mut self, first: bool) -> Vec<LogTrail> {
        let kept = self.kept.borrow_and_update().clone();
        self.followed.retain(|instance, _| kept.contains(instance));
        let found = match self.find(first).await {
            Ok(found) => found,
            Err(error) => {
                return vec![LogTrail { starts: None, lines: stream::iter([Err(error)]).boxed() }];
            }
        };
        found.into_iter().map(|found| self.trail(found, &kept)).collect()
    }

    fn trail(&mut self, found: Found, kept: &BTreeSet<InstanceId>) -> LogTrail {
        let instance = found.source.instance;
        let alive = (self.query.follow && kept.contains(&instance)).then(|| {
            let (sender, alive) = watch::channel(true);
            self.followed.insert(instance, sender);
            alive
        });
        let lines = found.reader.lines(found.range, found.from, alive).boxed();
        LogTrail { starts: found.starts, lines }
    }

    async fn find(&mut self, first: bool) -> Result<Vec<Found>, LogError> {
        let (shared, fits, seen) = (Arc::clone(&self.shared), Arc::clone(&self.fits), self.seen.clone());
        let (query, patterns) = (self.query.clone(), self.patterns.clone());
        let search = move || {
            let mut found: Vec<Found> = sources::list(&shared.config.logs())
                .into_iter()
                .filter(|source| !seen.contains(&source.instance) && fits(source))
                .map(|source| Found::new(&shared, source, &query, &patterns))
                .collect();
            if let (true, Some(count)) = (first, query.tail) {
                begin_at_tail(&mut found, count, query.follow)?;
            }
            Ok(found)
        };
        let found = match tokio::task::spawn_blocking(search).await {
            Ok(found) => found?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.seen.extend(found.iter().map(|found| found.source.instance));
        Ok(found)
    }
}

impl Found {
    fn new(shared: &Shared, source: LogSource, query: &LogQuery, patterns: &Patterns) -> Found {
        let log_dir = shared.log_dir(source.instance);
        let reader = LogReader::new(&log_dir, source.instance, source.process.clone());
        // What is printed while the answer is written is for those who follow: else it might never end.
        let until = if query.follow { query.until } else { query.until.or_else(|| Some(Timestamp::now())) };
        let after = query.after.get(&source.instance).copied();
        let range = Range { since: query.since, until, after, patterns: patterns.clone() };
        let starts = reader.starts();
        Found { source, reader, range, from: None, starts }
    }
}

/// Lets each begin where the last `count` lines of them all do. Blocks.
fn begin_at_tail(found: &mut Vec<Found>, count: usize, follow: bool) -> Result<(), LogError> {
    // Asked first, so that what is printed meanwhile is not missed.
    let ends: Vec<LogPlace> = found.iter().map(|found| found.reader.end()).collect::<Result<_, _>>()?;
    let logs: Vec<(LogReader, Range)> =
        found.iter().map(|found| (found.reader.clone(), found.range.clone())).collect();
    let places = logs::tail(&logs, count)?;
    for ((found, place), end) in found.iter_mut().zip(places).zip(ends) {
        found.from = place.or(follow.then_some(end));
    }
    found.retain(|found| found.from.is_some());
    Ok(())
}
