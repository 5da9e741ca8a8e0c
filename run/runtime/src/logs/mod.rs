//! The log of an instance: `<log dir>/<n>.log`, each line `<RFC 3339 time> <stream> <text>`, oldest
//! file first. Shims write it, this reads it, also while it is written and after the instance is gone.
//!
//! Files are only ever appended to, and a line is written with one write, so a reader needs no lock: it
//! takes whole lines and leaves what has no line feed yet. A line that cannot be read is skipped.

mod backward;
mod forward;
mod pattern;
mod reader;
mod seek;
mod watch;

pub use forward::LogBatch;
pub use freehold_model::logs::LogPlace;
pub use pattern::{PatternError, Patterns};
pub use reader::{LogError, LogReader, Range, tail};

use freehold_model::logs::LogStream;
use jiff::Timestamp;
use std::{fs, fs::OpenOptions, io, io::Write, path::Path};

/// Longer lines are split.
pub(crate) const LONGEST_LINE: usize = 1 << 20;

/// Adds a line of Freehold's own to the log in `dir`: started, exited, restarted.
///
/// # Errors
/// When the log cannot be written.
pub fn append_system(dir: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let newest = files(dir)?.last().copied().unwrap_or(0);
    let mut bytes = Vec::new();
    for line in text.lines() {
        bytes.append(&mut format_line(Timestamp::now(), LogStream::System, line.as_bytes()));
    }
    let mut file = OpenOptions::new().append(true).create(true).open(dir.join(file_name(newest)))?;
    // One write to a file opened for appending: a shim's line never ends up within it.
    let written = file.write(&bytes)?;
    if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
}

pub(crate) fn file_name(number: u64) -> String {
    format!("{number}.log")
}

/// The numbers of the files in `dir`, ascending. No directory, no files.
pub(crate) fn files(dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers: Vec<u64> = entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.strip_suffix(".log")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

pub(crate) fn stream_name(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
        LogStream::System => "system",
    }
}

pub(crate) fn format_line(time: Timestamp, stream: LogStream, text: &[u8]) -> Vec<u8> {
    let mut line = format!("{time} {} ", stream_name(stream)).into_bytes();
    line.extend_from_slice(text);
    line.push(b'\n');
    line
}

/// The parts of a line; `None` when it is none.
pub(crate) fn split_line(line: &[u8]) -> Option<(Timestamp, LogStream, &[u8])> {
    let mut parts = line.splitn(3, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let stream = match parts.next()? {
        b"stdout" => LogStream::Stdout,
        b"stderr" => LogStream::Stderr,
        b"system" => LogStream::System,
        _ => return None,
    };
    Some((time, stream, parts.next()?))
}

#[cfg(test)]
pub(crate) fn parse_line(line: &[u8]) -> Option<(Timestamp, LogStream, String)> {
    let (time, stream, text) = split_line(line)?;
    Some((time, stream, String::from_utf8_lossy(text).into_owned()))
}
