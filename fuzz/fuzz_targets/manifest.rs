//! `freehold.toml`, as anybody may write it: an answer in bounded time, and what is taken survives its own JSON.
#![no_main]

use freehold_model::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let env = "prod".parse().expect("a name");
    match Manifest::parse("freehold.toml", text, &env) {
        Ok(manifest) => {
            let json = serde_json::to_value(&manifest).expect("a manifest is JSON");
            let again: Manifest = serde_json::from_value(json).expect("and the JSON is a manifest");
            assert_eq!(again.hash(), manifest.hash());
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
});
