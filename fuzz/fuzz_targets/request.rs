//! The path, and the headers of a range or a chunk, of a request to the registry: two lines.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (path, header) = text.split_once('\n').unwrap_or((text, ""));
    freehold_image::fuzz::request(path, header);
});
