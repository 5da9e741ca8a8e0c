//! `environment` and `env_file` → `env` and `secrets`.
//!
//! The variables of all services are found before any is converted: a secret of one is a secret in the
//! commands and values of all.

use super::{Scene, Service, vault::Found};
use crate::{
    ComposeError,
    dotenv::{self, Variable as Line},
    draft::Secret,
    load::shape,
    merge::as_map,
    node::{Node, Place, Text, Value},
    report::Report,
    secrets::{is_plain_value, is_secret_name, is_secret_value, is_worth_a_search},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// A variable as it was found.
pub(super) struct Variable {
    at: Place,
    path: String,
    value: Text,
}

/// The variables of a service, by name.
pub(super) type Variables = BTreeMap<String, Variable>;

/// The variables and secrets of a service.
pub(super) fn environment(
    service: &Service<'_>,
    all: Variables,
    scene: &mut Scene<'_>,
) -> (BTreeMap<String, String>, Vec<Secret>) {
    let (mut env, mut secrets) = (BTreeMap::new(), vec![]);
    for (name, variable) in all {
        let value = &variable.value;
        if !is_name(&name) || value.text.contains('\0') {
            scene.report.lose(
                variable.path,
                &variable.at,
                "it cannot be a variable",
                "write it as NAME=value",
            );
        } else if !is_secret(&name, value) && !scene.gives_away(&value.text) {
            if env.len() < MOST {
                env.insert(name, variable.value.text);
            } else {
                scene.report.lose(variable.path, &variable.at, "a process has at most 1000 variables", "");
            }
        } else if secrets.len() >= MOST / 2 {
            scene.report.lose(variable.path, &variable.at, "a process has at most 500 secrets here", "");
        } else {
            let at = value.from.clone().unwrap_or(variable.at);
            let found = Found { variable: &name, at, value };
            secrets.push(scene.vault.variable(found, &service.name));
        }
    }
    (env, secrets)
}

/// How many variables a process may have.
const MOST: usize = 1000;

/// Whether it is a name: what is written where one belongs may be a value, or a part of one.
fn is_name(name: &str) -> bool {
    let odd = |c: char| c == '=' || c.is_control() || c.is_whitespace();
    !name.is_empty() && !name.contains(odd) && !name.contains("-----") && !is_secret_value(name)
}

/// A name as it may be shown.
fn shown(name: &str) -> &str {
    if is_name(name) { name } else { "…" }
}

fn is_secret(name: &str, value: &Text) -> bool {
    let open = !value.unset.is_empty() || !is_plain_value(&value.text);
    value.secret || is_secret_value(&value.text) || is_secret_name(name) && open
}

/// The variables of a service: those of its files, and its own over them.
pub(super) fn variables(service: &Service<'_>, scene: &mut Scene<'_>) -> Result<Variables, ComposeError> {
    let mut all = Variables::new();
    env_files(service, scene, &mut all)?;
    own(service, scene, &mut all);
    Ok(all)
}

/// Values of secrets that may stand in other texts too.
pub(super) fn values<'a>(all: impl Iterator<Item = &'a Variables>, dotenv: &[Line]) -> BTreeSet<String> {
    let named =
        all.flatten().filter(|(name, one)| is_secret(name, &one.value)).map(|(_, one)| &one.value.text);
    let listed = dotenv.iter().filter(|one| is_secret_name(&one.name)).map(|one| &one.value);
    named.chain(listed).filter(|value| is_worth_a_search(value) && !is_plain_value(value)).cloned().collect()
}

fn own(service: &Service<'_>, scene: &mut Scene<'_>, all: &mut Variables) {
    let Some(node) = service.get("environment") else { return };
    let map = as_map(node);
    if !matches!(map.value, Value::Map(_)) {
        scene.report.wrong(service.at("environment"), node, "a table or a list");
    }
    for (key, value) in map.entries() {
        let path = service.at(&format!("environment.{}", shown(&key.name)));
        let text = match &value.value {
            Value::Text(text) => text.clone(),
            // Without a value it is taken from `.env` or from the environment that runs compose.
            Value::Null => match scene.variable(&key.name) {
                Some(text) => text,
                None if is_secret_name(&key.name) && is_name(&key.name) => {
                    Text { unset: vec![key.name.clone()], ..Text::default() }
                }
                None => {
                    all.remove(&key.name);
                    let reason =
                        "it is taken from .env or from the shell that runs compose, and is set in neither";
                    scene.report.lose(path, &key.at, reason, "give it a value in `env`");
                    continue;
                }
            },
            _ => {
                scene.report.wrong(path, value, "a single value");
                continue;
            }
        };
        all.insert(key.name.clone(), Variable { at: key.at.clone(), path, value: text });
    }
}

fn env_files(service: &Service<'_>, scene: &mut Scene<'_>, all: &mut Variables) -> Result<(), ComposeError> {
    let Some(node) = service.get("env_file") else { return Ok(()) };
    let single = [node.clone()];
    let files = if matches!(node.value, Value::List(_)) { node.items() } else { &single[..] };
    for file in files {
        if let Some(path) = file.text().or_else(|| file.get("path")?.text()) {
            read(path, file, service, scene, all)?;
        } else {
            scene.report.wrong(service.at("env_file"), file, "a path");
        }
    }
    Ok(())
}

fn read(
    path: &str,
    file: &Rc<Node>,
    service: &Service<'_>,
    scene: &mut Scene<'_>,
    all: &mut Variables,
) -> Result<(), ComposeError> {
    let text = match scene.outside.read(path) {
        Ok(text) => text,
        Err(_) if file.get("required").is_some_and(|required| required.text() == Some("false")) => {
            return Ok(());
        }
        Err(reason) => {
            let help = "put its variables into `env` and `secrets`";
            scene.report.lose(service.at("env_file"), &file.at, format!("{path}: {reason}"), help);
            return Ok(());
        }
    };
    let format = file.get("format").filter(|format| !format.is_idle());
    let outer = |name: &str| scene.variable(name).map(|text| text.text);
    let lines = match format.map(|format| format.text().unwrap_or_default()) {
        None => dotenv::parse(&text, &outer),
        Some("raw") => dotenv::parse_raw(&text, &outer),
        Some(_) => {
            let at = format.map_or(&file.at, |format| &format.at);
            let reason = "files of variables in this format are not read: Compose knows `raw`";
            scene.report.lose(service.at("env_file.format"), at, reason, "put its variables into `env`");
            return Ok(());
        }
    };
    if format.is_some() {
        let note =
            format!("{path} is `format: raw`: its values were taken as they stand, quotes and `$` too.");
        scene.report.note(note);
    }
    let place = |line| Place { file: path.into(), line, column: 1 };
    let lines = lines.map_err(|wrong| shape(&place(wrong.line), wrong.reason))?;
    for line in lines {
        let at = place(line.line);
        name_unset(&line, &at, service, scene.report);
        let secret = line.used.iter().chain(&line.unset).any(|name| is_secret_name(name));
        let value = Text { text: line.value, secret, unset: line.unset, from: None };
        all.insert(line.name, Variable { at, path: service.at("env_file"), value });
    }
    Ok(())
}

fn name_unset(line: &Line, at: &Place, service: &Service<'_>, report: &mut Report) {
    for name in line.unset.iter().filter(|name| !is_secret_name(name)) {
        let reason = format!("the variable `{name}` is set nowhere: nothing stands for it");
        let help = "set it in .env or the environment, and convert again";
        report.lose(service.at(&format!("env_file.{}", shown(&line.name))), at, reason, help);
    }
}
