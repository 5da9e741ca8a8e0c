//! Unpacks a layer into a folder of its own, for overlayfs. The bytes are hostile until proven otherwise.
//!
//! Called on blocking threads by the store. Invariants: nothing outside the layer's folder is created,
//! changed or read (`root.rs` resolves every path with openat2 inside it); the folder appears under its
//! final name only when blob digest and diff id are both what they should be.

mod apply;
mod header;
mod read;
mod root;
mod sparse;
#[cfg(test)]
mod tests;

use crate::{
    ImageError,
    files::{names, random_name, rename_durably},
};
use apply::Unpacker;
use freehold_model::Digest;
use read::{Allowance, Hashing, Metered, pipe};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Unfinished layers begin with this.
const UNFINISHED: &str = ".unfinished-";

/// What the headers of one entry may take (long names, extended attributes).
const HEADERS: u64 = 1 << 20;

/// How much one layer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The sum of its files' sizes, in bytes.
    pub bytes: u64,
    /// How many entries it may have.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 64 << 30, entries: 1_000_000 }
    }
}

/// Why an entry is refused, or which system call failed on it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Unsafe(&'static str),
    #[error("it needs more room than is free on the disk")]
    NoRoom,
    /// Most file systems keep some thousand bytes of them for each file.
    #[error(
        "its attribute `{name}` of {bytes} bytes cannot be kept ({source}): the file system has no room for \
         it, on the disk or for one file; make it smaller"
    )]
    Attribute { name: String, bytes: usize, source: io::Error },
    /// In a user namespace there are not all users.
    #[error(
        "it belongs to {uid}:{gid}, and Freehold without root has no such user or group: \
         `freehold doctor` says which lines in /etc/subuid and /etc/subgid it needs; or run it as root"
    )]
    Owner { uid: u32, gid: u32 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<rustix::io::Errno> for Refused {
    fn from(errno: rustix::io::Errno) -> Refused {
        Refused::Io(errno.into())
    }
}

/// Discarded ones begin with this.
const DISCARDED: &str = ".discarded-";

fn no_room() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "it unpacks to more than is free on the disk")
}

fn unpack_error(layer: &Digest, path: &str, source: io::Error) -> ImageError {
    ImageError::Unpack { layer: layer.clone(), path: path.to_owned(), source }
}

/// Removes what an earlier process left half unpacked or half removed in `layers`.
pub(crate) fn discard_unfinished(layers: &Path) -> Result<(), ImageError> {
    sweep(layers, &[UNFINISHED, DISCARDED])
}

/// Takes an unpacked layer out of sight at once; [`empty_discarded`] removes its files.
pub(crate) fn discard(layer: &Path) -> Result<(), ImageError> {
    let aside = layer.with_file_name(format!("{DISCARDED}{}", random_name()));
    std::fs::rename(layer, &aside).map_err(ImageError::io("remove", layer))
}

/// Removes the files of what was discarded in `layers`.
pub(crate) fn empty_discarded(layers: &Path) -> Result<(), ImageError> {
    sweep(layers, &[DISCARDED])
}

