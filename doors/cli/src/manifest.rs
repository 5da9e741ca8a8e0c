//! Finds the manifest, and reads just its `app` key: the server parses the rest.

use crate::failure::{Failure, Outcome};
use freehold_model::Name;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

const FILE: &str = "freehold.toml";

/// A manifest as it lies on disk.
#[derive(Debug)]
pub(crate) struct ManifestFile {
    /// Its path, as people would write it.
    pub(crate) path: PathBuf,
    /// Its text.
    pub(crate) text: String,
}

/// The manifest at `given` (a file, or a folder that holds one), or in the current folder.
pub(crate) fn read(given: Option<&Path>) -> Outcome<ManifestFile> {
    let path = place(given);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(ManifestFile { path, text }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::usage(
            format!("there is no manifest at {}", path.display()),
            "Go to the app's folder, name the manifest with --file, or write one with `freehold init`.",
        )),
        Err(error) => Err(Failure::usage(
            format!("cannot read the manifest {}: {error}", path.display()),
            "It must be a text file in UTF-8 that you may read.",
        )),
    }
}

/// The app that the manifest describes; `None` where no manifest lies in the current folder.
pub(crate) fn app(given: Option<&Path>) -> Outcome<Option<Name>> {
    if given.is_none() && !Path::new(FILE).exists() {
        return Ok(None);
    }
    let manifest = read(given)?;
    app_of(&manifest.text).map(Some).map_err(|reason| {
        Failure::usage(
            format!("{} names no app: {reason}", manifest.path.display()),
            "Mend it, or name the app with --app.",
        )
    })
}

fn place(given: Option<&Path>) -> PathBuf {
    match given {
        None => PathBuf::from(FILE),
        Some(folder) if folder.is_dir() => folder.join(FILE),
        Some(file) => file.to_owned(),
    }
}

fn app_of(text: &str) -> Result<Name, String> {
    let document: toml_edit::Document<&str> =
        toml_edit::Document::parse(text).map_err(|error| error.message().to_owned())?;
    let app = document.get("app").ok_or("`app` is missing")?;
    let app = app.as_str().ok_or("`app` is not a text")?;
    app.parse::<Name>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_is_read_even_when_the_rest_is_wrong() {
        assert_eq!(app_of("app = \"shop\"\nnonsense = 3").unwrap().as_str(), "shop");
        for bad in ["", "app = 3", "app = \"Not a name\"", "app = "] {
            assert!(app_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_folder_stands_for_the_manifest_in_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "app = \"shop\"").unwrap();
        assert_eq!(app(Some(folder.path())).unwrap().unwrap().as_str(), "shop");
        let missing = read(Some(&folder.path().join("other.toml"))).unwrap_err();
        assert!(format!("{missing:?}").contains("other.toml"));
    }
}
