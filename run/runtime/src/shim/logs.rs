//! Writes an instance's output as lines into its log (the format is in [`crate::logs`]): bounded, by
//! starting a new file and removing the oldest; and never at the cost of the instance, by dropping and
//! counting what the disk does not take.

use crate::{
    launch::LogLimits,
    logs::{LONGEST_LINE, file_name, files, format_line},
};
use freehold_model::logs::LogStream;
use jiff::Timestamp;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The log of one instance, opened for writing.
pub(super) struct LogWriter {
    dir: PathBuf,
    limits: LogLimits,
    file: Option<File>,
    number: u64,
    size: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Formatted, not yet written.
    ready: Vec<u8>,
    ready_lines: u64,
    dropped: u64,
    /// The last write ended within a line.
    torn: bool,
}

impl LogWriter {
    /// Goes on where an earlier run stopped. A directory that cannot be written to is a full disk.
    pub(super) fn open(dir: &Path, limits: LogLimits) -> LogWriter {
        let _ = fs::create_dir_all(dir);
        let number = files(dir).unwrap_or_default().last().copied().unwrap_or(0);
        let mut writer = LogWriter {
            dir: dir.to_owned(),
            limits,
            file: None,
            number,
            size: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
            ready: Vec::new(),
            ready_lines: 0,
            dropped: 0,
            torn: false,
        };
        let _ = writer.reopen();
        writer
    }

    /// Takes output as it comes; complete lines become ready to write.
    pub(super) fn push(&mut self, stream: LogStream, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            self.extend(stream, &rest[..end]);
            self.complete(stream);
            rest = &rest[end + 1..];
        }
        self.extend(stream, rest);
    }

    /// Writes what is ready.
    pub(super) fn write_out(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.ready_lines);
        let mut bytes = std::mem::take(&mut self.ready);
        if self.dropped > 0 {
            let text = format!("{} lines dropped: the disk was full", self.dropped);
            let mut first = format_line(Timestamp::now(), LogStream::System, text.as_bytes());
            first.append(&mut bytes);
            bytes = first;
        }
        if self.torn {
            bytes.insert(0, b'\n');
        }
        match self.append(&bytes) {
            Ok(()) => self.dropped = 0,
            Err(_) => self.dropped += lines,
        }
    }

    /// Writes the last lines, which may have no line feed.
    pub(super) fn finish(&mut self) {
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            if !self.partial(stream).is_empty() {
                self.complete(stream);
            }
        }
        self.write_out();
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
        let text = std::mem::take(self.partial(stream));
        self.ready.append(&mut format_line(Timestamp::now(), stream, &text));
        self.ready_lines += 1;
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.size >= self.limits.file_bytes {
            self.rotate()?;
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        // One write, not `write_all`: lines of the agent may come between two, never within one.
        let written = file.write(bytes)?;
        self.size += written as u64;
        self.torn = written < bytes.len();
        if self.torn { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.number += 1;
        self.reopen()?;
        let all = files(&self.dir)?;
        let keep = self.limits.files.max(1) as usize;
        for old in &all[..all.len().saturating_sub(keep)] {
            let _ = fs::remove_file(self.dir.join(file_name(*old)));
        }
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file =
            OpenOptions::new().append(true).create(true).open(self.dir.join(file_name(self.number)))?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::parse_line;

    fn texts(dir: &Path) -> Vec<String> {
        let mut all = Vec::new();
        for number in files(dir).unwrap() {
            let text = fs::read_to_string(dir.join(file_name(number))).unwrap();
            all.extend(text.lines().map(|line| parse_line(line.as_bytes()).unwrap().2));
        }
        all
    }

    #[test]
    fn chunks_become_lines_whatever_their_borders() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(dir.path(), LogLimits::default());
        log.push(LogStream::Stdout, b"on");
        log.push(LogStream::Stderr, b"other\n");
        log.push(LogStream::Stdout, b"e\n\ntwo\nthr");
        log.finish();
        assert_eq!(texts(dir.path()), ["other", "one", "", "two", "thr"]);
    }

    #[test]
    fn long_lines_are_split_and_an_exact_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(dir.path(), LogLimits::default());
        log.push(LogStream::Stdout, &vec![b'a'; LONGEST_LINE]);
        log.push(LogStream::Stdout, b"\n");
        log.push(LogStream::Stdout, &vec![b'b'; LONGEST_LINE + 3]);
        log.finish();
        let lengths: Vec<usize> = texts(dir.path()).iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, 3]);
    }

    #[test]
    fn only_the_newest_files_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(dir.path(), LogLimits { file_bytes: 200, files: 3 });
        for n in 0..100 {
            log.push(LogStream::Stdout, format!("line {n}\n").as_bytes());
            log.write_out();
        }
        let kept = texts(dir.path());
        assert_eq!(files(dir.path()).unwrap().len(), 3);
        assert_eq!(kept.last().unwrap(), "line 99");
        assert!(kept.len() > 8 && kept.len() < 30, "{}", kept.len());
    }

    #[test]
    fn a_full_disk_drops_lines_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(dir.path(), LogLimits::default());
        log.file = Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
        log.push(LogStream::Stdout, b"lost\nlost too\n");
        log.write_out();
        log.file = None;
        log.push(LogStream::Stdout, b"kept\n");
        log.write_out();
        assert_eq!(texts(dir.path()), ["2 lines dropped: the disk was full", "kept"]);
    }

    #[test]
    fn a_second_run_goes_on_in_the_same_log() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["first\n", "second\n"] {
            let mut log = LogWriter::open(dir.path(), LogLimits::default());
            log.push(LogStream::Stdout, text.as_bytes());
            log.finish();
        }
        assert_eq!(texts(dir.path()), ["first", "second"]);
    }
}
