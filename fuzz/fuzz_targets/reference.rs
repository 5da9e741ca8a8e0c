//! A reference to an image, as manifests and commands have it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| freehold_image::fuzz::reference(text));