fn sweep(layers: &Path, prefixes: &[&str]) -> Result<(), ImageError> {
    for name in names(layers)? {
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            let path = layers.join(&name);
            freehold_tree::remove(&path).map_err(ImageError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Unpacks the blob at `source` to the new folder `target`.
///
/// # Errors
/// The bytes are not `blob`, or do not unpack to `diff_id`; an entry is unsafe; the layer is too large;
/// the disk is full. Nothing is left behind then.
pub(crate) fn unpack(
    source: &Path,
    blob: &Digest,
    diff_id: &Digest,
    target: &Path,
    limits: &Limits,
) -> Result<(), ImageError> {
    let layers = target.parent().unwrap_or(Path::new("."));
    let unfinished = layers.join(format!("{UNFINISHED}{}", random_name()));
    let done =
        fill(source, blob, diff_id, &unfinished, limits).and_then(|()| rename_durably(&unfinished, target));
    if done.is_err() {
        let _ = freehold_tree::remove(&unfinished);
    }
    done
}

fn fill(
    source: &Path,
    blob: &Digest,
    diff_id: &Digest,
    dir: &Path,
    limits: &Limits,
) -> Result<(), ImageError> {
    std::fs::create_dir(dir).map_err(ImageError::io("create", dir))?;
    let file = File::open(source).map_err(ImageError::io("read", source))?;
    // One thread decompresses while this one hashes and writes.
    let (found_blob, found_diff) = std::thread::scope(|scope| {
        let (pipe, arriving) = pipe();
        let reading = scope.spawn(move || pipe.fill(file));
        let mut plain = Hashing::new(arriving);
        let applied = entries(&mut plain, blob, dir, limits);
        // Ends here, whatever came of it: otherwise the other thread would wait for ever to hand on more.
        let found_diff = plain.finish();
        let found_blob = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        applied?;
        Ok((found_blob.map_err(ImageError::io("read", source))?, found_diff))
    })?;
    expect("the blob of a layer", blob, found_blob)?;
    expect("the unpacked content of a layer", diff_id, found_diff)
}

/// Reads the blob at `source` to see that it unpacks to `diff_id`, and writes nothing.
///
/// # Errors
/// The bytes are not `blob`, or do not unpack to `diff_id`, or to more than is allowed.
pub(crate) fn check(
    source: &Path,
    blob: &Digest,
    diff_id: &Digest,
    limits: &Limits,
) -> Result<(), ImageError> {
    let file = File::open(source).map_err(ImageError::io("read", source))?;
    let allowance = Allowance::new(limits.bytes.saturating_add(1 << 30));
    let (found_blob, read, found_diff) = std::thread::scope(|scope| {
        let (pipe, arriving) = pipe();
        let reading = scope.spawn(move || pipe.fill(file));
        let mut plain = Hashing::new(arriving);
        allowance.grant(u64::MAX);
        let read = io::copy(&mut Metered::new(&mut plain, &allowance), &mut io::sink());
        let found_diff = plain.finish();
        (reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), read, found_diff)
    });
    read.map_err(|error| unpack_error(blob, "/", error))?;
    expect("the blob of a layer", blob, found_blob.map_err(ImageError::io("read", source))?)?;
    expect("the unpacked content of a layer", diff_id, found_diff)
}

fn expect(what: &str, expected: &Digest, found: Digest) -> Result<(), ImageError> {
    if found == *expected {
        return Ok(());
    }
    Err(ImageError::Digest { what: what.to_owned(), expected: expected.clone(), found })
}

/// Applies every entry of the archive, then reads `plain` to its end so that its hash is whole.
fn entries<R: Read>(
    plain: &mut Hashing<R>,
    layer: &Digest,
    dir: &Path,
    limits: &Limits,
) -> Result<(), ImageError> {
    let refused = |path: &str, reason: String| ImageError::Layer {
        layer: layer.clone(),
        path: path.to_owned(),
        reason,
    };
    let failed = |path: &str, reason: Refused| match reason {
        Refused::Io(source) => unpack_error(layer, path, source),
        Refused::NoRoom => unpack_error(layer, path, no_room()),
        other => refused(path, other.to_string()),
    };
    let allowance = Allowance::new(limits.bytes.saturating_add(1 << 30));
    let mut archive = tar::Archive::new(Metered::new(plain, &allowance));
    let mut unpacker = Unpacker::open(dir, limits.bytes).map_err(|e| failed("/", e))?;
    let mut last = String::from("/");
    allowance.grant(HEADERS);
    let mut end = 0_u64;
    let mut entries = archive.entries().map_err(|e| refused(&last, e.to_string()))?;
    for number in 0.. {
        // The tar reader holds names and attributes in memory: between entries it gets only so much.
        allowance.grant(HEADERS);
        let Some(entry) = entries.next() else { break };
        let mut entry = match entry {
            Ok(entry) => entry,
            // The archive ends with the last file, not filled up to a block: `umoci insert` makes such, and
            // other unpackers take them. Whatever else is wrong with the bytes is found below.
            Err(_) if (end..end.next_multiple_of(512)).contains(&allowance.taken()) => break,
            Err(error) => return Err(refused(&last, format!("after it: {error}"))),
        };
        if number >= limits.entries {
            return Err(refused(&last, format!("it has more than {} entries", limits.entries)));
        }
        last = String::from_utf8_lossy(&entry.path_bytes()).chars().take(300).collect();
        allowance.grant(entry.size().saturating_add(HEADERS));
        unpacker.apply(&mut entry).map_err(|e| failed(&last, e))?;
        end = allowance.taken();
    }
    unpacker.finish().map_err(|e| failed("/", e))?;
    allowance.grant(u64::MAX);
    io::copy(&mut archive.into_inner(), &mut io::sink())
        .map_err(|e| refused(&last, format!("after it: {e}")))?;
    Ok(())
}
