//! Readers for unpacking: hashing on the way, metered so that no bomb goes off, decompressing by magic,
//! on a thread of its own.

use super::sparse::fill;
use freehold_model::Digest;
use sha2::{Digest as _, Sha256};
use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
};

/// Plain bytes are handed from thread to thread in pieces of this many.
const PIECE: usize = 256 << 10;

/// How many pieces may wait.
const PIECES: usize = 4;

/// The end of a pipe where a layer's plain bytes go in.
pub(super) struct Pipe {
    out: SyncSender<io::Result<Vec<u8>>>,
    /// Pieces that were read, to be filled again.
    spare: Receiver<Vec<u8>>,
}

/// The end where they come out.
pub(super) struct Arriving {
    pieces: Receiver<io::Result<Vec<u8>>>,
    spare: Sender<Vec<u8>>,
    piece: Vec<u8>,
    read: usize,
}

/// A pipe between the thread that decompresses and the one that unpacks.
pub(super) fn pipe() -> (Pipe, Arriving) {
    let (out, pieces) = sync_channel(PIECES);
    let (give_back, spare) = channel();
    (Pipe { out, spare }, Arriving { pieces, spare: give_back, piece: Vec::new(), read: 0 })
}

impl Pipe {
    /// Hands on the plain bytes of a compressed file, and answers with the digest of the file.
    ///
    /// # Errors
    /// It cannot be read or decompressed, which the other end hears too; or nobody wants more.
    pub(super) fn fill(self, file: File) -> io::Result<Digest> {
        let mut compressed = Hashing::new(file);
        let done = self.pieces(decompress(BufReader::with_capacity(1 << 17, &mut compressed)));
        if let Err(error) = done {
            // The reader hears it as an error of the archive at this very place.
            let told = io::Error::new(error.kind(), error.to_string());
            let _ = self.out.send(Err(told));
            return Err(error);
        }
        drop(self);
        io::copy(&mut compressed, &mut io::sink())?;
        Ok(compressed.finish())
    }

    fn pieces(&self, plain: io::Result<Box<dyn Read + '_>>) -> io::Result<()> {
        let mut plain = plain?;
        loop {
            let mut piece = self.spare.try_recv().unwrap_or_default();
            piece.resize(PIECE, 0);
            let read = fill(&mut plain, &mut piece)?;
            piece.truncate(read);
            if read == 0 {
                return Ok(());
            }
            self.out.send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.read == self.piece.len() {
            let Ok(next) = self.pieces.recv() else { return Ok(0) };
            let _ = self.spare.send(std::mem::replace(&mut self.piece, next?));
            self.read = 0;
        }
        let most = buffer.len().min(self.piece.len() - self.read);
        buffer[..most].copy_from_slice(&self.piece[self.read..self.read + most]);
        self.read += most;
        Ok(most)
    }
}

/// Hashes whatever is read through it.
pub(super) struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R> Hashing<R> {
    pub(super) fn new(inner: R) -> Hashing<R> {
        Hashing { inner, hasher: Sha256::new() }
    }

    pub(super) fn finish(self) -> Digest {
        Digest::from_sha256(self.hasher.finalize().into())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// How much may be read: for now, and in all.
pub(super) struct Allowance {
    now: Cell<u64>,
    in_all: Cell<u64>,
    limit: u64,
}

impl Allowance {
    pub(super) fn new(in_all: u64) -> Allowance {
        Allowance { now: Cell::new(0), in_all: Cell::new(in_all), limit: in_all }
    }

    /// From here on `bytes` may be read, whatever was left before.
    pub(super) fn grant(&self, bytes: u64) {
        self.now.set(bytes);
    }

    /// How much was read so far.
    pub(super) fn taken(&self) -> u64 {
        self.limit - self.in_all.get()
    }

    fn left(&self) -> u64 {
        self.now.get().min(self.in_all.get())
    }

    fn take(&self, bytes: u64) {
        self.now.set(self.now.get() - bytes);
        self.in_all.set(self.in_all.get() - bytes);
    }
}

/// Stops with an error when the allowance is used up.
pub(super) struct Metered<'a, R> {
    inner: R,
    allowance: &'a Allowance,
}

impl<'a, R> Metered<'a, R> {
    pub(super) fn new(inner: R, allowance: &'a Allowance) -> Metered<'a, R> {
        Metered { inner, allowance }
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.allowance.left();
        if left == 0 && !buffer.is_empty() {
            // At the limit the end of the data is still fine.
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::other("it unpacks to more than is allowed")),
            };
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..most])?;
        self.allowance.take(read as u64);
        Ok(read)
    }
}

/// The plain bytes of a layer. What it is compressed with is told by its first bytes, because media
/// types in the wild are not always right.
pub(super) fn decompress<'a, R: BufRead + 'a>(mut source: R) -> io::Result<Box<dyn Read + 'a>> {
    let magic = source.fill_buf()?;
    if magic.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(flate2::bufread::MultiGzDecoder::new(source)))
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Ok(Box::new(zstd::Decoder::with_buffer(source)?))
    } else {
        Ok(Box::new(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metering_stops_at_the_limit_and_lets_the_end_pass() {
        let allowance = Allowance::new(10);
        let mut out = Vec::new();
        allowance.grant(4);
        assert!(Metered::new(&b"12345"[..], &allowance).read_to_end(&mut out).is_err());
        assert_eq!(out, b"1234");
        allowance.grant(4);
        assert_eq!(Metered::new(&b"1234"[..], &allowance).read_to_end(&mut out).unwrap(), 4);
        allowance.grant(u64::MAX);
        assert!(Metered::new(&b"123"[..], &allowance).read_to_end(&mut out).is_err(), "ten in all");
    }
}
