//! Compose files with the files that they name: an answer in bounded time, and a manifest that is one.
//!
//! The input is several files with zero bytes between them: the Compose file, `.env`, a file of variables
//! (`*.env`), and another Compose file, to be included or extended (every other name).
#![no_main]

use freehold_compose::{File, Options, Outside, import};
use freehold_model::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let parts: Vec<&str> = text.split('\0').collect();
    let options = Options { fallback: "app".into(), profiles: vec!["*".into()], ..Options::default() };
    let files = [File { name: "compose.yaml".into(), text: parts[0].into() }];
    if let Ok(import) = import(&files, &options, &Files(parts)) {
        let env = "prod".parse().expect("a name");
        let read = Manifest::parse("freehold.toml", &import.manifest, &env);
        assert!(read.is_ok(), "{:?} of\n{}", read.err().map(|error| error.to_string()), import.manifest);
    }
});

/// The other files, and one variable.
struct Files<'a>(Vec<&'a str>);

impl Outside for Files<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        let at = match path {
            ".env" => 1,
            path if path.ends_with(".env") => 2,
            _ => 3,
        };
        self.0.get(at).map(|text| (*text).to_owned()).ok_or_else(|| "there is none".into())
    }

    fn is_file(&self, _: &str) -> Option<bool> {
        None
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "SET").then(|| "value".into())
    }
}
