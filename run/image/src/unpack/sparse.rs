//! Writes files without writing zeros: a file of five gigabytes that holds nothing takes no room.
//!
//! Reading a hole gives zeros, so the file is the same whichever way its zeros came.

use super::Refused;
use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    os::unix::fs::FileExt,
};

/// Zeros are looked for in stretches of so many bytes; a multiple of what file systems allocate.
pub(super) const STRETCH: usize = 64 << 10;

/// Writes all that `source` has to the empty `file`, and answers with how much that was.
///
/// # Errors
/// Reading or writing fails, or more than `room` bytes are not zeros; `room` is lessened by what was
/// written.
pub(super) fn copy(
    source: &mut impl Read,
    file: &File,
    stretch: &mut [u8],
    room: &mut u64,
) -> Result<u64, Refused> {
    let (mut length, mut written) = (0, 0);
    loop {
        let read = fill(source, stretch)?;
        let bytes = &stretch[..read];
        if !is_zero(bytes) {
            *room = room.checked_sub(read as u64).ok_or(Refused::NoRoom)?;
            file.write_all_at(bytes, length)?;
            written = length + read as u64;
        }
        length += read as u64;
        if read < stretch.len() {
            break;
        }
    }
    if written < length {
        file.set_len(length)?;
    }
    Ok(length)
}

/// Reads until `buffer` is full or the source has ended.
pub(super) fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Whether there are only zeros. Compares the bytes with themselves one further on, which is as fast as
/// memory is read and stops at the first difference.
fn is_zero(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [first, rest @ ..] => *first == 0 && rest == &bytes[..rest.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::MetadataExt;

    fn copied(content: &[u8], room: u64) -> Result<(Vec<u8>, u64), Refused> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut left = room;
        let length = copy(&mut &content[..], file.as_file(), &mut vec![0; STRETCH], &mut left)?;
        assert_eq!(length, content.len() as u64);
        let blocks = file.as_file().metadata().unwrap().blocks() * 512;
        Ok((std::fs::read(file.path()).unwrap(), blocks))
    }

    #[test]
    fn zeros_take_no_room() {
        let mut content = vec![0; 20 * STRETCH];
        content[9 * STRETCH + 5] = 1;
        let (read, blocks) = copied(&content, STRETCH as u64).unwrap();
        assert_eq!(read, content);
        assert!(blocks <= STRETCH as u64, "{blocks}");
        assert!(matches!(copied(&content, STRETCH as u64 - 1), Err(Refused::NoRoom)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_is_what_was_written(
            parts in proptest::collection::vec((any::<bool>(), 0..2 * STRETCH), 0..6),
        ) {
            let part = |(zero, length): (bool, usize)| vec![if zero { 0 } else { 7 }; length];
            let content: Vec<u8> = parts.into_iter().flat_map(part).collect();
            prop_assert_eq!(copied(&content, u64::MAX).unwrap().0, content);
        }
    }
}
