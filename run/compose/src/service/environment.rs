//! `environment` and `env_file` → `env` and `secrets`.

use super::{Scene, Service, vault::Found};
use crate::{
    dotenv,
    draft::Secret,
    load::as_map,
    node::{Node, Place, Text, Value},
    secrets::{is_plain_value, is_secret_name, is_secret_value},
};
use std::collections::BTreeMap;

/// A variable as it was found.
struct Variable {
    at: Place,
    path: String,
    value: Text,
}

/// The variables and secrets of a service.
pub(super) fn environment(
    service: &Service<'_>,
    scene: &mut Scene<'_>,
) -> (BTreeMap<String, String>, Vec<Secret>) {
    let mut all: BTreeMap<String, Variable> = BTreeMap::new();
    env_files(service, scene, &mut all);
    own(service, scene, &mut all);
    let (mut env, mut secrets) = (BTreeMap::new(), vec![]);
    for (name, variable) in all {
        let value = &variable.value;
        if name.is_empty() || name.contains(['=', '\0']) || value.text.contains('\0') {
            scene.report.lose(variable.path, &variable.at, "it cannot be a variable", "");
        } else if is_secret(&name, value) && secrets.len() >= MOST / 2 {
            scene.report.lose(variable.path, &variable.at, "a process has at most 500 secrets here", "");
        } else if is_secret(&name, value) {
            let found = Found { variable: &name, at: variable.at, value };
            secrets.push(scene.vault.variable(found, &service.name));
        } else if env.len() < MOST {
            env.insert(name, variable.value.text);
        } else {
            scene.report.lose(variable.path, &variable.at, "a process has at most 1000 variables", "");
        }
    }
    (env, secrets)
}

/// How many variables a process may have.
const MOST: usize = 1000;

fn is_secret(name: &str, value: &Text) -> bool {
    let open = !value.unset.is_empty() || !is_plain_value(&value.text);
    value.secret || is_secret_value(&value.text) || is_secret_name(name) && open
}

fn own(service: &Service<'_>, scene: &mut Scene<'_>, all: &mut BTreeMap<String, Variable>) {
    let Some(node) = service.get("environment") else { return };
    let map = as_map(node);
    if !matches!(map.value, Value::Map(_)) {
        scene.report.wrong(service.at("environment"), node, "a table or a list");
    }
    for (key, value) in map.entries() {
        let path = service.at(&format!("environment.{}", key.name));
        let text = match &value.value {
            Value::Text(text) => text.clone(),
            // Without a value it is taken from the environment of whoever runs compose.
            Value::Null => match scene.outside.variable(&key.name) {
                Some(text) => Text { text, ..Text::default() },
                None if is_secret_name(&key.name) => {
                    Text { unset: vec![key.name.clone()], ..Text::default() }
                }
                None => {
                    let reason = "it is taken from the shell that runs compose, and is not set in this one";
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

fn env_files(service: &Service<'_>, scene: &mut Scene<'_>, all: &mut BTreeMap<String, Variable>) {
    let Some(node) = service.get("env_file") else { return };
    let single = [node.clone()];
    let files = if matches!(node.value, Value::List(_)) { node.items() } else { &single[..] };
    for file in files {
        if let Some(path) = path_of(file) {
            read(path, file, service, scene, all);
        } else {
            scene.report.wrong(service.at("env_file"), file, "a path");
        }
    }
}

fn path_of(file: &Node) -> Option<&str> {
    file.text().or_else(|| file.get("path")?.text())
}

fn read(
    path: &str,
    file: &Node,
    service: &Service<'_>,
    scene: &mut Scene<'_>,
    all: &mut BTreeMap<String, Variable>,
) {
    let text = match scene.outside.read(path) {
        Ok(text) => text,
        Err(_) if file.get("required").is_some_and(|required| required.text() == Some("false")) => return,
        Err(reason) => {
            scene.report.lose(
                service.at("env_file"),
                &file.at,
                format!("{path}: {reason}"),
                "put its variables into `env` and `secrets`",
            );
            return;
        }
    };
    let outside = scene.outside;
    let (variables, wrong) = dotenv::parse(&text, &|name| outside.variable(name));
    for line in wrong {
        let at = Place { file: path.into(), line, column: 1 };
        scene.report.lose(service.at("env_file"), &at, "this line is no `NAME=value`", "");
    }
    for one in variables {
        let at = Place { file: path.into(), line: one.line, column: 1 };
        let value = Text { text: one.value, ..Text::default() };
        all.insert(one.name, Variable { at, path: service.at("env_file"), value });
    }
}
