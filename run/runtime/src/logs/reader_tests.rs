//! Tests of reading logs: tails, times, following and rotation.

use super::*;
use crate::logs::{LONGEST_LINE, append_system, format_line};
use futures::StreamExt;
use std::{fs, pin::pin, time::Duration};
use tokio::time::timeout;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// A log whose line `n` was printed at second `n`, `per_file` lines to a file.
fn log(lines: i64, per_file: i64) -> (tempfile::TempDir, LogReader) {
    let dir = tempfile::tempdir().unwrap();
    for file in 0..(lines + per_file - 1) / per_file {
        let numbers = file * per_file..((file + 1) * per_file).min(lines);
        let line = |n| format_line(at(n), LogStream::Stdout, format!("line {n}").as_bytes());
        let bytes: Vec<u8> = numbers.flat_map(line).collect();
        fs::write(dir.path().join(file_name(file as u64 + 7)), bytes).unwrap();
    }
    let reader =
        LogReader::new(dir.path(), "ins_01jd0000000000000000000000".parse().unwrap(), "web".parse().unwrap());
    (dir, reader)
}

async fn texts(reader: &LogReader, range: Range) -> Vec<String> {
    let batches = reader.lines(range, None, None);
    batches.flat_map(|batch| stream::iter(batch.unwrap().lines)).map(|line| line.text).collect().await
}

fn last_texts(reader: &LogReader, count: usize, range: Range) -> Vec<String> {
    let [Some(place)] = tail(&[(reader.clone(), range.clone())], count).unwrap()[..] else { return vec![] };
    reader.forward(place, range).rest().unwrap().into_iter().map(|line| line.text).collect()
}

/// The lines as they come while the log is followed; dropping the sender ends it.
fn followed(
    reader: &LogReader,
    from: Option<LogPlace>,
) -> (watch::Sender<bool>, impl Stream<Item = LogLine> + use<>) {
    let (gone, alive) = watch::channel(true);
    let batches = reader.lines(Range::default(), from, Some(alive));
    (gone, batches.flat_map(|batch| stream::iter(batch.unwrap().lines)))
}

async fn next(lines: &mut (impl Stream<Item = LogLine> + Unpin)) -> LogLine {
    timeout(Duration::from_secs(20), lines.next()).await.expect("a line in time").unwrap()
}

#[tokio::test]
async fn everything_in_order_across_files() {
    let (_dir, reader) = log(25, 10);
    let all = texts(&reader, Range::default()).await;
    assert_eq!(all.len(), 25);
    assert_eq!((all[0].as_str(), all[24].as_str()), ("line 0", "line 24"));
    assert_eq!(reader.starts(), Some(at(0)));
}

#[test]
fn tails_of_every_length_across_files() {
    let (_dir, reader) = log(25, 10);
    for count in 0..30 {
        let lines = reader.tail(count).unwrap();
        assert_eq!(lines.len(), count.min(25));
        assert!(count == 0 || lines.last().unwrap().text == "line 24");
    }
}

#[test]
fn the_last_lines_of_several_logs_are_the_last_of_all() {
    let (_one, first) = log(25, 10);
    let (_other, second) = log(10, 3);
    let logs = [(first, Range::default()), (second, Range::default())];
    let places = tail(&logs, 5).unwrap();
    assert!(places[0].is_some() && places[1].is_none(), "the newest five are all of the longer log");
    let places = tail(&logs, 25).unwrap();
    let mut lines: Vec<LogLine> = vec![];
    for ((log, range), place) in logs.iter().zip(places) {
        lines.extend(log.forward(place.unwrap(), range.clone()).rest().unwrap());
    }
    lines.sort_by_key(|line| line.time);
    assert_eq!((lines.len(), lines[0].time), (25, at(5)));
}

#[tokio::test]
async fn times_bound_both_ways_of_reading() {
    let (_dir, reader) = log(25, 10);
    let range = Range { since: Some(at(5)), until: Some(at(14)), ..Range::default() };
    let all = texts(&reader, range.clone()).await;
    assert_eq!((all.len(), all[0].as_str(), all[9].as_str()), (10, "line 5", "line 14"));
    assert_eq!(last_texts(&reader, 3, range.clone()), ["line 12", "line 13", "line 14"]);
    assert_eq!(last_texts(&reader, 30, range).len(), 10);
}

#[tokio::test]
async fn only_what_matches_is_given_out_and_counted() {
    let (_dir, reader) = log(25, 10);
    let range = Range { patterns: Patterns::new(&["e [12]?3$"]).unwrap(), ..Range::default() };
    assert_eq!(texts(&reader, range.clone()).await, ["line 3", "line 13", "line 23"]);
    assert_eq!(last_texts(&reader, 2, range), ["line 13", "line 23"]);
}

#[tokio::test]
async fn a_place_is_gone_on_from_without_loss_or_doubles() {
    let (_dir, reader) = log(25, 10);
    let all = reader.tail(25).unwrap();
    for (n, line) in all.iter().enumerate() {
        let range = Range { after: Some(line.next), ..Range::default() };
        let rest = texts(&reader, range.clone()).await;
        assert_eq!(rest.len(), 24 - n, "after {}", line.next);
        assert_eq!(last_texts(&reader, 100, range), rest);
    }
}

