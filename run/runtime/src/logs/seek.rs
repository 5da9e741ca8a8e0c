//! Finds a place in a log by time, reading little: the files' first lines tell which file, halving finds
//! the place in it. Times grow along a log; the lines of Freehold itself may be out of order a little.

use super::{LogReader, files, split_line};
use freehold_model::logs::LogPlace;
use jiff::{SignedDuration, Timestamp};
use std::{fs::File, io, os::unix::fs::FileExt};

/// A line may stand this much after or before where its time belongs.
pub(super) const SLACK: SignedDuration = SignedDuration::from_secs(5);
/// Halving ends with so much: it is read anyway.
const FINE: u64 = 64 << 10;

impl LogReader {
    /// A place before every line that is not older than `since`, and not long before.
    pub(super) fn seek(&self, since: Timestamp) -> io::Result<LogPlace> {
        let since = since.saturating_sub(SLACK).unwrap_or(since);
        let mut place = LogPlace::default();
        for number in files(&self.dir)?.into_iter().rev() {
            let Some(file) = self.open(number)? else { continue };
            place = LogPlace { file: number, offset: 0 };
            if first_after(&file, 0)?.is_some_and(|(_, time)| time < since) {
                place.offset = halve(&file, since)?;
                break;
            }
        }
        Ok(place)
    }

    /// The time of the first line there is.
    pub(super) fn first_time(&self) -> io::Result<Option<Timestamp>> {
        for number in files(&self.dir)? {
            let Some(file) = self.open(number)? else { continue };
            if let Some((_, time)) = first_after(&file, 0)? {
                return Ok(Some(time));
            }
        }
        Ok(None)
    }
}

fn halve(file: &File, since: Timestamp) -> io::Result<u64> {
    let (mut low, mut high) = (0, file.metadata()?.len());
    while high - low > FINE {
        let middle = low + (high - low) / 2;
        match first_after(file, middle)? {
            Some((offset, time)) if time < since && offset < high => low = offset,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first line that starts at or after `offset`, if there is one near: where, and its time.
fn first_after(file: &File, offset: u64) -> io::Result<Option<(u64, Timestamp)>> {
    // A place in the middle of a line is told by the byte before it.
    let from = offset.saturating_sub(1);
    let mut buffer = vec![0; 4 << 10];
    loop {
        let read = file.read_at(&mut buffer, from)?;
        let mut start = if offset == 0 { Some(0) } else { line_feed(&buffer[..read], 0) };
        while let Some(at) = start {
            // The time and the stream suffice.
            if let Some((time, ..)) = split_line(&buffer[at..read.min(at + 64)]) {
                return Ok(Some((from + at as u64, time)));
            }
            start = line_feed(&buffer[..read], at);
        }
        if read < buffer.len() || buffer.len() > 4 * super::LONGEST_LINE {
            return Ok(None);
        }
        buffer.resize(buffer.len() * 8, 0);
    }
}

/// Behind the next line feed.
fn line_feed(bytes: &[u8], from: usize) -> Option<usize> {
    bytes[from..].iter().position(|b| *b == b'\n').map(|at| from + at + 1)
}
