//! `freehold-image.toml`: how the image of a folder is run. Every mistake names its line.

use crate::{ImageError, Reference};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

/// What the file may say; all of it may be left out.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct ImageSpec {
    /// The image to build upon; nothing when left out.
    pub(super) from: Option<String>,
    /// The folder to pack, below the one that holds the file.
    folder: Option<PathBuf>,
    /// Where it lies in the image.
    into: Option<PathBuf>,
    /// What is left out, as in a `.gitignore`.
    ignore: Vec<String>,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    env: BTreeMap<String, String>,
    workdir: Option<String>,
    user: Option<String>,
    exposed: Vec<u16>,
    stop_signal: Option<String>,
    labels: BTreeMap<String, String>,
}

const KEYS: [&str; 12] = [
    "from",
    "folder",
    "into",
    "ignore",
    "entrypoint",
    "cmd",
    "env",
    "workdir",
    "user",
    "exposed",
    "stop_signal",
    "labels",
];

impl ImageSpec {
    /// Reads the file; the default when there is none.
    pub(super) fn read(path: &Path) -> Result<ImageSpec, ImageError> {
        let Some(bytes) = crate::files::read_if_there(path)? else { return Ok(ImageSpec::default()) };
        let text = String::from_utf8_lossy(&bytes);
        ImageSpec::parse(&text).map_err(|reason| ImageError::Build { path: path.to_owned(), reason })
    }

    pub(super) fn parse(text: &str) -> Result<ImageSpec, String> {
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
        if let Some(from) = &self.from {
            from.parse::<Reference>().map_err(|error| format!("from: {error}"))?;
        }
        let below = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        if let Some(folder) = self.folder.as_deref().filter(|folder| !below(folder)) {
            return Err(format!("folder `{}` must be one below, such as `dist`", folder.display()));
        }
        if self.into.as_deref().is_some_and(|into| !into.strip_prefix("/").is_ok_and(below)) {
            return Err("into: name a folder of the image, such as `/app`".into());
        }
        self.ignored()?;
        match self.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            Some(name) => Err(format!("env: `{name}` cannot be the name of a variable")),
            None => Ok(()),
        }
    }

    /// The folder to pack.
    pub(super) fn folder(&self, dir: &Path) -> PathBuf {
        self.folder.as_deref().map_or_else(|| dir.to_owned(), |folder| dir.join(folder))
    }

    /// Where it lies, below the image's root; empty for the root itself.
    pub(super) fn place(&self) -> &Path {
        self.into.as_deref().and_then(|into| into.strip_prefix("/").ok()).unwrap_or(Path::new(""))
    }

    /// What is left out, judged by paths below the folder.
    pub(super) fn ignored(&self) -> Result<Gitignore, String> {
        let mut patterns = GitignoreBuilder::new("");
        for pattern in &self.ignore {
            patterns.add_line(None, pattern).map_err(|error| format!("ignore: {error}"))?;
        }
        patterns.build().map_err(|error| format!("ignore: {error}"))
    }

    /// Says what it says over what a base says: `run` is the `config` of an image config. A new
    /// entrypoint takes the base's command away, which was meant for the old one.
    pub(super) fn lay_over(&self, run: &mut Map<String, Value>) {
        if !self.entrypoint.is_empty() {
            run.remove("Cmd");
        }
        let ports = self.exposed.iter().map(|port| (format!("{port}/tcp"), json!({})));
        let labels = self.labels.iter().map(|(name, value)| (name.clone(), json!(value)));
        merge(run, "ExposedPorts", ports.collect());
        merge(run, "Labels", labels.collect());
        self.merge_env(run);
        let mut put = |key: &str, value: Value, given: bool| {
            if given {
                run.insert(key.to_owned(), value);
            }
        };
        put("Entrypoint", json!(self.entrypoint), !self.entrypoint.is_empty());
        put("Cmd", json!(self.cmd), !self.cmd.is_empty());
        put("WorkingDir", json!(self.workdir), self.workdir.is_some());
        put("User", json!(self.user), self.user.is_some());
        put("StopSignal", json!(self.stop_signal), self.stop_signal.is_some());
    }

    fn merge_env(&self, run: &mut Map<String, Value>) {
        if self.env.is_empty() {
            return;
        }
        let inherited = run.get("Env").and_then(Value::as_array).cloned().unwrap_or_default();
        let name_of = |pair: &Value| pair.as_str().and_then(|pair| Some(pair.split_once('=')?.0.to_owned()));
        let mut env: Vec<Value> = inherited
            .into_iter()
            .filter(|pair| name_of(pair).is_none_or(|name| !self.env.contains_key(&name)))
            .collect();
        env.extend(self.env.iter().map(|(name, value)| json!(format!("{name}={value}"))));
        run.insert("Env".into(), json!(env));
    }
}

/// Adds entries to a table of `run`, which comes to be if there is anything to add.
fn merge(run: &mut Map<String, Value>, key: &str, more: Map<String, Value>) {
    if more.is_empty() {
        return;
    }
    let entry = run.entry(key).or_insert_with(|| json!({}));
    match entry.as_object_mut() {
        Some(table) => table.extend(more),
        // A base may say `null`.
        None => *entry = Value::Object(more),
    }
}

/// The time of everything in an image.
pub(super) fn epoch_time(epoch: Option<u64>) -> Timestamp {
    let seconds = epoch.and_then(|epoch| i64::try_from(epoch).ok()).unwrap_or(0);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
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
            ("volume = 1", &["line 1", "the keys are from,"]),
            ("cmd = \"a\"", &["line 1"]),
            ("\ncmd = [", &["line 2"]),
            ("exposed = [70000]", &["line 1"]),
            ("workdir = \"srv\"", &["must begin with `/`"]),
            ("from = \"No/../image\"", &["from: "]),
            ("folder = \"../up\"", &["`../up`", "below"]),
            ("into = \"app\"", &["into", "`/app`"]),
            ("into = \"/a/../b\"", &["into", "`/app`"]),
            ("ignore = [\"a{\"]", &["ignore: "]),
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
