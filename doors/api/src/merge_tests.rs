//! Tests of the merge: order, quiet logs, logs that come later.

use super::*;
use freehold_model::{InstanceId, logs::LogStream};
use futures::stream;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use tokio::sync::mpsc;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn line(time: Timestamp, text: &str) -> LogLine {
    LogLine {
        time,
        stream: LogStream::Stdout,
        instance: InstanceId(Default::default()),
        process: "web".parse().unwrap(),
        next: Default::default(),
        text: text.into(),
    }
}

fn batch(lines: Vec<LogLine>, caught_up: bool) -> Result<LogBatch, Problem> {
    Ok(LogBatch { lines, caught_up })
}

/// A log that is read to its end, a line at a time.
fn history(lines: &[(i64, &str)]) -> LogTrail {
    let batches: Vec<_> =
        lines.iter().map(|(second, text)| batch(vec![line(at(*second), text)], false)).collect();
    LogTrail { starts: None, lines: stream::iter(batches).boxed() }
}

/// A log that has said all for now, and goes on with what is sent.
fn live() -> (mpsc::Sender<LogLine>, LogTrail) {
    let (sender, receiver) = mpsc::channel(8);
    let later =
        stream::unfold(receiver, |mut r| async { r.recv().await.map(|line| (batch(vec![line], true), r)) });
    let lines = stream::iter([batch(vec![], true)]).chain(later).boxed();
    (sender, LogTrail { starts: None, lines })
}

fn merge(trails: impl IntoIterator<Item = LogTrail, IntoIter: Send + 'static>) -> Merge {
    Merge::new(stream::iter(trails).boxed())
}

async fn texts(merge: Merge) -> Vec<String> {
    merge.map(|line| line.unwrap().text).collect().await
}

#[tokio::test]
async fn history_comes_in_the_order_of_time() {
    let one = history(&[(1, "a"), (4, "d"), (5, "e")]);
    let other = history(&[(2, "b"), (3, "c"), (6, "f")]);
    assert_eq!(texts(merge([one, other, history(&[])])).await, ["a", "b", "c", "d", "e", "f"]);
    assert!(texts(merge([])).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_disk_does_not_mix_up_the_order() {
    let slow = stream::once(async {
        sleep(Duration::from_secs(60)).await;
        batch(vec![line(at(1), "first")], false)
    });
    let slow = LogTrail { starts: None, lines: slow.boxed() };
    assert_eq!(texts(merge([history(&[(2, "second")]), slow])).await, ["first", "second"]);
}

#[tokio::test]
async fn a_log_is_not_read_before_its_first_line_is_due() {
    let open = Arc::new(AtomicUsize::new(0));
    let trails = (0..50).map(|n| {
        let (open, text) = (open.clone(), n.to_string());
        let lines = stream::once(async move {
            open.fetch_add(1, Relaxed);
            batch(vec![line(at(n), &text)], true)
        });
        LogTrail { starts: Some(at(n)), lines: lines.boxed() }
    });
    let mut merge = merge(trails.collect::<Vec<_>>());
    for n in 0..50 {
        assert_eq!(merge.next().await.unwrap().unwrap().text, n.to_string());
        assert!(open.load(Relaxed) <= n + 1, "{open:?} are open for line {n}");
    }
    assert!(merge.next().await.is_none());
}

#[tokio::test]
async fn a_quiet_instance_holds_nobody_up_for_long() {
    let (quiet_in, quiet) = live();
    let (busy_in, busy) = live();
    let mut merge = merge([quiet, busy]);
    for _ in 1..=5 {
        busy_in.send(line(Timestamp::now(), "busy")).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(20), merge.next()).await;
        assert_eq!(next.expect("it waits for the quiet one").unwrap().unwrap().text, "busy");
    }
    quiet_in.send(line(Timestamp::now(), "quiet")).await.unwrap();
    drop((quiet_in, busy_in));
    assert_eq!(texts(merge).await, ["quiet"]);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_a_little_late_still_comes_in_its_place() {
    let (early_in, early) = live();
    let (late_in, late) = live();
    let mut merge = merge([early, late]);
    let now = Timestamp::now();
    early_in.send(line(now, "second")).await.unwrap();
    let before = now - SignedDuration::from_millis(1);
    let sent = async {
        tokio::task::yield_now().await;
        late_in.send(line(before, "first")).await.unwrap();
    };
    let (first, ()) = tokio::join!(merge.next(), sent);
    assert_eq!(first.unwrap().unwrap().text, "first");
    assert_eq!(merge.next().await.unwrap().unwrap().text, "second");
}

#[tokio::test(start_paused = true)]
async fn instances_that_appear_later_join() {
    let (join, joining) = mpsc::channel::<LogTrail>(1);
    let arrivals = stream::unfold(joining, |mut r| async { r.recv().await.map(|trail| (trail, r)) });
    let mut merge = Merge::new(arrivals.boxed());
    join.send(history(&[(1, "a")])).await.unwrap();
    assert_eq!(merge.next().await.unwrap().unwrap().text, "a");
    join.send(history(&[(2, "b")])).await.unwrap();
    drop(join);
    assert_eq!(texts(merge).await, ["b"]);
}
