//! Doors for fuzz targets: each takes bytes that a stranger may send, and must neither panic nor hang.
//! Not a part of the API.

use crate::header::{header, parse};
use freehold_model::manifest::ProxyProtocol;

/// What stands at the start of a connection from a trusted proxy.
pub fn header_bytes(bytes: &[u8]) {
    let Ok(Some(read)) = parse(bytes) else { return };
    assert!((15..=bytes.len()).contains(&read.length), "it ends where nothing was");
    // No byte after it matters, and none before its last one is enough.
    assert_eq!(parse(&bytes[..read.length]), Ok(Some(read)));
    for length in 0..read.length {
        assert_eq!(parse(&bytes[..length]), Ok(None), "{length} bytes are enough, or already wrong");
    }
    let Some(told) = read.told else { return };
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let again = header(version, told.client, told.here);
        let read = parse(&again).ok().flatten().expect("what is written is read");
        assert_eq!((read.length, read.told), (again.len(), Some(told)));
    }
}
