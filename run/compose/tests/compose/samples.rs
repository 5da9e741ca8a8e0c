//! Samples in the manner of well-known apps: manifest, losses and secrets are compared with files.

use freehold_compose::{File, Import, Options, Outside, import, reference};
use freehold_model::{Manifest, Name};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// The folder of a sample: files in it, and no environment.
struct Folder(PathBuf);

impl Outside for Folder {
    fn read(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(self.0.join(path)).map_err(|_| "there is no such file".to_owned())
    }

    fn is_file(&self, path: &str) -> Option<bool> {
        // Paths of the host itself would make the result depend on the machine.
        let there = path.starts_with('.').then(|| self.0.join(path).metadata().ok()).flatten();
        there.map(|meta| meta.is_file())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose/samples")
}

fn converted(name: &str) -> Import {
    let folder = Folder(samples().join(name));
    let text = folder.read("compose.yaml").unwrap();
    let options = Options { fallback: name.to_owned(), ..Options::default() };
    let files = [File { name: "compose.yaml".into(), text }];
    import(&files, &options, &folder).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All that is said beside the manifest.
fn said(import: &Import) -> String {
    let mut text = String::new();
    for one in &import.lost {
        let help = if one.help.is_empty() { String::new() } else { format!("\n    {}", one.help) };
        let _ = writeln!(text, "lost {} {}\n    {}{help}", one.at, one.path, one.reason);
    }
    for one in &import.secrets {
        let file = one.file.as_ref().map(|file| format!(" file={file}")).unwrap_or_default();
        let same = one.same_as.as_ref().map(|same| format!(" same_as={same}")).unwrap_or_default();
        let _ = writeln!(text, "secret {} {} {}{file}{same}", one.name, one.processes.join(","), one.at);
    }
    import.builds.iter().for_each(|image| text.push_str(&format!("build {image}\n")));
    import.notes.iter().for_each(|note| text.push_str(&format!("note {note}\n")));
    text
}

/// Compares with a file of the repository, or renews it.
fn agreed(path: &Path, found: &str) {
    if std::env::var_os("FREEHOLD_REGENERATE").is_some() {
        fs::write(path, found).unwrap();
    }
    let agreed = fs::read_to_string(path).unwrap_or_default();
    assert!(agreed == found, "{} differs; FREEHOLD_REGENERATE=1 renews it. Found:\n{found}", path.display());
}

#[test]
fn samples_become_what_was_agreed() {
    for name in ["wordpress", "nextcloud", "immich", "gitea", "home-assistant", "everything"] {
        let import = converted(name);
        agreed(&samples().join(name).join("freehold.toml"), &import.manifest);
        agreed(&samples().join(name).join("said.txt"), &said(&import));
    }
}

#[test]
fn no_secret_is_in_any_result() {
    for name in ["wordpress", "nextcloud", "immich", "gitea"] {
        let import = converted(name);
        let all = format!("{}{}", import.manifest, said(&import));
        for planted in ["not-a-real-password", "also-not-a-real-one"] {
            assert!(!all.contains(planted), "{name}: {all}");
        }
    }
}

#[test]
fn a_secret_in_a_command_is_left_out_and_named() {
    let import = converted("everything");
    assert!(!import.manifest.contains("not-a-real-password"));
    assert!(import.lost.iter().any(|lost| lost.path == "services.migrate.command"), "{:?}", import.lost);
}

#[test]
fn every_result_is_a_manifest() {
    let env: Name = "prod".parse().unwrap();
    for name in ["wordpress", "nextcloud", "immich", "gitea", "home-assistant", "everything"] {
        let import = converted(name);
        // What Freehold cannot do yet may be asked for, and nothing else may be wrong.
        match Manifest::parse("freehold.toml", &import.manifest, &env) {
            Ok(manifest) => assert_eq!(manifest.process.len(), import.processes.len()),
            Err(errors) => assert!(errors.list.iter().all(|error| error.not_yet), "{name}: {errors}"),
        }
    }
}

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compose.md");
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- keys -->\n", "<!-- end -->");
    let (head, rest) = text.split_once(begin).expect("docs/compose.md has its mark");
    let (_, tail) = rest.split_once(end).expect("docs/compose.md has its second mark");
    agreed(&path, &format!("{head}{begin}\n{}{end}{tail}", reference()));
}
