//! One service → one process, key by key.

mod environment;
mod health;
mod image;
mod limits;
mod mounts;
mod network;
mod ports;
mod vault;

use crate::{
    draft::{Endpoint, Process, Volume},
    keys::{self, sweep},
    load::{Outside, Project},
    node::{Key, Node, Place, Value},
    quantity,
    report::Report,
    secrets::in_words,
};
use freehold_model::{Millis, Name};
use std::{collections::BTreeMap, rc::Rc};
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
        }
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
pub(crate) fn all(scene: &mut Scene<'_>) -> Vec<Process> {
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
    let processes = services.iter().take(MOST).map(|(key, node)| one(key, node, scene)).collect();
    vault::sweep_top(scene);
    processes
}

/// How many processes a manifest may have.
const MOST: usize = 100;

fn one(key: &Key, node: &Rc<Node>, scene: &mut Scene<'_>) -> Process {
    let name = scene.names.get(&key.name).cloned().unwrap_or_else(|| name_of(&key.name));
    let service = Service { name: name.clone(), node, path: format!("services.{}", key.name) };
    sweep(node, keys::SERVICE, &service.path, scene.report);
    restart(&service, scene.report);
    let (command, args) = command(&service, scene.report);
    let (env, mut secrets) = environment::environment(&service, scene);
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
        check: health::check(&service, scene.report),
        after: after(&service, scene),
        open: network::is_open(&service, scene),
        name,
    }
}

/// `entrypoint` and `command` → `command`, or `args` where the image's entrypoint stays.
fn command(service: &Service<'_>, report: &mut Report) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let command = words(service, "command", report);
    match words(service, "entrypoint", report) {
        Some(entrypoint) => {
            let whole: Vec<String> = entrypoint.into_iter().chain(command.unwrap_or_default()).collect();
            if whole.first().is_none_or(String::is_empty) {
                if let Some(node) = service.get("entrypoint") {
                    let reason = "the image's entrypoint cannot be taken away with nothing in its place";
                    report.lose(service.at("entrypoint"), &node.at, reason, "write the whole `command`");
                }
                return (None, None);
            }
            (Some(whole), None)
        }
        None => (None, command.filter(|words| !words.is_empty())),
    }
}

/// A command: a list of words, or a text that is split as a shell would; no shell runs it.
fn words(service: &Service<'_>, key: &str, report: &mut Report) -> Option<Vec<String>> {
    let node = service.get(key)?;
    read_words(node, &service.at(key), report)
}

fn read_words(node: &Node, path: &str, report: &mut Report) -> Option<Vec<String>> {
    if node.holds_secret() {
        let reason = "a secret went into it, and would stand in the manifest";
        let help = "let a shell read it where it is: command = [\"sh\", \"-c\", \"exec program --password \\\"$NAME\\\"\"]";
        report.lose(path, &node.at, reason, help);
        return None;
    }
    let words = match &node.value {
        Value::Text(text) => match shell_words::split(&text.text) {
            Ok(words) => words,
            Err(_) => {
                report.lose(path, &node.at, "its quotes do not match", "write it as a list");
                return None;
            }
        },
        Value::List(items) => items.iter().filter_map(|item| item.text().map(str::to_owned)).collect(),
        _ => {
            report.wrong(path, node, "a text or a list");
            return None;
        }
    };
    if words.len() > LONGEST || words.iter().any(|word| word.contains('\0')) {
        report.lose(path, &node.at, "it has more words than a manifest takes, or a zero byte", "");
        return None;
    }
    if in_words(&words) {
        report.note(format!("{path} ({}): what looks like a secret stands in it, and now in the manifest too. Move it to a secret.", node.at));
    }
    Some(words)
}

/// How many words a command may have.
const LONGEST: usize = 1000;

