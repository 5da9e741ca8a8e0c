//! A Compose file: an answer in bounded time, and a manifest that is one.
#![no_main]

use freehold_compose::{File, Options, Outside, import};
use freehold_model::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let options = Options { fallback: "app".into(), profiles: vec!["*".into()], ..Options::default() };
    let files = [File { name: "compose.yaml".into(), text: text.into() }];
    if let Ok(import) = import(&files, &options, &Nothing) {
        let env = "prod".parse().expect("a name");
        let read = Manifest::parse("freehold.toml", &import.manifest, &env);
        assert!(read.is_ok(), "{:?} of\n{}", read.err().map(|error| error.to_string()), import.manifest);
    }
});

/// No other files, and one variable.
struct Nothing;

impl Outside for Nothing {
    fn read(&self, _: &str) -> Result<String, String> {
        Err("there is none".into())
    }

    fn is_file(&self, _: &str) -> Option<bool> {
        None
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "SET").then(|| "value".into())
    }
}