#[test]
fn the_middle_of_a_large_log_is_found_by_its_time() {
    let (_dir, reader) = log(20_000, 20_000);
    let size = reader.end().unwrap().offset;
    for second in [0, 1, 77, 9_999, 19_990, 19_999, 30_000] {
        let place = reader.seek(at(second)).unwrap();
        let mut first = reader.forward(place, Range::default()).next().unwrap().lines.into_iter();
        assert!(first.next().is_some_and(|line| line.time <= at(second)), "{second}: {place}");
        let wanted = size * second.unsigned_abs() / 20_000;
        assert!(place.offset + (200 << 10) > wanted.min(size), "{second}: {place} is far before {wanted}");
    }
    assert_eq!(reader.seek(at(-100)).unwrap(), LogPlace { file: 7, offset: 0 });
}

#[tokio::test]
async fn what_has_no_line_feed_yet_is_left_for_later() {
    let (dir, reader) = log(2, 10);
    let path = dir.path().join("7.log");
    let whole = format_line(at(2), LogStream::Stdout, b"line 2");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(&whole[..whole.len() - 3]);
    fs::write(&path, &bytes).unwrap();
    let place = tail(&[(reader.clone(), Range::default())], 1).unwrap()[0];
    let (_alive, lines) = followed(&reader, place);
    let mut lines = pin!(lines);
    assert_eq!(next(&mut lines).await.text, "line 1");
    bytes.extend_from_slice(&whole[whole.len() - 3..]);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(next(&mut lines).await.text, "line 2");
}

#[tokio::test]
async fn following_goes_on_into_new_files_and_says_what_was_removed_unread() {
    let (dir, reader) = log(3, 10);
    let (_alive, lines) = followed(&reader, None);
    let mut lines = pin!(lines);
    for n in 0..3 {
        assert_eq!(next(&mut lines).await.text, format!("line {n}"));
    }
    append_system(dir.path(), "restarted").unwrap();
    fs::write(dir.path().join("8.log"), format_line(at(9), LogStream::Stderr, b"new file")).unwrap();
    let system = next(&mut lines).await;
    assert_eq!((system.text.as_str(), system.stream), ("restarted", LogStream::System));
    assert_eq!(next(&mut lines).await.text, "new file");
    fs::remove_file(dir.path().join("7.log")).unwrap();
    fs::remove_file(dir.path().join("8.log")).unwrap();
    fs::write(dir.path().join("11.log"), format_line(at(10), LogStream::Stderr, b"much later")).unwrap();
    let gap = next(&mut lines).await;
    assert!(gap.stream == LogStream::System && gap.text.contains("missing"), "{gap:?}");
    assert_eq!(next(&mut lines).await.text, "much later");
}

#[tokio::test]
async fn following_ends_with_the_instance_and_after_its_last_line() {
    let (dir, reader) = log(1, 10);
    let (alive, lines) = followed(&reader, None);
    let mut lines = pin!(lines);
    assert_eq!(next(&mut lines).await.text, "line 0");
    append_system(dir.path(), "last").unwrap();
    alive.send(false).unwrap();
    assert_eq!(next(&mut lines).await.text, "last");
    let end = timeout(Duration::from_secs(20), lines.next()).await.expect("an end in time");
    assert_eq!(end, None);
}

#[tokio::test]
async fn broken_and_foreign_bytes_do_no_harm() {
    let (dir, reader) = log(2, 10);
    let path = dir.path().join("7.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"rubbish\n\n");
    bytes.extend(format_line(at(3), LogStream::Stdout, b"\xff ok\0"));
    fs::write(path, bytes).unwrap();
    let all = texts(&reader, Range::default()).await;
    assert_eq!(all, ["line 0", "line 1", "\u{fffd} ok\0"]);
    assert_eq!(reader.tail(2).unwrap()[1].text, "\u{fffd} ok\0");
}

#[tokio::test]
async fn lines_of_a_megabyte_come_whole_both_ways() {
    let (dir, reader) = log(1, 10);
    let long = vec![b'x'; LONGEST_LINE];
    let lines = [(1, &long[..]), (2, b"short"), (3, &long[..]), (4, b"end")];
    let bytes: Vec<u8> =
        lines.iter().flat_map(|(n, text)| format_line(at(*n), LogStream::Stdout, text)).collect();
    fs::write(dir.path().join(file_name(8)), bytes).unwrap();
    let lengths = |texts: Vec<String>| texts.iter().map(String::len).collect::<Vec<_>>();
    assert_eq!(lengths(texts(&reader, Range::default()).await), [6, LONGEST_LINE, 5, LONGEST_LINE, 3]);
    assert_eq!(lengths(last_texts(&reader, 3, Range::default())), [5, LONGEST_LINE, 3]);
    let since = Range { since: Some(at(4)), ..Range::default() };
    assert_eq!(texts(&reader, since).await, ["end"]);
}

#[tokio::test]
async fn no_log_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (_other, mut reader) = log(1, 1);
    reader.dir = dir.path().join("none");
    assert!(texts(&reader, Range::default()).await.is_empty());
    assert!(reader.tail(5).unwrap().is_empty());
    assert_eq!((reader.starts(), reader.end().unwrap()), (None, LogPlace::default()));
}

#[tokio::test]
async fn what_a_power_cut_left_between_lines_is_passed_over() {
    let (dir, reader) = log(1, 10);
    let mut bytes = fs::read(dir.path().join(file_name(7))).unwrap();
    bytes.extend(vec![0; 5 * LONGEST_LINE]);
    bytes.push(b'\n');
    bytes.extend(format_line(at(2), LogStream::Stdout, b"after"));
    fs::write(dir.path().join(file_name(7)), bytes).unwrap();
    assert_eq!(texts(&reader, Range::default()).await, ["line 0", "after"]);
    assert_eq!(last_texts(&reader, 5, Range::default()), ["line 0", "after"]);
}
