//! The lines of a log, last first, reading no more than is asked for; and the last lines of several logs.

use super::{LogReader, Range, files, seek::SLACK};
use freehold_model::logs::{LogLine, LogPlace};
use jiff::Timestamp;
use std::{collections::BinaryHeap, fs::File, io, os::unix::fs::FileExt};

/// The first piece that is read; each is twice as long as the one before, up to [`LARGEST`].
const SMALLEST: u64 = 8 << 10;
const LARGEST: u64 = 256 << 10;

/// Where each of `logs` must be read from, so that in all the last `count` lines come: `None`
/// where it has none of them.
pub(super) fn tail(
    logs: &[(LogReader, Range)],
    count: usize,
) -> Result<Vec<Option<LogPlace>>, (usize, io::Error)> {
    let mut places = vec![None; logs.len()];
    let mut backs = Vec::with_capacity(logs.len());
    let mut heap: BinaryHeap<(Timestamp, usize, LogPlace)> = BinaryHeap::new();
    for (log, (reader, range)) in logs.iter().enumerate() {
        let failed = |error| (log, error);
        let mut back = Backward::new(reader, range).map_err(failed)?;
        heap.extend(back.next().map_err(failed)?.map(|(time, place)| (time, log, place)));
        backs.push(back);
    }
    for _ in 0..count {
        let Some((_, log, place)) = heap.pop() else { break };
        places[log] = Some(place);
        let next = backs[log].next().map_err(|error| (log, error))?;
        heap.extend(next.map(|(time, place)| (time, log, place)));
    }
    Ok(places)
}

impl LogReader {
    /// The last `count` lines.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn tail(&self, count: usize) -> Result<Vec<LogLine>, super::LogError> {
        let places = super::tail(&[(self.clone(), Range::default())], count)?;
        let [Some(place)] = places[..] else { return Ok(vec![]) };
        self.forward(place, Range::default()).rest().map_err(|source| self.error(source))
    }
}

/// The lines of a log that are in a range, last first.
struct Backward<'a> {
    log: &'a LogReader,
    range: &'a Range,
    /// Not yet opened.
    older: Vec<u64>,
    open: Option<Piece>,
}

impl<'a> Backward<'a> {
    fn new(log: &'a LogReader, range: &'a Range) -> io::Result<Backward<'a>> {
        let mut older = files(&log.dir)?;
        older.retain(|number| range.after.is_none_or(|place| *number >= place.file));
        Ok(Backward { log, range, older, open: None })
    }

    /// The time of the next line, and where it starts.
    fn next(&mut self) -> io::Result<Option<(Timestamp, LogPlace)>> {
        loop {
            let Some(piece) = &mut self.open else {
                let Some(number) = self.older.pop() else { return Ok(None) };
                self.open = self.log.open(number)?.map(|file| Piece::new(file, number)).transpose()?;
                continue;
            };
            let Some(start) = piece.step()? else {
                self.open = None;
                continue;
            };
            let place = LogPlace { file: piece.number, offset: piece.unread + start as u64 };
            if self.range.after.is_some_and(|after| place < after) {
                self.older.clear();
                self.open = None;
                continue;
            }
            let Some((time, _, text)) = super::split_line(piece.line(start)) else { continue };
            if self.range.since.is_some_and(|since| time < since.saturating_sub(SLACK).unwrap_or(since)) {
                self.older.clear();
                self.open = None;
            } else if self.range.fits(time, text) {
                return Ok(Some((time, place)));
            }
        }
    }
}

/// One file, of which the end was read.
struct Piece {
    file: File,
    number: u64,
    /// All before this is unread; the buffer starts here.
    unread: u64,
    buffer: Vec<u8>,
    /// The lines in the buffer that end after this were given out.
    end: usize,
    size: u64,
}

impl Piece {
    fn new(file: File, number: u64) -> io::Result<Piece> {
        let unread = file.metadata()?.len();
        let mut piece = Piece { file, number, unread, buffer: vec![], end: 0, size: SMALLEST };
        // What has no line feed is no line yet.
        while piece.unread > 0 && piece.end == 0 {
            piece.fill()?;
            piece.end = piece.buffer.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            piece.buffer.truncate(piece.end.max(1));
        }
        Ok(piece)
    }

    /// Reads the bytes before.
    fn fill(&mut self) -> io::Result<()> {
        let size = self.unread.min(self.size);
        let mut buffer = vec![0; size as usize];
        self.file.read_exact_at(&mut buffer, self.unread - size)?;
        buffer.extend_from_slice(&self.buffer[..self.end]);
        (self.end, self.buffer) = (self.end + size as usize, buffer);
        self.unread -= size;
        self.size = (self.size * 2).min(LARGEST);
        Ok(())
    }

    /// Goes one line back: where in the buffer it starts.
    fn step(&mut self) -> io::Result<Option<usize>> {
        loop {
            let Some(body) = self.end.checked_sub(1) else {
                if self.unread == 0 {
                    return Ok(None);
                }
                self.fill()?;
                continue;
            };
            // All before the end is whole lines; this one starts after the one before.
            let start = self.buffer[..body].iter().rposition(|b| *b == b'\n').map(|at| at + 1);
            match start {
                Some(start) => {
                    self.end = start;
                    return Ok(Some(start));
                }
                None if self.unread == 0 => {
                    self.end = 0;
                    return Ok(Some(0));
                }
                None => self.fill()?,
            }
        }
    }

    fn line(&self, start: usize) -> &[u8] {
        let rest = &self.buffer[start..];
        &rest[..rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())]
    }
}
