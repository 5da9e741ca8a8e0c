//! Trees as an enemy makes them.

use crate::cursor::{open, open_at};
use rustix::fs::{Mode, mkdirat};
use std::{os::fd::OwnedFd, path::Path};

/// Deep enough that whatever recurses overflows its stack.
pub(crate) const DEPTH: usize = 20_000;

/// Makes `depth` folders in one another below `dir`, and opens the deepest.
pub(crate) fn nest(dir: &Path, depth: usize) -> OwnedFd {
    let mut at = open(dir).unwrap();
    for _ in 0..depth {
        mkdirat(&at, c"d", Mode::RWXU).unwrap();
        at = open_at(&at, c"d").unwrap();
    }
    at
}

/// A folder in memory where there is such a place: disks take long to make and remove many folders.
pub(crate) fn quick() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
