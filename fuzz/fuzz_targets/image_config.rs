//! The config of an image, from a registry or a push.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| freehold_image::fuzz::config(bytes));
