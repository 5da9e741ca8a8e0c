//! The logs of instances as streams: from a time, a place or the last lines, to an end or for as long as
//! the instance lives. Reading is done on threads that may block; dropping a stream ends it.

use super::{LogPlace, Patterns, backward, file_name, forward::Forward, watch::Watch};
use crate::logs::LogBatch;
use freehold_model::{
    InstanceId, Name,
    logs::{LogLine, LogStream},
};
use futures::{Stream, stream};
use jiff::Timestamp;
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};
use tokio::sync::watch;

/// A log that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the log {path}: {source}")]
pub struct LogError {
    path: PathBuf,
    source: io::Error,
}

/// The log of one instance.
#[derive(Debug, Clone)]
pub struct LogReader {
    pub(super) dir: PathBuf,
    pub(super) instance: InstanceId,
    pub(super) process: Name,
}

/// Which lines of a log are wanted.
#[derive(Debug, Clone, Default)]
pub struct Range {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Only what comes after this place.
    pub after: Option<LogPlace>,
    /// Only what fits.
    pub patterns: Patterns,
}

impl Range {
    pub(super) fn fits(&self, time: Timestamp, text: &[u8]) -> bool {
        self.since.is_none_or(|since| time >= since)
            && self.until.is_none_or(|until| time <= until)
            && self.patterns.fit(text)
    }
}

/// The last `count` lines of several logs: where to begin reading each. Blocks.
///
/// # Errors
/// When a log cannot be read.
pub fn tail(logs: &[(LogReader, Range)], count: usize) -> Result<Vec<Option<LogPlace>>, LogError> {
    backward::tail(logs, count).map_err(|(log, source)| logs[log].0.error(source))
}

impl LogReader {
    /// Of the log in `dir`; the lines say that they are of `instance` and `process`.
    pub fn new(dir: &Path, instance: InstanceId, process: Name) -> LogReader {
        LogReader { dir: dir.to_owned(), instance, process }
    }

    /// The time of its first line, if it has one. Blocks.
    pub fn starts(&self) -> Option<Timestamp> {
        self.first_time().ok().flatten()
    }

    /// Where it ends now. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn end(&self) -> Result<LogPlace, LogError> {
        let end = || {
            let Some(number) = super::files(&self.dir)?.pop() else { return Ok(LogPlace::default()) };
            let size = self.open(number)?.map_or(Ok(0), |file| file.metadata().map(|meta| meta.len()))?;
            Ok(LogPlace { file: number, offset: size })
        };
        end().map_err(|source| self.error(source))
    }

    /// The lines in `range`, oldest first, from its start or from `from`. No log is an empty log. Ends at
    /// what is there; with `alive`, goes on with new lines for as long as that says true.
    pub fn lines(
        &self,
        range: Range,
        from: Option<LogPlace>,
        alive: Option<watch::Receiver<bool>>,
    ) -> impl Stream<Item = Result<LogBatch, LogError>> + Send + use<> {
        let watch = alive.as_ref().and_then(|_| Watch::start(&self.dir).ok());
        let log = self.clone();
        let state = Reading { log, begin: Some((range, from)), forward: None, alive, watch, wait: false };
        stream::unfold(Some(state), |reading| async move {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(batch)) => Some((Ok(batch), Some(reading))),
                Ok(None) => None,
                Err(source) => Some((Err(reading.log.error(source)), None)),
            }
        })
    }

    pub(super) fn error(&self, source: io::Error) -> LogError {
        LogError { path: self.dir.clone(), source }
    }

    pub(super) fn line(&self, time: Timestamp, stream: LogStream, text: &[u8], next: LogPlace) -> LogLine {
        let text = String::from_utf8_lossy(text).into_owned();
        LogLine { time, stream, instance: self.instance, process: self.process.clone(), next, text }
    }

    /// Opens a file for reading; `None` once it is gone.
    pub(super) fn open(&self, number: u64) -> io::Result<Option<File>> {
        match File::open(self.dir.join(file_name(number))) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// One stream.
struct Reading {
    log: LogReader,
    begin: Option<(Range, Option<LogPlace>)>,
    forward: Option<Forward>,
    alive: Option<watch::Receiver<bool>>,
    watch: Option<Watch>,
    /// Nothing more was there when last looked.
    wait: bool,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<LogBatch>> {
        let over = self.forward.as_ref().is_some_and(Forward::is_over);
        if self.wait && (over || !self.more().await) {
            return Ok(None);
        }
        let (log, begin, forward) = (self.log.clone(), self.begin.take(), self.forward.take());
        let read = tokio::task::spawn_blocking(move || {
            let mut forward = match (forward, begin) {
                (Some(forward), _) => forward,
                (None, Some((range, from))) => {
                    let since = || range.since.map_or(Ok(LogPlace::default()), |since| log.seek(since));
                    let place = from.or(range.after).map_or_else(since, Ok)?;
                    log.forward(place, range)
                }
                (None, None) => return Err(io::ErrorKind::InvalidInput.into()),
            };
            forward.next().map(|batch| (forward, batch))
        });
        let (forward, batch) = read.await.map_err(io::Error::other)??;
        self.wait = batch.caught_up;
        self.forward = Some(forward);
        Ok(Some(batch))
    }

    /// Waits until there may be more lines; `false` when there never will be.
    async fn more(&mut self) -> bool {
        let Some(alive) = &mut self.alive else { return false };
        if !*alive.borrow_and_update() {
            // What came before its end was perhaps not read yet: one last look.
            self.alive = None;
            return true;
        }
        let changed = async {
            match &mut self.watch {
                Some(watch) => watch.changed().await,
                None => tokio::time::sleep(super::watch::AT_LEAST).await,
            }
        };
        tokio::select! {
            () = changed => {}
            gone = alive.changed() => if gone.is_err() { self.alive = None },
        }
        true
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