fn restart(service: &Service<'_>, report: &mut Report) {
    let policy = service.get("restart").map(|node| (node, "restart"));
    let deep = service.get("deploy").and_then(|deploy| deploy.get("restart_policy"));
    let condition =
        deep.and_then(|policy| policy.get("condition")).map(|node| (node, "deploy.restart_policy.condition"));
    for (node, key) in policy.into_iter().chain(condition) {
        let text = node.text().unwrap_or_default();
        if !matches!(text, "always" | "unless-stopped" | "any" | "") {
            let reason = "a process that ends is always started again";
            report.lose(
                service.at(key),
                &node.at,
                reason,
                "a task that ends by itself has no place here yet",
            );
        }
    }
    for (key, node) in deep.map(|policy| policy.entries()).unwrap_or_default() {
        if key.name != "condition" && !node.is_idle() {
            let path = service.at(&format!("deploy.restart_policy.{}", key.name));
            report.lose(
                path,
                &key.at,
                "how often and how soon it is started again is decided by Freehold",
                "",
            );
        }
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

/// `depends_on` → `after`.
fn after(service: &Service<'_>, scene: &mut Scene<'_>) -> Vec<Name> {
    let Some(node) = service.get("depends_on") else { return vec![] };
    let mut wanted: Vec<(String, Place)> = vec![];
    for item in node.items() {
        wanted.extend(item.text().map(|name| (name.to_owned(), item.at.clone())));
    }
    for (key, value) in node.entries() {
        wanted.push((key.name.clone(), key.at.clone()));
        let condition = value.get("condition").and_then(|condition| condition.text());
        if condition == Some("service_completed_successfully") {
            let reason = "it waits for a task to end, and there are no tasks yet";
            let path = service.at(&format!("depends_on.{}.condition", key.name));
            scene.report.lose(path, &value.at, reason, "do the task in the program's own start");
            wanted.pop();
        }
    }
    let mut after = vec![];
    for (wanted, at) in wanted {
        match scene.names.get(&wanted) {
            Some(name) if *name != service.name => {
                if !after.contains(name) {
                    after.push(name.clone());
                }
            }
            _ => {
                let reason = format!("`{wanted}` is not among the processes");
                scene.report.lose(service.at("depends_on"), &at, reason, "");
            }
        }
    }
    without_circles(service, after, scene)
}

/// Processes cannot wait for each other. Compose refuses such files; here the later arrow is named.
fn without_circles(service: &Service<'_>, mut after: Vec<Name>, scene: &mut Scene<'_>) -> Vec<Name> {
    let me = service.name.clone();
    let waits: Vec<(Name, Vec<Name>)> = scene
        .project
        .services
        .iter()
        .map_while(|(key, node)| {
            let name = scene.names.get(&key.name)?.clone();
            // Only those before this one have been decided.
            (name != me).then(|| (name, dependencies(node, &scene.names)))
        })
        .collect();
    let reaches = |from: &Name| {
        let (mut open, mut seen) = (vec![from.clone()], vec![]);
        while let Some(next) = open.pop() {
            if next == me {
                return true;
            }
            if !seen.contains(&next) {
                open.extend(waits.iter().filter(|(name, _)| *name == next).flat_map(|(_, all)| all.clone()));
                seen.push(next);
            }
        }
        false
    };
    let circular: Vec<Name> = after.iter().filter(|name| reaches(name)).cloned().collect();
    after.retain(|name| !circular.contains(name));
    for name in circular {
        let at = service.get("depends_on").map_or(&service.node.at, |node| &node.at);
        let reason = format!("`{}` and `{name}` wait for each other", service.name);
        scene.report.lose(service.at("depends_on"), at, reason, "");
    }
    after
}

fn dependencies(node: &Node, names: &BTreeMap<String, Name>) -> Vec<Name> {
    let Some(wanted) = node.get("depends_on") else { return vec![] };
    let items = wanted.items().iter().filter_map(|item| item.text());
    let keys = wanted.entries().iter().map(|(key, _)| key.name.as_str());
    items.chain(keys).filter_map(|name| names.get(name).cloned()).collect()
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
