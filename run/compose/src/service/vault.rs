//! The secrets of the app: what each is called, who has it, where its value is to be found.
//!
//! Values are held here to tell equal ones, and leave in no form.

use super::{Scene, Service, place_of};
use crate::{
    draft::Secret,
    keys::{self, sweep},
    node::{Node, Place, Text, Value},
    report::SecretToSet,
    secrets::name_for,
};
use freehold_model::Name;
use std::{collections::HashMap, rc::Rc};

/// The secrets found so far.
#[derive(Default)]
pub(crate) struct Vault(Vec<Kept>);

struct Kept {
    name: String,
    /// What tells whether two are one: the value, or the variables that nobody set.
    value: Option<String>,
    processes: Vec<Name>,
    at: Place,
    from: From,
}

/// Where the value of a secret comes from.
#[derive(Debug, Clone, PartialEq)]
enum From {
    /// It stands where the secret was found.
    Here,
    File(String),
    /// A variable of the shell.
    Shell(String),
}

/// How many secrets a process may have, of each kind.
const MOST: usize = 500;

/// A variable that is a secret.
pub(super) struct Found<'a> {
    pub(super) variable: &'a str,
    pub(super) at: Place,
    pub(super) value: &'a Text,
}

impl Found<'_> {
    fn identity(&self) -> Option<String> {
        match self.value.unset.as_slice() {
            [] if self.value.text.is_empty() => None,
            [] => Some(format!("value {}", self.value.text)),
            unset => Some(format!("variables {}", unset.join(" "))),
        }
    }
}

impl Vault {
    /// Takes a variable of a process in. Two processes share a secret where name and value agree; where
    /// only the name does, the second gets one of its own.
    pub(super) fn variable(&mut self, found: Found<'_>, process: &Name) -> Secret {
        let plain = name_for(found.variable);
        let own = name_for(&format!("{}_{}", process.as_str().to_uppercase(), found.variable));
        let value = found.identity();
        let fits = |kept: &Kept| kept.from == From::Here && kept.value == value;
        let name = match self.0.iter().find(|kept| kept.name == plain) {
            Some(kept) if !fits(kept) => self.free(own),
            _ => plain,
        };
        let env = (name != found.variable).then(|| found.variable.to_owned());
        self.keep(name.clone(), value, process, found.at, From::Here);
        Secret { name, env, file: None }
    }

    fn free(&self, name: String) -> String {
        let taken = |name: &String| self.0.iter().any(|kept| kept.name == *name);
        let numbered = |n: usize| format!("{name}_{n}");
        if taken(&name) { (2..).map(numbered).find(|name| !taken(name)).unwrap_or(name) } else { name }
    }

    fn keep(&mut self, name: String, value: Option<String>, process: &Name, at: Place, from: From) {
        match self.0.iter_mut().find(|kept| kept.name == name) {
            Some(kept) if kept.processes.contains(process) => {}
            Some(kept) => kept.processes.push(process.clone()),
            None => self.0.push(Kept { name, value, processes: vec![process.clone()], at, from }),
        }
    }

    /// What must be set, in the order of finding.
    pub(crate) fn to_set(&self) -> Vec<SecretToSet> {
        let same = |at: usize, kept: &Kept| {
            let before = self.0[..at].iter().find(|other| kept.value.is_some() && other.value == kept.value);
            before.map(|other| other.name.clone())
        };
        let entry = |(at, kept): (usize, &Kept)| SecretToSet {
            name: kept.name.clone(),
            processes: kept.processes.iter().map(ToString::to_string).collect(),
            at: kept.at.clone(),
            file: if let From::File(file) = &kept.from { Some(file.clone()) } else { None },
            variable: if let From::Shell(name) = &kept.from { Some(name.clone()) } else { None },
            several_lines: kept.value.as_ref().is_some_and(|value| value.contains('\n')),
            same_as: same(at, kept),
        };
        self.0.iter().enumerate().map(entry).collect()
    }
}

