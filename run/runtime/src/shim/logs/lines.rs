//! Makes lines of what an instance prints: no IO. Called by the log's writer.
//!
//! Invariant: the lines of one stream come in the order in which they were printed, those of the two
//! streams in the order in which they arrived; and each line's time is later than that of the one before.

use crate::logs::{LONGEST_LINE, stream_name};
use freehold_model::logs::LogStream;
use jiff::Timestamp;
use std::io::Write;

/// A clock that was set back by less than this is waited for; by more, it is believed.
const SET_BACK: i128 = 1_000_000_000;

/// Output on its way to lines.
#[derive(Default)]
pub(super) struct Lines {
    /// Whole lines as they stand in the log.
    pub(super) ready: Vec<u8>,
    ready_lines: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// What was dropped since the log last said so: lines and bytes.
    dropped: (u64, usize),
    stamp: Stamp,
}

impl Lines {
    /// Takes output; complete lines become ready.
    pub(super) fn push(&mut self, stream: LogStream, bytes: &[u8]) {
        self.stamp.now();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            if self.partial(stream).is_empty() && end <= LONGEST_LINE {
                self.write(stream, &rest[..end]);
            } else {
                self.extend(stream, &rest[..end]);
                self.complete(stream);
            }
            rest = &rest[end + 1..];
        }
        self.extend(stream, rest);
    }

    /// What is ready, after a word on what was dropped before it.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.ready_lines = 0;
        let ready = std::mem::take(&mut self.ready);
        let (lines, bytes) = std::mem::take(&mut self.dropped);
        if lines == 0 {
            return ready;
        }
        let text = format!("{lines} lines ({bytes} bytes) were dropped here: the disk could not keep up");
        let mut all = crate::logs::format_line(Timestamp::now(), LogStream::System, text.as_bytes());
        all.extend_from_slice(&ready);
        all
    }

    /// Throws away what is ready, and counts it.
    pub(super) fn drop_ready(&mut self) {
        self.dropped.0 += std::mem::take(&mut self.ready_lines);
        self.dropped.1 += self.ready.len();
        self.ready.clear();
    }

    /// Makes lines of what has no line feed: nothing comes after it.
    pub(super) fn finish(&mut self) {
        self.stamp.now();
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            if !self.partial(stream).is_empty() {
                self.complete(stream);
            }
        }
    }

    fn partial(&mut self, stream: LogStream) -> &mut Vec<u8> {
        if stream == LogStream::Stdout { &mut self.stdout } else { &mut self.stderr }
    }

    fn extend(&mut self, stream: LogStream, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = LONGEST_LINE - self.partial(stream).len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.partial(stream).extend_from_slice(now);
            bytes = later;
            if !bytes.is_empty() {
                self.complete(stream);
            }
        }
    }

    fn complete(&mut self, stream: LogStream) {
        let mut text = std::mem::take(self.partial(stream));
        self.write(stream, &text);
        text.clear();
        // A long line is rare: its memory is not kept.
        text.shrink_to(16 << 10);
        *self.partial(stream) = text;
    }

    fn write(&mut self, stream: LogStream, text: &[u8]) {
        self.stamp.write(&mut self.ready);
        self.ready.push(b' ');
        self.ready.extend_from_slice(stream_name(stream).as_bytes());
        self.ready.push(b' ');
        // The reader replaces what is not UTF-8: the file keeps what was printed.
        self.ready.extend_from_slice(text);
        self.ready.push(b'\n');
        self.ready_lines += 1;
    }
}

/// The time of the next line. What arrived together differs by a nanosecond a line, so that a time names
/// one line of a log, and the clock need not be asked for each.
#[derive(Default)]
struct Stamp {
    next: i128,
    second: i64,
    /// `second` as text, up to the fraction.
    text: String,
}

impl Stamp {
    fn now(&mut self) {
        let now = Timestamp::now().as_nanosecond();
        if now > self.next || now < self.next - SET_BACK {
            self.next = now;
        }
    }

    fn write(&mut self, to: &mut Vec<u8>) {
        let (second, fraction) =
            (self.next.div_euclid(1_000_000_000) as i64, self.next.rem_euclid(1_000_000_000));
        if self.text.is_empty() || second != self.second {
            self.second = second;
            let time = Timestamp::from_second(second).unwrap_or_default().to_string();
            self.text = time.trim_end_matches('Z').to_owned();
        }
        self.next += 1;
        let _ = write!(to, "{}.{fraction:09}Z", self.text);
    }
}
