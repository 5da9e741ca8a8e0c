//! Small files, each for one corner of Compose, beside what docker compose v2 reads in the same bytes.
//!
//! `reference/NAME/reading.json` is docker compose's answer to `config --format json`, with the command and
//! version that gave it. Where a docker compose v2 is found (`docker-compose`, or the file that
//! `DOCKER_COMPOSE` names), the answers are asked for again and must be the same;
//! `FREEHOLD_REGENERATE=1` renews them. `hidden.txt` lists what must be in no output.

use crate::judge;
use freehold_compose::{ComposeError, File, Import, Options, Outside, import};
use serde_json::{Value, json};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const HOME: &str = "/home/me";
const SHELL: (&str, &str) = ("SHELL_SET", "from-shell");

/// The folder of a file, as if it were `/project`.
struct Folder(PathBuf);

impl Outside for Folder {
    fn read(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(self.0.join(path)).map_err(|_| "there is no such file".to_owned())
    }

    fn is_file(&self, _: &str) -> Option<bool> {
        None
    }

    fn variable(&self, name: &str) -> Option<String> {
        [("HOME", HOME), SHELL].iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose/reference")
}

fn names() -> Vec<String> {
    let folders = fs::read_dir(root()).unwrap();
    let mut names: Vec<String> =
        folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() > 100, "{}", names.len());
    names
}

fn converted(name: &str) -> Result<Import, ComposeError> {
    let folder = Folder(root().join(name));
    let files = ["compose.yaml", "compose.override.yaml"];
    let files =
        files.into_iter().filter_map(|name| Some(File { name: name.into(), text: folder.read(name).ok()? }));
    let files: Vec<File> = files.collect();
    import(&files, &Options { fallback: "project".into(), ..Options::default() }, &folder)
}

fn agreed(name: &str) -> Value {
    let text = fs::read_to_string(root().join(name).join("reading.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}/reading.json: {error}"))
}

#[test]
fn what_docker_compose_takes_is_carried_or_named() {
    let mut wrong = vec![];
    for name in names() {
        let agreed = agreed(&name);
        match (converted(&name), agreed.get("config")) {
            (Ok(import), Some(config)) => wrong.extend(
                judge::differences(config, &import)
                    .into_iter()
                    .map(|difference| format!("{name}: {difference}")),
            ),
            (Err(error), Some(_)) => wrong.push(format!("{name}: docker compose takes it: {error}")),
            (Ok(_) | Err(_), None) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_part_of_a_secret_is_written_out() {
    for name in names() {
        let Ok(hidden) = fs::read_to_string(root().join(&name).join("hidden.txt")) else { continue };
        let said = match converted(&name) {
            Ok(import) => format!("{import:?}\n{}", import.manifest),
            Err(error) => error.to_string(),
        };
        for secret in hidden.lines() {
            assert!(!said.contains(secret), "{name}: `{secret}` is in\n{said}");
        }
    }
}

#[test]
fn a_task_is_named_and_a_server_is_not() {
    let named =
        |name: &str| converted(name).unwrap().lost.into_iter().map(|lost| lost.path).collect::<Vec<_>>();
    assert_eq!(named("restart-missing"), ["services.migrate.restart"]);
    assert_eq!(named("depends-completed").iter().filter(|path| path.ends_with(".restart")).count(), 1);
    assert_eq!(named("dotenv-multiline-key"), [""; 0]);
    assert_eq!(named("flow-styles"), [""; 0]);
}

#[test]
fn what_is_refused_is_refused_with_its_place() {
    for (name, place) in [
        ("dollar-bad-open", "compose.yaml:4:22: a `${`"),
        ("dotenv-bad-open-quote", "a.env:1:1: the quote"),
        ("dotenv-bad-pem-unquoted", "a.env:2:1: this is no"),
        ("duplicate-key", "compose.yaml:2:19: `image` is there twice"),
        ("extends-cycle", "compose.yaml:3:16: `extends`"),
        ("extends-missing", "compose.yaml:2:16: there is no service `b`"),
        ("include-conflict", "compose.yaml:3:3: `services.web`"),
        ("tab-indent", "compose.yaml:2:1: it is not YAML"),
    ] {
        let error = converted(name).unwrap_err().to_string();
        assert!(error.starts_with(place), "{name}: {error}");
    }
}

#[test]
fn the_readings_are_those_of_docker_compose() {
    let Some((program, version)) = docker_compose() else {
        assert!(env::var_os("FREEHOLD_REGENERATE").is_none(), "no docker compose v2: set DOCKER_COMPOSE");
        return;
    };
    for name in names() {
        let path = root().join(&name).join("reading.json");
        let mut found = read_by(&program, &name);
        found["by"] = json!(format!("docker-compose config --format json, version {version}"));
        if env::var_os("FREEHOLD_REGENERATE").is_some() {
            fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&found).unwrap())).unwrap();
        }
        // Another version may word things differently; what it reads must be the same.
        assert_eq!(agreed(&name).get("config"), found.get("config"), "{name}");
    }
}

/// A docker compose v2, and its version.
fn docker_compose() -> Option<(PathBuf, String)> {
    let program = PathBuf::from(env::var_os("DOCKER_COMPOSE").unwrap_or_else(|| "docker-compose".into()));
    let output = Command::new(&program).args(["version", "--short"]).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?.trim().trim_start_matches('v').to_owned();
    version.starts_with("2.").then_some((program, version))
}

/// What it reads in a folder, which it sees as `/project`.
fn read_by(program: &Path, name: &str) -> Value {
    let folder = root().join(name);
    let output = Command::new(program)
        .args(["--project-name", "project", "config", "--format", "json"])
        .current_dir(&folder)
        .env_clear()
        .envs([("HOME", HOME), SHELL])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let parent = root().display().to_string();
    let text = text.replace(&folder.display().to_string(), "/project").replace(&parent, "/");
    match serde_json::from_str::<Value>(&text) {
        Ok(config) => json!({ "config": config }),
        Err(_) => json!({ "refused": true }),
    }
}
