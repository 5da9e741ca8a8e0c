//! Reads a log on from a place, a piece at a time, into new files as they come.

use super::{LONGEST_LINE, LogReader, Range, files, seek::SLACK, split_line};
use freehold_model::logs::{LogLine, LogPlace, LogStream};
use jiff::Timestamp;
use std::{fs::File, io, os::unix::fs::FileExt};

/// Read at once. With what is made of it, this bounds the memory of one log that is read.
pub(super) const CHUNK: usize = 64 << 10;

/// A log that is being read.
pub(super) struct Forward {
    log: LogReader,
    range: Range,
    place: LogPlace,
    /// The file of the place: held open, so that it can be read to its end after it was removed.
    file: Option<File>,
    buffer: Vec<u8>,
    over: bool,
}

/// What one look at a log brought.
#[derive(Debug, Default)]
pub struct LogBatch {
    /// Lines, oldest first; perhaps none.
    pub lines: Vec<LogLine>,
    /// Whether this was all there is for now.
    pub caught_up: bool,
}

impl LogReader {
    pub(super) fn forward(&self, place: LogPlace, range: Range) -> Forward {
        Forward { log: self.clone(), range, place, file: None, buffer: vec![0; CHUNK], over: false }
    }
}

impl Forward {
    /// Whether nothing more can be wanted.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Everything that is there.
    pub(super) fn rest(mut self) -> io::Result<Vec<LogLine>> {
        let mut all = vec![];
        loop {
            let mut batch = self.next()?;
            all.append(&mut batch.lines);
            if batch.caught_up {
                return Ok(all);
            }
        }
    }

    /// The next piece.
    pub(super) fn next(&mut self) -> io::Result<LogBatch> {
        let mut batch = LogBatch::default();
        if self.over || self.file.is_none() && !self.open_first(&mut batch)? {
            batch.caught_up = true;
            return Ok(batch);
        }
        if self.take_lines(&mut batch.lines)? {
            batch.caught_up = self.over;
            return Ok(batch);
        }
        let newer = files(&self.log.dir)?.into_iter().find(|number| *number > self.place.file);
        match newer {
            None => batch.caught_up = true,
            // Looked at again once the next file is there: a line may have come in between.
            Some(next) => {
                if !self.take_lines(&mut batch.lines)? {
                    self.enter(next, next > self.place.file + 1, &mut batch)?;
                }
            }
        }
        Ok(batch)
    }

    /// Opens the file of the place, or the next that is there.
    fn open_first(&mut self, batch: &mut LogBatch) -> io::Result<bool> {
        let Some(number) = files(&self.log.dir)?.into_iter().find(|n| *n >= self.place.file) else {
            return Ok(false);
        };
        if number > self.place.file {
            // From the very start, nothing is missed.
            self.enter(number, self.place != LogPlace::default(), batch)?;
            return Ok(self.file.is_some());
        }
        self.file = self.log.open(number)?;
        Ok(self.file.is_some())
    }

    /// Goes on to a newer file. What was removed in between was not read: that is said.
    fn enter(&mut self, number: u64, gap: bool, batch: &mut LogBatch) -> io::Result<()> {
        let Some(file) = self.log.open(number)? else { return Ok(()) };
        (self.file, self.place) = (Some(file), LogPlace { file: number, offset: 0 });
        if gap {
            batch.lines.push(LogLine {
                time: self.log.first_time()?.unwrap_or_else(Timestamp::now),
                stream: LogStream::System,
                instance: self.log.instance,
                process: self.log.process.clone(),
                next: self.place,
                text: "lines are missing here: the log was full, and they were removed before they were read"
                    .into(),
            });
        }
        Ok(())
    }

    /// Takes the whole lines of the next chunk; whether there was anything.
    fn take_lines(&mut self, lines: &mut Vec<LogLine>) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let read = file.read_at(&mut self.buffer, self.place.offset)?;
        let Some(end) = self.buffer[..read].iter().rposition(|b| *b == b'\n') else {
            if read < self.buffer.len() {
                return Ok(false);
            }
            if self.buffer.len() < LONGEST_LINE * 2 {
                self.buffer.resize(self.buffer.len() * 2, 0);
            } else {
                // No line is so long: what a power cut left in place of lines is passed over.
                self.place.offset += read as u64;
            }
            return Ok(true);
        };
        let mut next = self.place;
        for bytes in self.buffer[..end].split(|b| *b == b'\n') {
            next.offset += bytes.len() as u64 + 1;
            let Some((time, stream, text)) = split_line(bytes) else { continue };
            if self.range.until.is_some_and(|until| time > until.saturating_add(SLACK).unwrap_or(until)) {
                self.over = true;
                break;
            }
            if self.range.fits(time, text) {
                lines.push(self.log.line(time, stream, text, next));
            }
        }
        self.place = next;
        if self.buffer.len() > CHUNK {
            self.buffer = vec![0; CHUNK];
        }
        Ok(true)
    }
}
