//! Tests of the way into the log: lines, their times, and a disk that is slow or full.

use super::*;
use crate::logs::{file_name, files, parse_line};
use std::{fs, sync::mpsc};

fn texts(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for number in files(dir).unwrap() {
        let bytes = fs::read(dir.join(file_name(number))).unwrap();
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        all.extend(lines.map(|line| parse_line(line).unwrap().2));
    }
    all
}

/// What the log holds after `outputs` were printed.
fn log_of(outputs: &[(LogStream, &[u8])]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(dir.path(), LogLimits::default()).unwrap();
    for (stream, bytes) in outputs {
        log.push(*stream, bytes);
        log.pass_on();
    }
    log.finish();
    texts(dir.path())
}

#[test]
fn chunks_become_lines_whatever_their_borders() {
    use LogStream::{Stderr, Stdout};
    let all = log_of(&[(Stdout, b"on"), (Stderr, b"other\n"), (Stdout, b"e\n\ntwo\nthr")]);
    assert_eq!(all, ["other", "one", "", "two", "thr"]);
}

#[test]
fn bytes_of_every_kind_are_kept() {
    let all = log_of(&[(LogStream::Stdout, b"a\0b\n\xff\xfe\r\n\x1b[2J\n")]);
    assert_eq!(all, ["a\0b", "\u{fffd}\u{fffd}\r", "\x1b[2J"]);
}

#[test]
fn long_lines_are_split_and_an_exact_one_is_not() {
    let exact = [vec![b'a'; LONGEST_LINE], vec![b'\n']].concat();
    let (head, tail) = exact.split_at(LONGEST_LINE / 3);
    let longer = vec![b'b'; LONGEST_LINE + 3];
    let out = LogStream::Stdout;
    let all = log_of(&[(out, &exact), (out, head), (out, tail), (out, &longer)]);
    let lengths: Vec<usize> = all.iter().map(String::len).collect();
    assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, LONGEST_LINE, 3]);
}

#[test]
fn every_line_has_a_later_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(dir.path(), LogLimits::default()).unwrap();
    for _ in 0..50 {
        log.push(LogStream::Stdout, &b"x\n".repeat(1000));
        log.push(LogStream::Stderr, b"y\n");
        log.pass_on();
    }
    log.finish();
    let bytes = fs::read(dir.path().join("0.log")).unwrap();
    let times: Vec<_> = bytes.split(|b| *b == b'\n').filter_map(parse_line).map(|line| line.0).collect();
    assert_eq!(times.len(), 50 * 1001);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
}

/// A disk that writes only what it is allowed to.
struct SlowDisk {
    allowed: mpsc::Receiver<()>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Sink for SlowDisk {
    fn write(&mut self, lines: &[u8]) {
        let _ = self.allowed.recv();
        self.written.lock().unwrap().extend_from_slice(lines);
    }
}

#[test]
fn a_disk_that_cannot_follow_costs_counted_lines_and_no_patience() {
    let (allow, allowed) = mpsc::channel();
    let written = Arc::new(Mutex::new(Vec::new()));
    let mut log = LogWriter::to(SlowDisk { allowed, written: Arc::clone(&written) }).unwrap();
    let (mut number, mut waits) = (0, 0);
    let mut print = |log: &mut LogWriter, lines: u64| {
        for _ in 0..lines {
            log.push(LogStream::Stdout, format!("{number} {}\n", "x".repeat(1000)).as_bytes());
            number += 1;
        }
        log.pass_on();
        while !log.has_room() {
            waits += 1;
            thread::sleep(log.patience().unwrap());
            log.pass_on();
        }
    };
    for _ in 0..200 {
        print(&mut log, 100);
    }
    for _ in 0..1000 {
        let _ = allow.send(());
    }
    drop(allow);
    while !log.shared.lock().ready.is_empty() {
        thread::yield_now();
    }
    print(&mut log, 100);
    log.finish();
    assert!((1..5).contains(&waits), "the instance waited {waits} times");
    let written = written.lock().unwrap();
    let lines: Vec<_> = written.split(|b| *b == b'\n').filter_map(parse_line).collect();
    let mut next = 0;
    let mut gaps = 0;
    for (_, stream, text) in lines {
        let first: u64 = text.split(' ').next().unwrap().parse().unwrap();
        if stream == LogStream::System {
            assert!(text.contains("lines ("), "{text}");
            (next, gaps) = (next + first, gaps + 1);
        } else {
            assert_eq!(first, next, "a line is missing and nothing says so");
            next += 1;
        }
    }
    assert_eq!((next, gaps), (20_100, 1));
    assert!(written.len() < 4 * BUFFER);
}
