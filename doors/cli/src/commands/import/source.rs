//! The Compose files of a project, and what lies around them on the disk.

use crate::failure::{Failure, Outcome};
use freehold_compose::{File, Outside, chosen_files};
use std::{
    env, fs, io,
    io::Read,
    path::{Component, Path, PathBuf},
};

/// No file that is read is larger: none is written by hand.
const LARGEST: u64 = 1 << 20;
const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What is converted.
pub(super) struct Source {
    /// Named as people would write them.
    pub(super) files: Vec<File>,
    folder: PathBuf,
}

impl Source {
    pub(super) fn open(sources: &[PathBuf]) -> Outcome<Source> {
        match sources {
            [folder] if folder.is_dir() => Source::folder(folder),
            _ => {
                let first = sources.first().filter(|path| *path != Path::new("-"));
                let folder = first.and_then(|path| path.parent()).unwrap_or(Path::new(""));
                let files = sources.iter().map(|path| file(path)).collect::<Outcome<_>>()?;
                Ok(Source { files, folder: folder.to_owned() })
            }
        }
    }

    /// The files that docker compose takes in a folder.
    fn folder(folder: &Path) -> Outcome<Source> {
        let mut source = Source { files: vec![], folder: folder.to_owned() };
        let found = |names: &[&str]| names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        let paths = match chosen_files(&source) {
            Some(names) => names.iter().map(|name| folder.join(name)).collect(),
            None => {
                let first = found(&NAMES).ok_or_else(|| {
                    let title = format!("there is no Compose file in {}", folder.display());
                    Failure::usage(title, format!("Name it. Looked for: {}.", NAMES.join(", ")))
                })?;
                Vec::from_iter([first].into_iter().chain(found(&OVERRIDES)))
            }
        };
        source.files = paths.iter().map(|path| file(path)).collect::<Outcome<_>>()?;
        Ok(source)
    }

    pub(super) fn folder_name(&self) -> String {
        let folder = if self.folder == Path::new("") { Path::new(".") } else { &self.folder };
        let full = folder.canonicalize().unwrap_or_default();
        full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// A path of the project as seen from the working directory.
    pub(super) fn seen_from_here(&self, path: &str) -> String {
        if path.starts_with(['/', '~']) || matches!(self.folder.to_str(), Some("" | ".")) {
            return path.to_owned();
        }
        self.folder.join(path.strip_prefix("./").unwrap_or(path)).display().to_string()
    }

    /// A path of the host, of which `~` is the home.
    fn on_host(&self, path: &str) -> PathBuf {
        let home = path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        match (home, env::var_os("HOME")) {
            (Some(rest), Some(home)) => PathBuf::from(home).join(rest.trim_start_matches('/')),
            _ => self.folder.join(path),
        }
    }
}

impl Outside for Source {
    fn read(&self, path: &str) -> Result<String, String> {
        read_text(&self.on_host(path))
    }

    fn is_file(&self, path: &str) -> Option<bool> {
        self.on_host(path).metadata().ok().map(|meta| !meta.is_dir())
    }

    fn variable(&self, name: &str) -> Option<String> {
        env::var(name).ok()
    }

    fn identity(&self, path: &str) -> String {
        let path = self.on_host(path);
        let whole = std::path::absolute(&path).unwrap_or(path);
        let whole = whole.canonicalize().unwrap_or_else(|_| without_dots(&whole));
        whole.display().to_string()
    }
}

/// A path without `..`, for what is not there yet.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

fn file(path: &Path) -> Outcome<File> {
    if path == Path::new("-") {
        let mut text = String::new();
        let read = io::stdin().lock().take(LARGEST + 1).read_to_string(&mut text);
        read.map_err(|error| Failure::local("read standard input", error))?;
        return Ok(File { name: "stdin".into(), text });
    }
    let text = read_text(path).map_err(|reason| {
        Failure::usage(format!("cannot read {}: {reason}", path.display()), "Name the Compose file.")
    })?;
    Ok(File { name: path.strip_prefix("./").unwrap_or(path).display().to_string(), text })
}

fn read_text(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })?;
    let mut text = String::new();
    match file.take(LARGEST + 1).read_to_string(&mut text) {
        Err(_) => Err("it is no text in UTF-8".into()),
        Ok(read) if read as u64 > LARGEST => Err("it is larger than 1 MiB".into()),
        Ok(_) => Ok(text),
    }
}
