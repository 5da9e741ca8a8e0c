//! What a trusted proxy sends before a connection: the PROXY protocol, versions 1 and 2.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| freehold_edge::fuzz::header_bytes(bytes));
