//! Reads a log: from its end when only the last lines are wanted, from its start otherwise, and on as
//! it grows when asked to follow. Dropping the stream ends it.

use super::{file_name, files, parse_line};
use freehold_model::{
    InstanceId, Name,
    logs::{LogLine, LogQuery},
};
use futures::{Stream, stream};
use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Read at once: short enough not to hold up the thread that polls.
const CHUNK: usize = 64 << 10;
/// How often a followed log is looked at.
const POLL: Duration = Duration::from_millis(100);

/// A log that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the log {path}: {source}")]
pub struct LogError {
    path: PathBuf,
    source: io::Error,
}

/// The log of one instance.
#[derive(Debug, Clone)]
pub struct LogReader {
    dir: PathBuf,
    instance: InstanceId,
    process: Name,
}

/// A place in a log, always at the start of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    file: u64,
    offset: u64,
}

struct Reading {
    reader: LogReader,
    query: LogQuery,
    /// Found, not yet given out.
    found: VecDeque<LogLine>,
    place: Place,
    begun: bool,
    over: bool,
}

impl LogReader {
    /// Of the log in `dir`; the lines say that they are of `instance` and `process`.
    pub fn new(dir: &Path, instance: InstanceId, process: Name) -> LogReader {
        LogReader { dir: dir.to_owned(), instance, process }
    }

    /// The lines that `query` asks for, oldest first. With `follow` the stream goes on until it is
    /// dropped, or past `until`; without, it ends at what is there. No log is an empty log.
    pub fn lines(&self, query: &LogQuery) -> impl Stream<Item = Result<LogLine, LogError>> + Send + use<> {
        let reading = Reading {
            reader: self.clone(),
            query: query.clone(),
            found: VecDeque::new(),
            place: Place::default(),
            begun: false,
            over: false,
        };
        stream::unfold(reading, |mut reading| async move {
            let item = reading.next().await?;
            Some((item, reading))
        })
    }

    /// The last `count` lines.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn tail(&self, count: usize) -> Result<Vec<LogLine>, LogError> {
        let query = LogQuery { tail: Some(count), ..LogQuery::default() };
        let (lines, _) = self.last(&query).map_err(|source| self.error(source))?;
        Ok(lines.into())
    }

    fn error(&self, source: io::Error) -> LogError {
        LogError { path: self.dir.clone(), source }
    }

    fn line(&self, bytes: &[u8]) -> Option<LogLine> {
        let (time, stream, text) = parse_line(bytes)?;
        Some(LogLine { time, stream, instance: self.instance, process: self.process.clone(), text })
    }

    /// Opens a file for reading; `None` once it is gone.
    fn open(&self, number: u64) -> io::Result<Option<File>> {
        match File::open(self.dir.join(file_name(number))) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The last lines that fit `query`, and where the log ended then.
    fn last(&self, query: &LogQuery) -> io::Result<(VecDeque<LogLine>, Place)> {
        let wanted = query.tail.unwrap_or(usize::MAX);
        let mut lines = VecDeque::new();
        let mut end = None;
        for number in files(&self.dir)?.into_iter().rev() {
            let Some(file) = self.open(number)? else { continue };
            let mut back = Backward::new(file)?;
            end.get_or_insert(Place { file: number, offset: back.end });
            while lines.len() < wanted {
                let Some(bytes) = back.next()? else { break };
                let Some(line) = self.line(&bytes) else { continue };
                if query.since.is_some_and(|since| line.time < since) {
                    return Ok((lines, end.unwrap_or_default()));
                }
                if query.until.is_none_or(|until| line.time <= until) {
                    lines.push_front(line);
                }
            }
        }
        Ok((lines, end.unwrap_or_default()))
    }
}

