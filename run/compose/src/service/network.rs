//! `networks` and `network_mode`: the processes of an env are one network, in which each has its name.

use super::{Scene, Service};
use crate::{
    keys::{self, sweep},
    node::{Node, Value},
};
use std::collections::BTreeSet;

/// The top-level `networks`, and services that were kept apart.
pub(super) fn sweep_top(scene: &mut Scene<'_>) {
    if let Some(all) = scene.project.root.get("networks").cloned() {
        for (key, node) in all.entries() {
            if matches!(node.value, Value::Map(_)) {
                sweep(node, keys::NETWORK, &format!("networks.{}", key.name), scene.report);
            }
        }
    }
    let sets: Vec<(&crate::node::Key, BTreeSet<String>)> =
        scene.project.services.iter().map(|(key, node)| (key, networks(node))).collect();
    let apart = sets.iter().enumerate().find_map(|(at, (first, own))| {
        let other = sets[at + 1..].iter().find(|(_, other)| own.is_disjoint(other))?;
        Some((*first, other.0))
    });
    if let Some((first, second)) = apart {
        let reason = format!(
            "`{}` and `{}` share no network, and here every process of an env can reach every other",
            first.name, second.name
        );
        scene.report.lose("networks", &second.at, reason, "make apps of them that must not meet");
    }
}

/// Whether a service may connect to the outside; what it wants of its networks beyond that is named.
pub(super) fn is_open(service: &Service<'_>, scene: &mut Scene<'_>) -> bool {
    if let Some(uses) = service.get("networks") {
        for (key, node) in uses.entries().iter().filter(|(_, node)| matches!(node.value, Value::Map(_))) {
            sweep(node, keys::NETWORK_USE, &service.at(&format!("networks.{}", key.name)), scene.report);
        }
    }
    if service.get("network_mode").is_some_and(|mode| mode.text() == Some("none")) {
        return false;
    }
    let top = scene.project.root.get("networks").cloned();
    let internal = |name: &String| {
        let network = top.as_ref().and_then(|all| all.get(name));
        network.and_then(|network| network.get("internal")).is_some_and(|value| value.is_true())
    };
    !networks(service.node).iter().all(internal)
}

fn networks(service: &Node) -> BTreeSet<String> {
    let node = service.get("networks").filter(|node| !node.is_idle());
    let Some(node) = node else { return BTreeSet::from(["default".to_owned()]) };
    let items = node.items().iter().filter_map(|item| item.text().map(str::to_owned));
    let keys = node.entries().iter().map(|(key, _)| key.name.clone());
    items.chain(keys).collect()
}
