//! Reads a manifest: text → TOML with places → keys checked against the table in `keys` → envs
//! merged → defaults filled in. Called by the API and the CLI through [`Manifest::parse`].
//!
//! Invariant: every error of the file is reported at once, and nothing in the file is ignored.

use super::{
    Diagnostics, Manifest, diagnostics::Diagnostic, fill::fill, keys::FILE, report::Report, resolve::resolve,
    sign_in, walk::walk,
};
use crate::Name;
use toml::de::DeTable;

/// A manifest is written by a person; what is larger is a mistake.
const LARGEST: usize = 1 << 20;

impl Manifest {
    /// Parses the manifest `text` as `env` runs it: the base, and over it the overrides of
    /// `[env.<env>]`, if there are any. `file` names the text in errors.
    ///
    /// # Errors
    /// Everything that is wrong with the text, whichever env it concerns.
    pub fn parse(file: &str, text: &str, env: &Name) -> Result<Manifest, Diagnostics> {
        if text.len() > LARGEST {
            return Err(too_large(file, text.len()));
        }
        let mut report = Report::new(text);
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            report.error(&error.span().unwrap_or(0..0), sentence(error), None);
        }
        // After a real syntax error the tree is a guess, and more errors would be guesses too.
        if errors.iter().any(|error| error.message() != DUPLICATE) {
            return Err(report.finish(file));
        }
        let tree = walk(root.get_ref(), FILE, &mut report);
        let processes = resolve(&tree, env.as_str(), &mut report);
        let sign_in = sign_in::resolve(&tree, env.as_str(), &processes, &mut report);
        if report.is_empty() {
            match fill(&tree, &processes, sign_in.as_ref()) {
                Ok(manifest) => return Ok(manifest),
                Err(defect) => report.error(&(0..0), format!("this could not be read: {defect}"), None),
            }
        }
        Err(report.finish(file))
    }
}

/// What the TOML parser calls the one error after which its tree is still whole.
const DUPLICATE: &str = "duplicate key";

fn sentence(error: &toml::de::Error) -> String {
    match error.message() {
        DUPLICATE => "this key is there already".into(),
        other => format!("this is not TOML: {other}"),
    }
}

fn too_large(file: &str, size: usize) -> Diagnostics {
    let one = Diagnostic {
        line: 1,
        column: 1,
        text: String::new(),
        message: format!("the file has {size} bytes; a manifest has at most {LARGEST}"),
        help: None,
        not_yet: false,
    };
    Diagnostics { file: file.to_owned(), source: None, list: vec![one], more: 0 }
}
