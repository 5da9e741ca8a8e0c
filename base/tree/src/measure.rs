//! What a tree of files takes on the disk: blocks, each file once however many names it has.

use crate::cursor::{Cursor, open};
use rustix::{
    fs::{AtFlags, FileType, statat},
    io::Errno,
};
use std::{io, path::Path};

/// How often counting begins again because folders were moved meanwhile.
const TRIES: usize = 3;

/// Returns the bytes on the disk of everything in `dir`, the directory itself aside. What goes or changes
/// meanwhile is counted as it was seen, or not. A file counts by its share for each of its names, so that
/// no list of files is needed. Where folders are moved again and again, or are nested more than
/// [`DEEPEST`](crate::DEEPEST) deep, it is the most that was seen: whoever does that hides little by it.
///
/// # Errors
/// When the directory cannot be read.
pub fn measure(dir: &Path) -> io::Result<u64> {
    let mut most = 0;
    for _ in 0..TRIES {
        let mut bytes = 0;
        let counted = count(Cursor::new(open(dir)?)?, &mut bytes);
        most = most.max(bytes);
        if counted.is_ok() {
            return Ok(bytes);
        }
    }
    Ok(most)
}

/// Adds what is there to `bytes`, as far as it comes.
fn count(mut at: Cursor, bytes: &mut u64) -> io::Result<()> {
    loop {
        let Some(name) = at.next()? else {
            if at.leave()? {
                continue;
            }
            return Ok(());
        };
        let Ok(stat) = statat(at.here()?, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let names = if is_dir { 1 } else { stat.st_nlink.max(1) };
        *bytes = bytes.saturating_add(stat.st_blocks as u64 * 512 / names);
        if is_dir && let Err(error) = at.enter(&name) {
            match Errno::from_io_error(&error) {
                // It went meanwhile, is no folder any more, or is not ours to read.
                Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {}
                _ => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DEPTH, nest, quick};
    use std::fs;

    #[test]
    fn holes_and_second_names_take_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), vec![7; 1 << 20]).unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 30).unwrap();
        fs::create_dir(dir.path().join("c")).unwrap();
        fs::write(dir.path().join("c/d"), vec![7; 1 << 20]).unwrap();
        let bytes = measure(dir.path()).unwrap();
        assert!((2 << 20..3 << 20).contains(&bytes), "{bytes}");
    }

    #[test]
    fn what_lies_twenty_thousand_deep_is_counted_too() {
        let dir = quick();
        let deepest = nest(dir.path(), DEPTH);
        rustix::io::write(
            rustix::fs::openat(
                &deepest,
                "file",
                rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY,
                rustix::fs::Mode::RUSR,
            )
            .unwrap(),
            &vec![7; 1 << 20],
        )
        .unwrap();
        fs::write(dir.path().join("z"), vec![7; 1 << 20]).unwrap();
        let bytes = measure(dir.path()).unwrap();
        crate::remove(dir.path()).unwrap();
        assert!(bytes >= 2 << 20, "{bytes}");
    }
}
