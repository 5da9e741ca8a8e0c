//! What a folder is, by the files in it, and how its program starts.

use serde_json::Value;
use std::{fs, path::Path};

/// What a template's files must say that only the folder knows.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fit {
    /// `cmd` of the image.
    pub(super) cmd: Option<Vec<String>>,
    /// The name of the program that is built.
    pub(super) program: Option<String>,
    /// The folder of the files.
    pub(super) folder: Option<&'static str>,
}

/// The templates that fit the folder: one when it is sure, several when it is not, none when nothing tells.
pub(super) fn candidates(dir: &Path) -> Vec<&'static str> {
    let has = |names: &[&str]| names.iter().any(|name| dir.join(name).is_file());
    let mut found = vec![];
    for (name, marks) in [
        ("rust", &["Cargo.toml"][..]),
        ("go", &["go.mod"]),
        ("node", &["package.json"]),
        ("python", &["pyproject.toml", "requirements.txt", "main.py", "app.py"]),
    ] {
        if has(marks) {
            found.push(name);
        }
    }
    if found.is_empty() && site(dir).is_some() {
        found.push("static");
    }
    found
}

/// Whether the folder has a program for the template.
pub(super) fn has_program(stack: &str, dir: &Path) -> bool {
    match stack {
        "static" => site(dir).is_some(),
        "worker" => dir.join("web.py").exists() || dir.join("worker.py").exists(),
        other => candidates(dir).contains(&other),
    }
}

/// What the template's files must say in this folder.
pub(super) fn fit(stack: &str, dir: &Path) -> Fit {
    match stack {
        "static" => Fit { folder: site(dir).filter(|folder| !folder.is_empty()), ..Fit::default() },
        "node" => Fit { cmd: node(dir), ..Fit::default() },
        "python" => Fit { cmd: python(dir), ..Fit::default() },
        "rust" => Fit { program: rust(dir), ..Fit::default() },
        _ => Fit::default(),
    }
}

/// The folder of `index.html`; empty for the folder itself.
fn site(dir: &Path) -> Option<&'static str> {
    ["", "public", "dist", "_site", "build"].into_iter().find(|at| dir.join(at).join("index.html").is_file())
}

/// The command of `scripts.start` where no shell is needed for it, else `npm start`; else the main file.
fn node(dir: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(dir.join("package.json")).ok()?;
    let package: Value = serde_json::from_str(&text).ok()?;
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    if let Some(start) = package.pointer("/scripts/start").and_then(Value::as_str) {
        let plain = start.bytes().all(|c| c.is_ascii_alphanumeric() || b" ./_-=@".contains(&c));
        return Some(if plain && start.starts_with("node ") { words(start) } else { words("npm start") });
    }
    let named = package.get("main").and_then(Value::as_str).map(str::to_owned);
    let there = ["server.js", "index.js", "app.js", "main.js", "server.mjs", "index.mjs"];
    let there = || there.into_iter().find(|file| dir.join(file).is_file()).map(str::to_owned);
    Some(vec!["node".into(), named.or_else(there)?])
}

fn python(dir: &Path) -> Option<Vec<String>> {
    let file =
        ["main.py", "app.py", "server.py", "run.py"].into_iter().find(|file| dir.join(file).is_file())?;
    Some(vec!["python3".into(), file.into()])
}

/// The first program of a package.
fn rust(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(dir.join("Cargo.toml")).ok()?;
    let document = toml_edit::Document::parse(text.as_str()).ok()?;
    let bins = document.get("bin").and_then(toml_edit::Item::as_array_of_tables);
    let bin = bins.and_then(|bins| bins.iter().next()?.get("name")?.as_str());
    let package = || document.get("package")?.get("name")?.as_str();
    bin.or_else(package).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn a_folder_is_what_its_files_say() {
        for (files, expected) in [
            (&["Cargo.toml", "README.md"][..], &["rust"][..]),
            (&["go.mod", "index.html"], &["go"]),
            (&["package.json"], &["node"]),
            (&["requirements.txt"], &["python"]),
            (&["pyproject.toml", "app.py"], &["python"]),
            (&["index.html"], &["static"]),
            (&["public/index.html"], &["static"]),
            (&["package.json", "pyproject.toml"], &["node", "python"]),
            (&["notes.txt"], &[]),
        ] {
            let files: Vec<_> = files.iter().map(|path| (*path, "")).collect();
            assert_eq!(candidates(folder(&files).path()), expected, "{files:?}");
        }
    }

    #[test]
    fn the_command_is_the_one_that_the_package_names() {
        let cmd = |package: &str| {
            let dir = folder(&[("package.json", package), ("app.js", "")]);
            fit("node", dir.path()).cmd.map(|words| words.join(" "))
        };
        let table = [
            (r#"{"scripts": {"start": "node dist/main.js --port=1"}}"#, Some("node dist/main.js --port=1")),
            (r#"{"scripts": {"start": "node a.js && node b.js"}}"#, Some("npm start")),
            (r#"{"scripts": {"start": "next start"}, "main": "x.js"}"#, Some("npm start")),
            (r#"{"main": "lib/x.js"}"#, Some("node lib/x.js")),
            ("{}", Some("node app.js")),
            ("no json", None),
        ];
        for (package, expected) in table {
            assert_eq!(cmd(package).as_deref(), expected, "{package}");
        }
    }

    #[test]
    fn the_program_is_the_packages_first() {
        let program = |manifest: &str| fit("rust", folder(&[("Cargo.toml", manifest)]).path()).program;
        assert_eq!(program("[package]\nname = \"shop\"").as_deref(), Some("shop"));
        assert_eq!(program("[package]\nname = \"shop\"\n[[bin]]\nname = \"till\"").as_deref(), Some("till"));
        assert_eq!(program("[workspace]\nmembers = []"), None);
    }

    #[test]
    fn a_site_below_the_folder_is_packed_from_there() {
        let dir = folder(&[("public/index.html", "")]);
        assert_eq!(fit("static", dir.path()).folder, Some("public"));
        assert_eq!(fit("static", folder(&[("index.html", "")]).path()).folder, None);
    }
}
