//! One service → one process, key by key.

mod command;
mod depends;
mod environment;
mod health;
mod image;
mod limits;
mod mounts;
mod network;
mod ports;
mod restart;
mod vault;

use crate::{
    ComposeError,
    draft::{Endpoint, Process, Volume},
    keys::{self, sweep},
    load::{Outside, Project},
    node::{Key, Node, Place, Text, Value},
    quantity,
    report::Report,
    secrets::{in_words, is_secret_name},
};
use environment::Variables;
use freehold_model::{Millis, Name};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};
use vault::Vault;

/// What the conversion of services shares.
pub(crate) struct Scene<'a> {
    pub(crate) app: &'a Name,
    pub(crate) project: &'a Project,
    pub(crate) outside: &'a dyn Outside,
    pub(crate) report: &'a mut Report,
    pub(crate) vault: Vault,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) volumes: Vec<Volume>,
    /// Images that are built from Dockerfiles.
    pub(crate) builds: Vec<String>,
    /// The process of each service.
    names: BTreeMap<String, Name>,
    /// Folders of the host: which process has each, and how it wrote it.
    folders: Vec<mounts::Folder>,
    /// Values of secrets, to be found in other texts.
    values: BTreeSet<String>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(
        app: &'a Name,
        project: &'a Project,
        outside: &'a dyn Outside,
        report: &'a mut Report,
    ) -> Scene<'a> {
        Scene {
            app,
            project,
            outside,
            report,
            vault: Vault::default(),
            endpoints: vec![],
            volumes: vec![],
            builds: vec![],
            names: BTreeMap::new(),
            folders: vec![],
            values: BTreeSet::new(),
        }
    }

    /// What a variable is, for a service: the environment wins over `.env`.
    fn variable(&self, name: &str) -> Option<Text> {
        let secret = is_secret_name(name);
        if let Some(text) = self.outside.variable(name) {
            return Some(Text { text, secret, ..Text::default() });
        }
        let found = self.project.dotenv.iter().rev().find(|one| one.name == name)?;
        let from = Some(Place { file: ".env".into(), line: found.line, column: 1 });
        Some(Text { text: found.value.clone(), secret, unset: vec![], from })
    }

    /// Whether a secret of the app stands in a text.
    fn gives_away(&self, text: &str) -> bool {
        self.values.iter().any(|value| text.contains(value.as_str()))
    }

    /// Whether words hold a secret, by their look or because one of the app's stands in them.
    fn give_away(&self, words: &[String]) -> bool {
        in_words(words) || words.iter().any(|word| self.gives_away(word))
    }
}

/// The service that is being converted.
pub(crate) struct Service<'a> {
    /// Its process.
    pub(crate) name: Name,
    pub(crate) node: &'a Rc<Node>,
    /// `services.NAME`
    pub(crate) path: String,
}

impl Service<'_> {
    fn get(&self, key: &str) -> Option<&Rc<Node>> {
        self.node.get(key).filter(|node| !matches!(node.value, Value::Null))
    }

    fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }
}

/// Converts every service.
pub(crate) fn all(scene: &mut Scene<'_>) -> Result<Vec<Process>, ComposeError> {
    let services = &scene.project.services;
    for (key, _) in services.iter().take(MOST) {
        let name = free_name(&key.name, scene);
        if name.as_str() != key.name {
            let reason = format!("a process cannot be called so: it is `{name}`, and reached by that name");
            scene.report.lose(
                format!("services.{}", key.name),
                &key.at,
                reason,
                "use the new name where the old one was used",
            );
        }
        scene.names.insert(key.name.clone(), name);
    }
    for (key, _) in services.iter().skip(MOST) {
        scene.report.lose(
            format!("services.{}", key.name),
            &key.at,
            "a manifest has at most 100 processes",
            "",
        );
    }
    network::sweep_top(scene);
    mounts::sweep_top(scene);
    let mut variables = vec![];
    for (key, node) in services.iter().take(MOST) {
        let service = Service { name: process_of(key, scene), node, path: format!("services.{}", key.name) };
        variables.push(environment::variables(&service, scene)?);
    }
    scene.values = environment::values(variables.iter(), &scene.project.dotenv);
    let each = services.iter().take(MOST).zip(variables);
    let processes = each.map(|((key, node), variables)| one(key, node, variables, scene)).collect();
    vault::sweep_top(scene);
    Ok(processes)
}

