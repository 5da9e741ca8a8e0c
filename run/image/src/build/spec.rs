//! `freehold-image.toml`: how the image of a folder is run. Every mistake names its line.

use super::BuildOptions;
use crate::{ImageError, manifest::platform};
use freehold_model::Digest;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, path::Path};

/// What the file may say; all of it may be left out.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct ImageSpec {
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    env: BTreeMap<String, String>,
    workdir: Option<String>,
    user: Option<String>,
    exposed: Vec<u16>,
    stop_signal: Option<String>,
    labels: BTreeMap<String, String>,
}

const KEYS: [&str; 8] = ["entrypoint", "cmd", "env", "workdir", "user", "exposed", "stop_signal", "labels"];

impl ImageSpec {
    /// Reads the file; the default when there is none.
    pub(super) fn read(path: &Path) -> Result<ImageSpec, ImageError> {
        let Some(bytes) = crate::files::read_if_there(path)? else { return Ok(ImageSpec::default()) };
        let text = String::from_utf8_lossy(&bytes);
        ImageSpec::parse(&text).map_err(|reason| ImageError::Build { path: path.to_owned(), reason })
    }

    fn parse(text: &str) -> Result<ImageSpec, String> {
        let at = |span: Option<std::ops::Range<usize>>, message: &str| {
            let line = span.map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            format!("line {line}: {message}")
        };
        let document = toml_edit::Document::parse(text).map_err(|e| at(e.span(), e.message().trim_end()))?;
        let mut wrong = Vec::new();
        for (key, _) in document.as_table().iter() {
            if !KEYS.contains(&key) {
                let span = document.as_table().key(key).and_then(toml_edit::Key::span);
                wrong.push(at(span, &format!("there is no key `{key}`; {}", suggestion(key))));
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join("\n"));
        }
        let spec: ImageSpec =
            toml_edit::de::from_str(text).map_err(|e| at(e.span(), e.message().trim_end()))?;
        spec.check().map(|()| spec)
    }

    fn check(&self) -> Result<(), String> {
        if let Some(workdir) = self.workdir.as_deref().filter(|dir| !dir.starts_with('/')) {
            return Err(format!("workdir `{workdir}` must begin with `/`"));
        }
        match self.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            Some(name) => Err(format!("env: `{name}` cannot be the name of a variable")),
            None => Ok(()),
        }
    }

    /// The image config (image spec, "Image Configuration").
    pub(super) fn config(&self, diff_id: &Digest, options: &BuildOptions) -> Value {
        let mut run = Map::new();
        let mut put = |key: &str, value: Value, given: bool| {
            if given {
                run.insert(key.to_owned(), value);
            }
        };
        let env: Vec<String> = self.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let ports: Map<String, Value> =
            self.exposed.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect();
        put("Entrypoint", json!(self.entrypoint), !self.entrypoint.is_empty());
        put("Cmd", json!(self.cmd), !self.cmd.is_empty());
        put("Env", json!(env), !env.is_empty());
        put("WorkingDir", json!(self.workdir), self.workdir.is_some());
        put("User", json!(self.user), self.user.is_some());
        put("ExposedPorts", json!(ports), !ports.is_empty());
        put("StopSignal", json!(self.stop_signal), self.stop_signal.is_some());
        put("Labels", json!(self.labels), !self.labels.is_empty());
        let seconds = options.epoch.and_then(|epoch| i64::try_from(epoch).ok()).unwrap_or(0);
        let created = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        let (os, architecture) = platform();
        json!({
            "created": created, "os": os, "architecture": architecture, "config": run,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": created, "created_by": "freehold image build"}],
        })
    }
}

fn suggestion(key: &str) -> String {
    let nearest = KEYS.iter().min_by_key(|known| strsim::damerau_levenshtein(key, known));
    match nearest.filter(|known| strsim::damerau_levenshtein(key, known) <= 3) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("the keys are {}", KEYS.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_their_line_and_the_nearest_key() {
        for (text, parts) in [
            (
                "cmd = []\nentrypiont = [\"/a\"]",
                &["line 2", "`entrypiont`", "did you mean `entrypoint`?"][..],
            ),
            ("volume = 1", &["line 1", "the keys are entrypoint,"]),
            ("cmd = \"a\"", &["line 1"]),
            ("\ncmd = [", &["line 2"]),
            ("exposed = [70000]", &["line 1"]),
            ("workdir = \"srv\"", &["must begin with `/`"]),
            ("[env]\nA = 1", &["line 2"]),
        ] {
            let error = ImageSpec::parse(text).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn an_empty_file_is_a_good_one() {
        assert_eq!(ImageSpec::parse("").unwrap(), ImageSpec::default());
    }
}