impl Reading {
    async fn next(&mut self) -> Option<Result<LogLine, LogError>> {
        loop {
            if let Some(line) = self.found.pop_front() {
                return Some(Ok(line));
            }
            if self.over {
                return None;
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) if self.query.follow => tokio::time::sleep(POLL).await,
                Ok(false) => self.over = true,
                Err(source) => {
                    self.over = true;
                    return Some(Err(self.reader.error(source)));
                }
            }
        }
    }

    /// Reads on; whether there was anything.
    fn advance(&mut self) -> io::Result<bool> {
        if !self.begun {
            self.begun = true;
            if self.query.tail.is_some() {
                (self.found, self.place) = self.reader.last(&self.query)?;
                return Ok(true);
            }
        }
        let numbers = files(&self.reader.dir)?;
        let Some(number) = numbers.iter().copied().find(|n| *n >= self.place.file) else { return Ok(false) };
        if number > self.place.file {
            self.place = Place { file: number, offset: 0 };
        }
        let Some(file) = self.reader.open(number)? else { return Ok(false) };
        if self.take_lines(&file)? {
            return Ok(true);
        }
        match numbers.into_iter().find(|n| *n > number) {
            // Looked at again once the next file is there: a line may have come in between.
            Some(next) if !self.take_lines(&file)? => {
                self.place = Place { file: next, offset: 0 };
                Ok(true)
            }
            Some(_) => Ok(true),
            None => Ok(false),
        }
    }

    /// Takes the whole lines of the next chunk.
    fn take_lines(&mut self, file: &File) -> io::Result<bool> {
        let mut buffer = vec![0; CHUNK];
        let read = file.read_at(&mut buffer, self.place.offset)?;
        let Some(end) = buffer[..read].iter().rposition(|b| *b == b'\n') else {
            // No line is so long: what a power cut left in place of lines is passed over.
            let garbage = if read == CHUNK { CHUNK } else { 0 };
            self.place.offset += garbage as u64;
            return Ok(garbage > 0);
        };
        self.place.offset += end as u64 + 1;
        for bytes in buffer[..end].split(|b| *b == b'\n') {
            let Some(line) = self.reader.line(bytes) else { continue };
            if self.query.until.is_some_and(|until| line.time > until) {
                self.over = true;
                break;
            }
            if self.query.since.is_none_or(|since| line.time >= since) {
                self.found.push_back(line);
            }
        }
        Ok(true)
    }
}

/// The lines of a file, last first.
struct Backward {
    file: File,
    /// Where the last whole line ends.
    end: u64,
    /// All before this is unread.
    unread: u64,
    /// Read, not yet given out; starts at `unread`.
    buffer: Vec<u8>,
}

impl Backward {
    fn new(file: File) -> io::Result<Backward> {
        let size = file.metadata()?.len();
        let mut back = Backward { file, end: 0, unread: size, buffer: Vec::new() };
        while back.unread > 0 && !back.buffer.contains(&b'\n') {
            back.fill()?;
        }
        let whole = back.buffer.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        back.buffer.truncate(whole);
        back.end = back.unread + whole as u64;
        Ok(back)
    }

    fn fill(&mut self) -> io::Result<()> {
        let size = self.unread.min(CHUNK as u64);
        let mut chunk = vec![0; size as usize];
        self.file.read_exact_at(&mut chunk, self.unread - size)?;
        self.unread -= size;
        chunk.append(&mut self.buffer);
        self.buffer = chunk;
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let Some(body) = self.buffer.len().checked_sub(1) else {
                if self.unread == 0 {
                    return Ok(None);
                }
                self.fill()?;
                continue;
            };
            // The buffer ends with a line feed; the line starts after the one before.
            if let Some(start) = self.buffer[..body].iter().rposition(|b| *b == b'\n') {
                let line = self.buffer[start + 1..body].to_vec();
                self.buffer.truncate(start + 1);
                return Ok(Some(line));
            }
            if self.unread == 0 {
                let line = self.buffer[..body].to_vec();
                self.buffer.clear();
                return Ok(Some(line));
            }
            self.fill()?;
        }
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