fn process_of(key: &Key, scene: &Scene<'_>) -> Name {
    scene.names.get(&key.name).cloned().unwrap_or_else(|| name_of(&key.name))
}

/// How many processes a manifest may have.
const MOST: usize = 100;

fn one(key: &Key, node: &Rc<Node>, variables: Variables, scene: &mut Scene<'_>) -> Process {
    let name = process_of(key, scene);
    let service = Service { name: name.clone(), node, path: format!("services.{}", key.name) };
    sweep(node, keys::SERVICE, &service.path, scene.report);
    restart::restart(&service, key, scene);
    let (command, args) = command::command(&service, scene);
    let (env, mut secrets) = environment::environment(&service, variables, scene);
    secrets.extend(vault::files(&service, scene));
    let limits = limits::limits(&service, scene.report);
    mounts::mounts(&service, scene);
    ports::ports(&service, scene);
    let mut count = limits.count;
    let has_volume = scene.volumes.iter().any(|volume| volume.process == name);
    if has_volume && count.is_some_and(|count| count > 1) {
        let reason = "a volume has one writer: there is one instance";
        scene.report.lose(
            service.at("deploy.replicas"),
            &key.at,
            reason,
            "take its volume away to have more",
        );
        count = None;
    }
    Process {
        image: image::image(&service, &key.at, scene),
        command,
        args,
        count,
        cpu: limits.cpu,
        memory: limits.memory,
        pids: limits.pids,
        stop_timeout: stop_timeout(&service, scene.report),
        env,
        secrets,
        check: health::check(&service, scene),
        after: depends::after(&service, scene),
        open: network::is_open(&service, scene),
        name,
    }
}

fn stop_timeout(service: &Service<'_>, report: &mut Report) -> Option<Millis> {
    let node = service.get("stop_grace_period")?;
    time(node, &service.at("stop_grace_period"), Millis(1), report)
}

/// A duration that a manifest takes: from `least` to an hour.
fn time(node: &Node, path: &str, least: Millis, report: &mut Report) -> Option<Millis> {
    let Some(time) = node.text().and_then(quantity::duration) else {
        report.lose(path, &node.at, "it is no duration", "write it like `1m30s`");
        return None;
    };
    let within = time.clamp(least, Millis(3_600_000));
    if within != time {
        report.lose(path, &node.at, format!("{time} is out of range: it is {within}"), "");
    }
    Some(within)
}

/// A path of an instance where something can be put, in its plain form: no `.`, no empty parts.
pub(crate) fn place_of(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let kernel = matches!(parts.first(), None | Some(&("dev" | "proc" | "sys")));
    let good =
        path.starts_with('/') && !kernel && !parts.contains(&"..") && !path.chars().any(char::is_control);
    good.then(|| format!("/{}", parts.join("/")))
}

/// A text as a name: small letters, digits and dashes.
pub(crate) fn name_of(text: &str) -> Name {
    let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let plain: String = plain.take(50).collect();
    let plain = plain.trim_matches('-');
    let plain = if plain.is_empty() { "app" } else { plain };
    plain.parse().unwrap_or_else(|_| unreachable!("`{plain}` is made of what a name may have"))
}

fn free_name(text: &str, scene: &Scene<'_>) -> Name {
    let name = name_of(text);
    let taken = |name: &Name| scene.names.values().any(|known| known == name);
    let numbered = |n: usize| name_of(&format!("{name}-{n}"));
    if taken(&name) { (2..).map(numbered).find(|name| !taken(name)).unwrap_or(name) } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_plain_and_not_the_kernel_s() {
        assert_eq!(place_of("/a//b/./c/").as_deref(), Some("/a/b/c"));
        for bad in ["", "a", "/", "//.", "/proc/x", "/sys", "/dev/shm", "/a/../b", "/a\nb"] {
            assert_eq!(place_of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn any_text_gives_a_name() {
        for (text, expected) in [("my_db", "my-db"), ("Web", "web"), ("--", "app"), ("é", "app")] {
            assert_eq!(name_of(text).as_str(), expected);
        }
    }
}
