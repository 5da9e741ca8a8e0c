//! The frames between the agent and an exec helper: one byte of kind, four of length (big endian), then
//! the content. Kinds are [`CONTROL`] (JSON) and [`BYTES`] towards the helper; [`CONTROL`] and the
//! streams of [`freehold_model::exec`] from it.

use freehold_model::exec::ExecRequest;
use serde::{Deserialize, Serialize};
use std::io;

/// JSON: first a [`Start`], then `ExecControl`; from the helper `ExecReport`.
pub(super) const CONTROL: u8 = 0;
/// Standard input.
pub(super) const BYTES: u8 = 1;
/// Bytes before the content.
pub(super) const HEADER: usize = 5;

const LONGEST: usize = 16 << 20;

/// The first frame.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    /// The first process of the instance, as the node counts.
    pub(super) pid: i32,
    pub(super) request: ExecRequest,
}

pub(super) fn encode(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + content.len());
    frame.push(kind);
    frame.extend_from_slice(&(content.len() as u32).to_be_bytes());
    frame.extend_from_slice(content);
    frame
}

pub(super) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    encode(CONTROL, &serde_json::to_vec(value).expect("frames are plain data"))
}

pub(super) fn decode_header(header: [u8; HEADER]) -> io::Result<(u8, usize)> {
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    Ok((header[0], length))
}

/// Bytes that were received and not yet used up.
#[derive(Debug, Default)]
pub(super) struct Received {
    bytes: Vec<u8>,
    used: usize,
}

impl Received {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        // Moved to the front only when there is less to move than was used: no byte moves often.
        if self.used > self.bytes.len() / 2 {
            self.bytes.drain(..std::mem::take(&mut self.used));
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn unused(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.used += count;
    }

    /// Takes the first whole frame.
    pub(super) fn take(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        let Some(header) = self.unused().first_chunk::<HEADER>() else { return Ok(None) };
        let (kind, length) = decode_header(*header)?;
        let Some(content) = self.unused().get(HEADER..HEADER + length) else { return Ok(None) };
        let content = content.to_vec();
        self.consume(HEADER + length);
        Ok(Some((kind, content)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_whole_from_pieces() {
        let bytes = [encode(BYTES, b"hello"), encode(CONTROL, b"")].concat();
        let mut received = Received::default();
        let mut frames = Vec::new();
        for byte in bytes {
            received.extend(&[byte]);
            while let Some(frame) = received.take().unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [(BYTES, b"hello".to_vec()), (CONTROL, vec![])]);
        assert!(received.unused().is_empty());
        received.extend(&[0, 255, 255, 255, 255]);
        assert!(received.take().is_err());
    }
}
