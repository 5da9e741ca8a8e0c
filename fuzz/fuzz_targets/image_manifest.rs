//! The manifest or the index of an image, with or without the content type that came beside it.
#![no_main]

use libfuzzer_sys::fuzz_target;

const TYPES: [Option<&str>; 5] = [
    None,
    Some("application/vnd.oci.image.manifest.v1+json"),
    Some("application/vnd.oci.image.index.v1+json"),
    Some("application/vnd.docker.distribution.manifest.v2+json"),
    Some("application/vnd.docker.distribution.manifest.list.v2+json"),
];

fuzz_target!(|bytes: &[u8]| {
    TYPES.into_iter().for_each(|media_type| freehold_image::fuzz::manifest(bytes, media_type));
});
