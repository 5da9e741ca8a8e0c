//! Tests of reading logs: tails, times, following and rotation.

use super::*;
use crate::logs::{append_system, format_line};
use freehold_model::logs::LogStream;
use futures::StreamExt;
use jiff::Timestamp;
use std::{fs, pin::pin};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// A log whose line `n` was printed at second `n`, `per_file` lines to a file.
fn log(lines: i64, per_file: i64) -> (tempfile::TempDir, LogReader) {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..lines {
        let path = dir.path().join(file_name((n / per_file) as u64 + 7));
        let mut bytes = fs::read(&path).unwrap_or_default();
        bytes.extend(format_line(at(n), LogStream::Stdout, format!("line {n}").as_bytes()));
        fs::write(path, bytes).unwrap();
    }
    let reader =
        LogReader::new(dir.path(), "ins_01jd0000000000000000000000".parse().unwrap(), "web".parse().unwrap());
    (dir, reader)
}

async fn texts(reader: &LogReader, query: LogQuery) -> Vec<String> {
    reader.lines(&query).map(|line| line.unwrap().text).collect().await
}

#[tokio::test]
async fn everything_in_order_across_files() {
    let (_dir, reader) = log(25, 10);
    let all = texts(&reader, LogQuery::default()).await;
    assert_eq!(all.len(), 25);
    assert_eq!((all[0].as_str(), all[24].as_str()), ("line 0", "line 24"));
}

#[tokio::test]
async fn tails_of_every_length_across_files() {
    let (_dir, reader) = log(25, 10);
    for tail in 0..30 {
        let lines = texts(&reader, LogQuery { tail: Some(tail), ..LogQuery::default() }).await;
        assert_eq!(lines.len(), tail.min(25));
        assert_eq!(reader.tail(tail).unwrap().len(), tail.min(25));
        if tail > 0 {
            assert_eq!(lines.last().unwrap(), "line 24");
        }
    }
}

#[tokio::test]
async fn times_bound_both_ways_of_reading() {
    let (_dir, reader) = log(25, 10);
    let query = LogQuery { since: Some(at(5)), until: Some(at(14)), ..LogQuery::default() };
    let all = texts(&reader, query.clone()).await;
    assert_eq!((all.len(), all[0].as_str(), all[9].as_str()), (10, "line 5", "line 14"));
    let last = texts(&reader, LogQuery { tail: Some(3), ..query.clone() }).await;
    assert_eq!(last, ["line 12", "line 13", "line 14"]);
    let more = texts(&reader, LogQuery { tail: Some(30), ..query }).await;
    assert_eq!(more.len(), 10);
}

#[tokio::test]
async fn what_has_no_line_feed_yet_is_left_for_later() {
    let (dir, reader) = log(2, 10);
    let path = dir.path().join("7.log");
    let whole = format_line(at(2), LogStream::Stdout, b"line 2");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(&whole[..whole.len() - 3]);
    fs::write(&path, &bytes).unwrap();
    let query = LogQuery { follow: true, tail: Some(1), ..LogQuery::default() };
    let mut lines = pin!(reader.lines(&query));
    assert_eq!(lines.next().await.unwrap().unwrap().text, "line 1");
    bytes.extend_from_slice(&whole[whole.len() - 3..]);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().text, "line 2");
}

#[tokio::test]
async fn following_goes_on_into_new_files_and_survives_removal_of_old_ones() {
    let (dir, reader) = log(3, 10);
    let mut lines = pin!(reader.lines(&LogQuery { follow: true, ..LogQuery::default() }));
    for n in 0..3 {
        assert_eq!(lines.next().await.unwrap().unwrap().text, format!("line {n}"));
    }
    append_system(dir.path(), "restarted").unwrap();
    fs::write(dir.path().join("8.log"), format_line(at(9), LogStream::Stderr, b"new file")).unwrap();
    let system = lines.next().await.unwrap().unwrap();
    assert_eq!((system.text.as_str(), system.stream), ("restarted", LogStream::System));
    assert_eq!(lines.next().await.unwrap().unwrap().text, "new file");
    fs::remove_file(dir.path().join("7.log")).unwrap();
    fs::remove_file(dir.path().join("8.log")).unwrap();
    fs::write(dir.path().join("11.log"), format_line(at(10), LogStream::Stderr, b"much later")).unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().text, "much later");
}

#[tokio::test]
async fn broken_and_foreign_bytes_do_no_harm() {
    let (dir, reader) = log(2, 10);
    let path = dir.path().join("7.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"rubbish\n\n");
    bytes.extend(format_line(at(3), LogStream::Stdout, b"\xff ok"));
    fs::write(path, bytes).unwrap();
    let all = texts(&reader, LogQuery::default()).await;
    assert_eq!(all, ["line 0", "line 1", "\u{fffd} ok"]);
    assert_eq!(reader.tail(2).unwrap()[1].text, "\u{fffd} ok");
}

#[tokio::test]
async fn no_log_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (_other, mut reader) = log(1, 1);
    reader.dir = dir.path().join("none");
    assert!(texts(&reader, LogQuery::default()).await.is_empty());
    assert!(reader.tail(5).unwrap().is_empty());
}

#[tokio::test]
async fn what_a_power_cut_left_between_lines_is_passed_over() {
    let (dir, reader) = log(1, 10);
    let mut bytes = fs::read(dir.path().join(file_name(7))).unwrap();
    bytes.extend(vec![0; 3 * CHUNK]);
    bytes.push(b'\n');
    bytes.extend(format_line(at(2), LogStream::Stdout, b"after"));
    fs::write(dir.path().join(file_name(7)), bytes).unwrap();
    assert_eq!(texts(&reader, LogQuery::default()).await, ["line 0", "after"]);
    assert_eq!(texts(&reader, LogQuery { tail: Some(5), ..LogQuery::default() }).await, ["line 0", "after"]);
}