/// `secrets` of a service: files below /run/secrets.
pub(super) fn files(service: &Service<'_>, scene: &mut Scene<'_>) -> Vec<Secret> {
    let Some(node) = service.get("secrets") else { return vec![] };
    let mut secrets: Vec<Secret> = vec![];
    for item in last_of_each(node.items()) {
        let source = item.text().or_else(|| item.get("source")?.text()).map(str::to_owned);
        let Some(source) = source else {
            scene.report.wrong(service.at("secrets"), item, "a secret's name");
            continue;
        };
        for key in ["uid", "gid", "mode"] {
            if let Some(value) = item.get(key).filter(|value| !value.is_idle()) {
                let path = service.at(&format!("secrets.{source}.{key}"));
                scene.report.lose(path, &value.at, "a secret's file is readable by its process alone", "");
            }
        }
        let target = item.get("target").and_then(|target| target.text()).unwrap_or(&source);
        let file = if target.starts_with('/') { target.to_owned() } else { format!("/run/secrets/{target}") };
        let within = |one: &str, other: &str| one == other || one.starts_with(&format!("{other}/"));
        let taken = |file: &str| {
            let mut files = secrets.iter().filter_map(|secret| secret.file.as_deref());
            files.any(|other| within(file, other) || within(other, file))
        };
        let Some(file) = place_of(&file).filter(|file| !taken(file) && secrets.len() < MOST) else {
            scene.report.lose(service.at("secrets"), &item.at, "its file cannot be there", "");
            continue;
        };
        let declared = scene.project.root.get("secrets").and_then(|all| all.get(&source)).cloned();
        if declared.is_none() {
            scene.report.lose(service.at("secrets"), &item.at, format!("`{source}` is declared nowhere"), "");
        }
        let (from, at) = origin(declared.as_deref(), &item.at, scene);
        let name = name_for(&source);
        let clash = scene.vault.0.iter().any(|kept| kept.name == name && kept.from != from);
        let name = if clash { scene.vault.free(name) } else { name };
        scene.vault.keep(name.clone(), None, &service.name, at, from);
        secrets.push(Secret { name, env: None, file: Some(file) });
    }
    secrets
}

/// Of several secrets in one place the last counts, as with docker.
fn last_of_each(items: &[Rc<Node>]) -> Vec<&Rc<Node>> {
    let target = |item: &Rc<Node>| {
        let source = item.text().or_else(|| item.get("source")?.text()).unwrap_or_default();
        item.get("target").and_then(|target| target.text()).unwrap_or(source).to_owned()
    };
    let mut last = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        last.insert(target(item), at);
    }
    let counts = |(at, item): &(usize, &Rc<Node>)| last.get(&target(item)) == Some(at);
    items.iter().enumerate().filter(counts).map(|(_, item)| item).collect()
}

/// Where the value of a declared secret comes from, and where that is written.
fn origin(declared: Option<&Node>, at: &Place, scene: &Scene<'_>) -> (From, Place) {
    let text = |key: &str| declared.and_then(|node| node.get(key)?.text()).map(str::to_owned);
    if let Some(file) = text("file") {
        return (From::File(file), at.clone());
    }
    let Some(name) = text("environment") else { return (From::Here, at.clone()) };
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match scene.variable(&name) {
        Some(Text { from: Some(at), .. }) => (From::Here, at),
        Some(_) if plain => (From::Shell(name), at.clone()),
        _ => (From::Here, at.clone()),
    }
}

/// The top-level `secrets`: what is not carried of each, and those that nobody uses.
pub(super) fn sweep_top(scene: &mut Scene<'_>) {
    let Some(all) = scene.project.root.get("secrets").cloned() else { return };
    for (key, node) in all.entries() {
        let path = format!("secrets.{}", key.name);
        if matches!(node.value, Value::Map(_)) {
            sweep(node, keys::SECRET, &path, scene.report);
        }
        if !is_used(&key.name, &scene.project.services) {
            scene.report.note(format!("The secret `{}` is used by no service.", key.name));
        }
    }
}

fn is_used(name: &str, services: &[(crate::node::Key, Rc<Node>)]) -> bool {
    let uses = |item: &Rc<Node>| item.text().or_else(|| item.get("source")?.text()) == Some(name);
    services.iter().any(|(_, node)| node.get("secrets").is_some_and(|all| all.items().iter().any(uses)))
}
