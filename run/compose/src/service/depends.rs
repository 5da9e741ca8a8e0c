//! `depends_on`, and what implies it → `after`.

use super::{Scene, Service};
use crate::node::{Key, Node, Place, Value};
use freehold_model::Name;
use std::{collections::BTreeMap, rc::Rc};

/// On what condition `service` waits for the one called `name`, where it says so.
pub(super) fn condition<'a>(service: &'a Node, name: &str) -> Option<&'a str> {
    service.get("depends_on")?.get(name)?.get("condition")?.text()
}

/// The services that one waits for: those that it names, and those whose links, volumes and namespaces it has.
fn with_implied(service: &Service<'_>) -> Rc<Node> {
    let mut all: Vec<(Key, Rc<Node>)> = vec![];
    let mut add = |key: Key, node: Rc<Node>| {
        if !key.name.is_empty() && !all.iter().any(|(known, _)| known.name == key.name) {
            all.push((key, node));
        }
    };
    let nothing = |at: &Place| Rc::new(Node::new(at.clone(), Value::Null));
    let named = service.get("depends_on");
    for item in named.map(|node| node.items()).unwrap_or_default() {
        add(Key { at: item.at.clone(), name: item.text().unwrap_or_default().to_owned() }, nothing(&item.at));
    }
    for (key, node) in named.map(|node| node.entries()).unwrap_or_default() {
        add(key.clone(), node.clone());
    }
    for key in ["links", "volumes_from"] {
        for item in service.get(key).map(|node| node.items()).unwrap_or_default() {
            let name = item.text().unwrap_or_default().split(':').next().unwrap_or_default();
            if name != "container" {
                add(Key { at: item.at.clone(), name: name.to_owned() }, nothing(&item.at));
            }
        }
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let Some(node) = service.get(key) else { continue };
        if let Some(name) = node.text().and_then(|text| text.strip_prefix("service:")) {
            add(Key { at: node.at.clone(), name: name.to_owned() }, nothing(&node.at));
        }
    }
    let at = named.map_or(&service.node.at, |node| &node.at);
    Rc::new(Node::new(at.clone(), Value::Map(all)))
}

/// Names what a condition asks for beyond `after`; whether the service is waited for at all.
fn conditions(service: &Service<'_>, key: &Key, value: &Node, scene: &mut Scene<'_>) -> bool {
    let path = |of: &str| service.at(&format!("depends_on.{}.{of}", key.name));
    if let Some(restart) = value.get("restart").filter(|restart| restart.is_true()) {
        let reason = "a process is not started again because another one was";
        scene.report.lose(path("restart"), &restart.at, reason, "let the program connect anew");
    }
    match value.get("condition").and_then(|condition| condition.text()) {
        Some("service_completed_successfully") => {
            let reason = "it waits for a task to end, and there are no tasks yet";
            scene.report.lose(path("condition"), &value.at, reason, "do the task in the program's own start");
            false
        }
        Some("service_healthy") => {
            let services = scene.project.services.iter();
            let other = services.map(|(name, node)| (name, node)).find(|(name, _)| name.name == key.name);
            if other.is_some_and(|(_, other)| !has_check(other)) {
                let reason = format!(
                    "it waits until `{0}` is healthy, and `{0}` has no check here: an image's own HEALTHCHECK is \
                     not used, so that it waits only until `{0}` runs",
                    key.name
                );
                let help = format!("give [process.{}] a check", key.name);
                scene.report.lose(path("condition"), &value.at, reason, help);
            }
            true
        }
        _ => true,
    }
}

/// Whether the file gives a service a check.
fn has_check(service: &Node) -> bool {
    let Some(check) = service.get("healthcheck") else { return false };
    let test = check.get("test").filter(|test| !test.is_idle());
    let none = |test: &Rc<Node>| test.items().first().and_then(|item| item.text()) == Some("NONE");
    test.is_some_and(|test| !none(test)) && !check.get("disable").is_some_and(|disable| disable.is_true())
}

/// `depends_on` → `after`.
pub(super) fn after(service: &Service<'_>, scene: &mut Scene<'_>) -> Vec<Name> {
    let node = &with_implied(service);
    let mut wanted: Vec<(String, Place, bool)> = vec![];
    for item in node.items() {
        wanted.extend(item.text().map(|name| (name.to_owned(), item.at.clone(), true)));
    }
    for (key, value) in node.entries() {
        if conditions(service, key, value, scene) {
            let required = value.get("required").is_none_or(|required| !required.is_idle());
            wanted.push((key.name.clone(), key.at.clone(), required));
        }
    }
    let mut after = vec![];
    for (wanted, at, required) in wanted {
        match scene.names.get(&wanted) {
            Some(name) if *name != service.name => {
                if !after.contains(name) {
                    after.push(name.clone());
                }
            }
            // Compose goes on without what is not required.
            None if !required => {}
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
    let conditions = |name: &&str| condition(node, name) != Some("service_completed_successfully");
    let items = wanted.items().iter().filter_map(|item| item.text());
    let keys = wanted.entries().iter().map(|(key, _)| key.name.as_str());
    items.chain(keys).filter(conditions).filter_map(|name| names.get(name).cloned()).collect()
}
