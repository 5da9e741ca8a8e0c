//! How much room the disk of the data directory has. Called by the doctor, and by the node from time to time.

use super::finding;
use freehold_model::{Bytes, api::Finding};
use std::{io, path::Path};

/// What people can do about it.
const REMEDY: &str = "writes fail when nothing is left: `freehold volume list` and `freehold image list` say what is large; remove what is not needed, or make the disk larger";

/// The room of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What is free for Freehold.
    pub free: Bytes,
    /// With less than this it is time to do something: a twentieth of the disk, but no less than 512 MiB and
    /// no more than 10 GiB.
    pub reserve: Bytes,
}

impl Room {
    /// Of the file system that `data` is on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn of(data: &Path) -> io::Result<Room> {
        let stat = rustix::fs::statvfs(data)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Room { free: Bytes(bytes(stat.f_bavail)), reserve: reserve(bytes(stat.f_blocks)) })
    }

    /// Whether there is less than there should be.
    pub fn is_low(self) -> bool {
        self.free < self.reserve
    }
}

impl std::fmt::Display for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} free", self.free.rounded())?;
        match self.is_low() {
            true => write!(f, " where the data is, and {} should be", self.reserve.rounded()),
            false => Ok(()),
        }
    }
}

fn reserve(total: u64) -> Bytes {
    Bytes((total / 20).clamp(512 << 20, 10 << 30))
}

pub(super) fn room(data: &Path) -> Finding {
    // Before the first start there may be no such directory yet.
    let there = data.ancestors().find(|place| place.exists()).unwrap_or(Path::new("/"));
    let found = Room::of(there).and_then(|room| match room.is_low() {
        true => Err(io::Error::other(room.to_string())),
        false => Ok(room.to_string()),
    });
    finding("disk", found, REMEDY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_a_twentieth_within_reason() {
        let reserve = |gib: u64| reserve(gib << 30).rounded();
        assert_eq!([reserve(1), reserve(100), reserve(4000)], ["512MiB", "5GiB", "10GiB"]);
        let low = Room { free: Bytes(3 << 28), reserve: Bytes(5 << 30) };
        assert_eq!(low.to_string(), "768MiB free where the data is, and 5GiB should be");
    }
}
