//! Room kept on the disk for what must be written when it is full: that room is being made.
//!
//! A file beside the database, `<database>.reserve`, with blocks and nothing in them. Used by the writer alone.
//! Invariant: whatever fails here fails quietly; without a reserve a full disk refuses everything, as without
//! this file.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Enough for some hundred commits.
const SIZE: u64 = 2 << 20;
/// Room for it is looked for so often.
const AGAIN: Duration = Duration::from_secs(10);

/// The file.
pub(super) struct Reserve {
    path: PathBuf,
    filled: bool,
    again: Instant,
}

impl Reserve {
    /// Takes the room beside `database`, if there is some.
    pub(super) fn beside(database: &Path) -> Reserve {
        let mut path = database.as_os_str().to_owned();
        path.push(".reserve");
        let mut reserve = Reserve { path: path.into(), filled: false, again: Instant::now() };
        reserve.refill();
        reserve
    }

    /// Gives the room away; whether there was any.
    pub(super) fn release(&mut self) -> bool {
        let had = std::mem::replace(&mut self.filled, false);
        self.again = Instant::now() + AGAIN;
        had && self.open().and_then(|file| file.set_len(0)).is_ok()
    }

    /// Takes the room again, if there is some.
    pub(super) fn refill(&mut self) {
        if self.filled || Instant::now() < self.again {
            return;
        }
        self.again = Instant::now() + AGAIN;
        self.filled = self.fill().is_ok();
    }

    fn fill(&self) -> io::Result<()> {
        let file = self.open()?;
        let filled = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SIZE);
        if filled.is_err() {
            file.set_len(0)?;
        }
        Ok(filled?)
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_given_away_once_and_taken_again_later() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("state.db");
        let size = || std::fs::metadata(dir.path().join("state.db.reserve")).unwrap().len();
        let mut reserve = Reserve::beside(&database);
        assert_eq!(size(), SIZE);
        assert!(reserve.release() && !reserve.release());
        assert_eq!(size(), 0);
        reserve.refill();
        assert_eq!(size(), 0, "not at once");
        reserve.again = Instant::now();
        reserve.refill();
        assert_eq!(size(), SIZE);
    }
}
