//! Merges the lines of many instances into one stream in the order of time.
//!
//! Called by the logs route. A log says when it has no more lines for now, so what is there already is
//! merged exactly, and no log is opened before its first line is due. Of logs that are followed, a line
//! is held back until it is [`WINDOW`] old, in case another instance's earlier one is still on its way.
//! Invariant: the lines of one instance stay in their order; no line is lost.

use crate::port::{LogLines, LogTrail};
use freehold_model::{Problem, logs::LogLine};
use freehold_runtime::logs::LogBatch;
use futures::{
    Stream, StreamExt as _,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered},
};
use jiff::{SignedDuration, Timestamp};
use std::{
    cmp::Ordering,
    collections::{BinaryHeap, VecDeque, binary_heap::PeekMut},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// How long a line may take from an instance to here.
const WINDOW: SignedDuration = SignedDuration::from_millis(50);

/// Lines in the order of time. Ends when every log has ended and no more can come.
pub struct Merge {
    /// Brings logs; `None` once there will be no more.
    arrivals: Option<BoxStream<'static, LogTrail>>,
    arrived: usize,
    /// Logs without a line in hand, each on its way to its next.
    fetching: FuturesUnordered<BoxFuture<'static, Fetched>>,
    /// How many of those may have one at once: all others wait.
    awaited: usize,
    /// Logs by their next line.
    heads: BinaryHeap<Head>,
    hold: Pin<Box<Sleep>>,
}

/// What a log brought, and the log.
type Fetched = (Option<Result<LogBatch, Problem>>, Source);

struct Source {
    order: usize,
    lines: LogLines,
    awaited: bool,
}

/// A log that has a line, or will have none before a time.
struct Head {
    time: Timestamp,
    order: usize,
    /// Empty as long as the log was not read.
    ready: VecDeque<LogLine>,
    caught_up: bool,
    lines: LogLines,
}

impl Merge {
    /// Merges what `arrivals` bring.
    pub fn new(arrivals: BoxStream<'static, LogTrail>) -> Merge {
        Merge {
            arrivals: Some(arrivals),
            arrived: 0,
            fetching: FuturesUnordered::new(),
            awaited: 0,
            heads: BinaryHeap::new(),
            hold: Box::pin(sleep(Duration::ZERO)),
        }
    }

    fn take_arrivals(&mut self, cx: &mut Context<'_>) {
        while let Some(arrivals) = &mut self.arrivals {
            match arrivals.poll_next_unpin(cx) {
                Poll::Ready(Some(LogTrail { starts, lines })) => {
                    let order = self.arrived;
                    self.arrived += 1;
                    match starts {
                        Some(time) => {
                            let (ready, caught_up) = (VecDeque::new(), false);
                            self.heads.push(Head { time, order, ready, caught_up, lines });
                        }
                        None => self.fetch(Source { order, lines, awaited: true }),
                    }
                }
                Poll::Ready(None) => self.arrivals = None,
                Poll::Pending => return,
            }
        }
    }

    fn fetch(&mut self, mut source: Source) {
        self.awaited += usize::from(source.awaited);
        self.fetching.push(Box::pin(async move { (source.lines.next().await, source) }));
    }

    /// Takes what was fetched.
    fn take_fetched(&mut self, cx: &mut Context<'_>) -> Result<(), Problem> {
        while let Poll::Ready(Some((batch, source))) = self.fetching.poll_next_unpin(cx) {
            self.awaited -= usize::from(source.awaited);
            let Some(batch) = batch.transpose()? else { continue };
            let Source { order, lines, awaited } = source;
            match batch.lines.first().map(|line| line.time) {
                Some(time) => {
                    let ready = batch.lines.into();
                    self.heads.push(Head { time, order, ready, caught_up: batch.caught_up, lines });
                }
                None => self.fetch(Source { order, lines, awaited: awaited && !batch.caught_up }),
            }
        }
        Ok(())
    }

    /// Waits until no earlier line can be on its way.
    fn poll_window(&mut self, time: Timestamp, cx: &mut Context<'_>) -> Poll<()> {
        // Whoever has no line may yet have an earlier one, unless there is no such log.
        if self.fetching.is_empty() {
            return Poll::Ready(());
        }
        let age = Timestamp::now().duration_since(time);
        let Ok(left) = Duration::try_from(WINDOW - age) else { return Poll::Ready(()) };
        // A line from the future, of a clock that was set back, is not waited for.
        self.hold.set(sleep(left.min(Duration::try_from(WINDOW).unwrap_or_default())));
        self.hold.as_mut().poll(cx)
    }

    /// The earliest line. Its log is asked for more when it was the last in hand.
    fn pop(&mut self) -> Option<LogLine> {
        let mut head = self.heads.peek_mut()?;
        let line = head.ready.pop_front();
        match head.ready.front().map(|next| next.time) {
            Some(time) => head.time = time,
            None => {
                let Head { order, caught_up, lines, .. } = PeekMut::pop(head);
                self.fetch(Source { order, lines, awaited: !caught_up });
            }
        }
        line
    }
}

impl Stream for Merge {
    type Item = Result<LogLine, Problem>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            self.take_arrivals(cx);
            if let Err(problem) = self.take_fetched(cx) {
                return Poll::Ready(Some(Err(problem)));
            }
            let Some(head) = self.heads.peek() else {
                let over = self.arrivals.is_none() && self.fetching.is_empty();
                return if over { Poll::Ready(None) } else { Poll::Pending };
            };
            if self.awaited > 0 {
                return Poll::Pending;
            }
            let time = head.time;
            if !head.ready.is_empty() {
                ready!(self.poll_window(time, cx));
            }
            if let Some(line) = self.pop() {
                return Poll::Ready(Some(Ok(line)));
            }
        }
    }
}

impl Ord for Head {
    /// The earliest is the greatest: that is what a heap gives out first.
    fn cmp(&self, other: &Head) -> Ordering {
        (other.time, other.order).cmp(&(self.time, self.order))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
