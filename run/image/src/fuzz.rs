//! Doors for fuzz targets: each takes bytes that a stranger may send, and must neither panic, nor hang,
//! nor touch anything outside the folder it is given. Not a part of the API.

use crate::{
    Limits, Reference,
    manifest::{Config, Manifest},
    registry, unpack,
};
use freehold_model::Digest;
use std::path::Path;

/// A manifest or an index, with the content type that came beside it.
pub fn manifest(bytes: &[u8], media_type: Option<&str>) {
    if let Ok((manifest, kind)) = Manifest::parse(bytes, media_type) {
        let again = Manifest::parse(bytes, Some(&kind));
        assert!(again.is_ok(), "it is {kind}, and is not");
        let _ = (manifest.names().len(), manifest.needs().len(), manifest.subject().is_some());
    }
}

/// The config of an image.
pub fn config(bytes: &[u8]) {
    if let Ok(config) = Config::parse(&Digest::of(bytes), bytes) {
        let _ = (config.runs_here(), config.diff_ids().len());
        assert!(!config.run_config().workdir.is_empty());
    }
}

/// A reference, as a manifest or a command has it.
pub fn reference(text: &str) {
    if let Ok(reference) = text.parse::<Reference>() {
        let again: Reference = reference.to_string().parse().expect("what is printed is read again");
        // One without a tag is printed with the one that it means.
        let parts = |it: &Reference| (it.name(), it.tag().to_owned(), it.digest().cloned());
        assert_eq!(parts(&again), parts(&reference));
    }
}

/// The path and the headers of a request to the registry.
pub fn request(path: &str, header: &str) {
    registry::parse(path, header);
}

/// A layer, unpacked below the empty folder `dir`, with small limits. The bytes are taken for what they
/// say they are: gzip, zstd or plain.
pub fn layer(bytes: &[u8], dir: &Path) {
    let (blob, layers) = (dir.join("blob"), dir.join("layers"));
    if std::fs::write(&blob, bytes).and_then(|()| std::fs::create_dir_all(&layers)).is_err() {
        return;
    }
    let limits = Limits { bytes: 1 << 20, entries: 64 };
    // No bytes unpack to this diff id, so that nothing stays; everything is applied all the same.
    let _ = unpack::unpack(&blob, &Digest::of(bytes), &Digest::of(b"fuzz"), &layers.join("layer"), &limits);
    assert_eq!(std::fs::read_dir(&layers).map_or(0, Iterator::count), 0, "something was left");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doors_are_open() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [&b""[..], b"{}", br#"{"schemaVersion":2,"manifests":[]}"#, &[0x1f, 0x8b, 8], &[0; 2048]]
        {
            manifest(bytes, None);
            config(bytes);
            layer(bytes, dir.path());
            let text = String::from_utf8_lossy(bytes);
            reference(&text);
            request(&format!("/v2/{text}"), &text);
        }
        ["a.b:5000/c/d:1", "[::1]:5000/a", "docker.io/a"].into_iter().for_each(reference);
        request("/v2/a/blobs/uploads/x", "bytes 0-9/10");
    }
}
