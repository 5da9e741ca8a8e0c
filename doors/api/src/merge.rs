//! Merges the lines of many instances into one stream in the order of time.
//!
//! Called by the logs route. A k-way merge would wait for the quietest instance before it says
//! anything; so an instance that has said nothing for [`PATIENCE`] is passed over until it speaks again.
//! Invariant: the lines of one instance stay in their order; no line is lost. Lines of different instances
//! are in the order of time as long as none comes later than [`PATIENCE`] after its time.

use crate::port::LogLines;
use freehold_model::{Problem, logs::LogLine};
use futures::{Stream, StreamExt as _, stream::BoxStream};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// How long an instance may keep the others waiting.
const PATIENCE: Duration = Duration::from_millis(100);

/// Lines in the order of time. Ends when every instance has ended and no more can come.
pub(crate) struct Merge {
    /// Brings instances; `None` once there will be no more.
    arrivals: Option<BoxStream<'static, LogLines>>,
    sources: Vec<Source>,
    /// Runs while a line waits for slower instances.
    patience: Pin<Box<Sleep>>,
    waiting: bool,
}

struct Source {
    lines: LogLines,
    head: Head,
}

enum Head {
    /// Its next line.
    Line(LogLine),
    /// It may have a line any moment: the others wait.
    Awaited,
    /// It has been silent for long: nobody waits.
    Quiet,
    Ended,
}

impl Merge {
    /// Merges what `arrivals` bring.
    pub(crate) fn new(arrivals: BoxStream<'static, LogLines>) -> Merge {
        let patience = Box::pin(sleep(Duration::ZERO));
        Merge { arrivals: Some(arrivals), sources: vec![], patience, waiting: false }
    }

    fn take_arrivals(&mut self, cx: &mut Context<'_>) {
        while let Some(arrivals) = &mut self.arrivals {
            match arrivals.poll_next_unpin(cx) {
                Poll::Ready(Some(lines)) => self.sources.push(Source { lines, head: Head::Awaited }),
                Poll::Ready(None) => self.arrivals = None,
                Poll::Pending => return,
            }
        }
    }

    /// Asks every source without a line for its next.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<(), Problem> {
        for source in &mut self.sources {
            if matches!(source.head, Head::Line(_) | Head::Ended) {
                continue;
            }
            match source.lines.poll_next_unpin(cx) {
                Poll::Ready(Some(line)) => source.head = Head::Line(line?),
                Poll::Ready(None) => source.head = Head::Ended,
                Poll::Pending => {}
            }
        }
        self.sources.retain(|source| !matches!(source.head, Head::Ended));
        Ok(())
    }

    /// The source with the earliest line.
    fn earliest(&self) -> Option<usize> {
        let lines = self.sources.iter().enumerate();
        let lines = lines.filter_map(|(place, source)| match &source.head {
            Head::Line(line) => Some((line.time, place)),
            _ => None,
        });
        lines.min().map(|(_, place)| place)
    }

    /// Waits, while a line is held, until nobody is awaited any more; but not for long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.sources.iter().any(|source| matches!(source.head, Head::Awaited)) {
            self.waiting = false;
            return Poll::Ready(());
        }
        if !self.waiting {
            self.waiting = true;
            self.patience.as_mut().reset(Instant::now() + PATIENCE);
        }
        ready!(self.patience.as_mut().poll(cx));
        self.waiting = false;
        for source in &mut self.sources {
            if matches!(source.head, Head::Awaited) {
                source.head = Head::Quiet;
            }
        }
        Poll::Ready(())
    }
}

impl Stream for Merge {
    type Item = Result<LogLine, Problem>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.take_arrivals(cx);
        if let Err(problem) = self.fill(cx) {
            return Poll::Ready(Some(Err(problem)));
        }
        let Some(place) = self.earliest() else {
            let over = self.arrivals.is_none() && self.sources.is_empty();
            return if over { Poll::Ready(None) } else { Poll::Pending };
        };
        ready!(self.poll_patience(cx));
        match std::mem::replace(&mut self.sources[place].head, Head::Awaited) {
            Head::Line(line) => Poll::Ready(Some(Ok(line))),
            _ => unreachable!("`earliest` answers with the place of a line"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::{InstanceId, logs::LogStream};
    use futures::stream;
    use jiff::Timestamp;
    use tokio::sync::mpsc;

    fn line(second: i64, text: &str) -> Result<LogLine, Problem> {
        Ok(LogLine {
            time: Timestamp::from_second(second).unwrap(),
            stream: LogStream::Stdout,
            instance: InstanceId(Default::default()),
            process: "web".parse().unwrap(),
            text: text.into(),
        })
    }

    fn history(lines: &[(i64, &str)]) -> LogLines {
        stream::iter(lines.iter().map(|(second, text)| line(*second, text)).collect::<Vec<_>>()).boxed()
    }

    fn live(receiver: mpsc::Receiver<Result<LogLine, Problem>>) -> LogLines {
        stream::unfold(receiver, |mut r| async { r.recv().await.map(|line| (line, r)) }).boxed()
    }

    async fn texts(merge: Merge) -> Vec<String> {
        merge.map(|line| line.unwrap().text).collect().await
    }

    #[tokio::test]
    async fn history_comes_in_the_order_of_time() {
        let one = history(&[(1, "a"), (4, "d"), (5, "e")]);
        let other = history(&[(2, "b"), (3, "c"), (6, "f")]);
        let merged = texts(Merge::new(stream::iter([one, other, history(&[])]).boxed())).await;
        assert_eq!(merged, ["a", "b", "c", "d", "e", "f"]);
        assert!(texts(Merge::new(stream::empty().boxed())).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_instance_holds_nobody_up_for_long() {
        let (quiet_in, quiet) = mpsc::channel(8);
        let (busy_in, busy) = mpsc::channel(8);
        let mut merge = Merge::new(stream::iter([live(quiet), live(busy)]).boxed());
        let started = Instant::now();
        for second in 1..=5 {
            busy_in.send(line(second, "busy")).await.unwrap();
            assert_eq!(merge.next().await.unwrap().unwrap().text, "busy");
        }
        assert!(started.elapsed() < PATIENCE * 2, "waited {:?} in all", started.elapsed());
        quiet_in.send(line(9, "quiet")).await.unwrap();
        drop((quiet_in, busy_in));
        assert_eq!(texts(merge).await, ["quiet"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_disk_does_not_mix_up_the_order() {
        let slow = stream::once(async {
            sleep(PATIENCE / 2).await;
            line(1, "first")
        });
        let merge = Merge::new(stream::iter([history(&[(2, "second")]), slow.boxed()]).boxed());
        assert_eq!(texts(merge).await, ["first", "second"]);
    }

    #[tokio::test(start_paused = true)]
    async fn instances_that_appear_later_join() {
        let (join, joining) = mpsc::channel::<LogLines>(1);
        let arrivals = stream::unfold(joining, |mut r| async { r.recv().await.map(|lines| (lines, r)) });
        let mut merge = Merge::new(arrivals.boxed());
        join.send(history(&[(1, "a")])).await.unwrap();
        assert_eq!(merge.next().await.unwrap().unwrap().text, "a");
        join.send(history(&[(2, "b")])).await.unwrap();
        drop(join);
        assert_eq!(texts(merge).await, ["b"]);
    }
}
