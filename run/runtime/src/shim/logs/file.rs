//! The files of a log: bounded, by starting a new one and removing the oldest; a disk that is full costs
//! lines, which are counted. Called by the log's thread.

use super::Sink;
use crate::{
    launch::LogLimits,
    logs::{file_name, files, format_line},
};
use freehold_model::logs::LogStream;
use jiff::Timestamp;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The newest file of a log, and how to go on to the next.
pub(super) struct LogFile {
    dir: PathBuf,
    limits: LogLimits,
    file: Option<File>,
    number: u64,
    size: u64,
    /// Lines that the disk did not take, and why not the first of them.
    lost: Option<(usize, io::Error)>,
    /// The last write ended within a line.
    torn: bool,
}

impl LogFile {
    /// Goes on in the newest file. A directory that cannot be written to is a full disk.
    pub(super) fn open(dir: &Path, limits: LogLimits) -> LogFile {
        let _ = fs::create_dir_all(dir);
        let number = files(dir).unwrap_or_default().last().copied().unwrap_or(0);
        let dir = dir.to_owned();
        LogFile { dir, limits, file: None, number, size: 0, lost: None, torn: false }
    }

    /// Puts one piece of whole lines where it belongs; answers with what was not written.
    fn append<'a>(&mut self, lines: &'a [u8]) -> Result<&'a [u8], io::Error> {
        if self.file.is_none() {
            self.reopen(self.number)?;
        }
        if self.size >= self.limits.file_bytes {
            self.rotate()?;
        }
        let mut room = usize::try_from(self.limits.file_bytes - self.size).unwrap_or(usize::MAX);
        if self.size > 0 && lines.len() > room && !lines[..room].contains(&b'\n') {
            self.rotate()?;
            room = usize::try_from(self.limits.file_bytes).unwrap_or(usize::MAX);
        }
        let piece = &lines[..whole_lines(lines, room)];
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if self.torn {
            file.write_all(b"\n")?;
            self.torn = false;
        }
        // One write, not `write_all`: lines of the agent may come between two, never within one.
        let written = file.write(piece)?;
        self.size += written as u64;
        if written < piece.len() {
            let rest = &lines[written..];
            self.torn = written > 0 && piece[written - 1] != b'\n';
            // What is left of a torn line is lost, together with the line.
            let error = io::Error::from_raw_os_error(nix::libc::ENOSPC);
            self.lost.get_or_insert((0, error)).0 += count(rest);
            return Ok(&[]);
        }
        Ok(&lines[written..])
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.reopen(self.number + 1)?;
        let all = files(&self.dir)?;
        let keep = self.limits.files.max(1) as usize;
        for old in &all[..all.len().saturating_sub(keep)] {
            let _ = fs::remove_file(self.dir.join(file_name(*old)));
        }
        Ok(())
    }

    fn reopen(&mut self, number: u64) -> io::Result<()> {
        let file = OpenOptions::new().append(true).create(true).open(self.dir.join(file_name(number)))?;
        self.size = file.metadata()?.len();
        (self.file, self.number) = (Some(file), number);
        Ok(())
    }

    /// Says what was lost before anything else is written.
    fn confess(&mut self) -> io::Result<()> {
        let Some((lines, error)) = &self.lost else { return Ok(()) };
        let text = format!("{lines} lines were lost here: the log could not be written ({error})");
        let line = format_line(Timestamp::now(), LogStream::System, text.as_bytes());
        let taken = self.lost.take();
        let result = self.append(&line);
        if result.is_err() || self.lost.is_some() {
            self.lost = taken;
            result?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Sink for LogFile {
    fn write(&mut self, lines: &[u8]) {
        let mut rest = lines;
        while !rest.is_empty() {
            let result = self.confess().and_then(|()| self.append(rest));
            match result {
                Ok(later) => rest = later,
                Err(error) => {
                    self.lost.get_or_insert((0, error)).0 += count(rest);
                    return;
                }
            }
        }
    }
}

/// How much of `lines` fits into `room`: whole lines, at least one.
fn whole_lines(lines: &[u8], room: usize) -> usize {
    if lines.len() <= room {
        return lines.len();
    }
    let within = lines[..room].iter().rposition(|b| *b == b'\n');
    let end = within.or_else(|| lines.iter().position(|b| *b == b'\n'));
    end.map_or(lines.len(), |end| end + 1)
}

fn count(lines: &[u8]) -> usize {
    lines.iter().filter(|b| **b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::parse_line;

    fn line(text: &str) -> Vec<u8> {
        format_line(Timestamp::now(), LogStream::Stdout, text.as_bytes())
    }

    fn texts(dir: &Path) -> Vec<String> {
        let read = |number| fs::read_to_string(dir.join(file_name(number))).unwrap();
        let text: String = files(dir).unwrap().into_iter().map(read).collect();
        text.lines().map(|line| parse_line(line.as_bytes()).unwrap().2).collect()
    }

    #[test]
    fn only_the_newest_files_are_kept_and_none_is_larger_than_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(dir.path(), LogLimits { file_bytes: 200, files: 3 });
        for n in (0..100).step_by(20) {
            let lines: Vec<u8> = (n..n + 20).flat_map(|n| line(&format!("line {n}"))).collect();
            log.write(&lines);
        }
        let kept = texts(dir.path());
        let numbers = files(dir.path()).unwrap();
        assert_eq!(numbers.len(), 3);
        for number in numbers {
            assert!(fs::metadata(dir.path().join(file_name(number))).unwrap().len() <= 200);
        }
        assert_eq!(kept.last().unwrap(), "line 99");
        let expected: Vec<String> = (100 - kept.len()..100).map(|n| format!("line {n}")).collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn a_line_larger_than_a_file_has_one_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(dir.path(), LogLimits { file_bytes: 100, files: 9 });
        log.write(&[line("small"), line(&"x".repeat(300)), line("after")].concat());
        let lengths: Vec<usize> = texts(dir.path()).iter().map(String::len).collect();
        assert_eq!(lengths, [5, 300, 5]);
        assert_eq!(files(dir.path()).unwrap().len(), 3);
    }

    #[test]
    fn a_full_disk_loses_lines_and_says_so_once_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(dir.path(), LogLimits::default());
        log.file = Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
        log.write(b"lost\nlost too\n");
        log.write(b"and this\n");
        log.file = None;
        log.write(&line("kept"));
        let all = texts(dir.path());
        assert!(all[0].starts_with("3 lines were lost here") && all[0].contains("No space left"), "{all:?}");
        assert_eq!(all[1..], ["kept"]);
    }

    #[test]
    fn a_second_run_goes_on_in_the_same_log() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["first", "second"] {
            LogFile::open(dir.path(), LogLimits::default()).write(&line(text));
        }
        assert_eq!(texts(dir.path()), ["first", "second"]);
    }
}
