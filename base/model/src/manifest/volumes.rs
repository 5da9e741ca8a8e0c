//! What must hold of volumes beyond their single values: names and paths that differ, places that a volume
//! can be at, and one writer each. Called by `resolve` for the whole file, every env included.

use super::{
    paths,
    report::Report,
    scalar::shown,
    secrets,
    tree::{Fields, Node},
};
use std::collections::{BTreeSet, HashSet};

/// Checks the volumes of `file` against its processes, `base`, and what envs lay over those.
pub(super) fn check(file: &Node, base: &Fields, report: &mut Report<'_>) {
    let volumes = file.list("volume");
    distinct(volumes, report);
    let with: BTreeSet<&str> = volumes.iter().filter_map(|volume| volume.text("process")).collect();
    let envs = file.get("env").and_then(Node::fields).into_iter().flatten();
    let over = envs.filter_map(|(_, env)| env.get("process").and_then(Node::fields));
    for processes in std::iter::once(base).chain(over) {
        for (name, process) in processes.iter().filter(|(name, _)| with.contains(name.as_str())) {
            one_writer(name, process, report);
            let of_it = volumes.iter().filter(|volume| volume.text("process") == Some(name));
            let paths = of_it.filter_map(|volume| volume.text("path")).map(paths::plain).collect::<Vec<_>>();
            secrets::outside(process, &paths, report);
        }
    }
}

fn distinct(volumes: &[Node], report: &mut Report<'_>) {
    let (mut names, mut places) = (HashSet::new(), HashSet::new());
    for volume in volumes {
        if let (Some(node), Some(name)) = (volume.get("name"), volume.text("name"))
            && !names.insert(name)
        {
            let help = "give each volume a name of its own: one volume is written by one process";
            report.error(&node.span, format!("there is a volume `{}` already", shown(name)), help);
        }
        let (Some(node), Some(path)) = (volume.get("path"), volume.text("path")) else { continue };
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.is_empty() || matches!(parts[0], "dev" | "proc" | "sys") {
            let help = "put it somewhere else, like `/data`";
            report.error(&node.span, "a volume cannot be here: the instance has something else there", help);
        } else if let Some(process) = volume.text("process")
            && !places.insert((process, parts))
        {
            let help = "give each a path of its own";
            report.error(&node.span, "another volume of the process is here already", help);
        }
    }
}

fn one_writer(name: &str, process: &Node, report: &mut Report<'_>) {
    let Some(count) = process.get("count") else { return };
    if process.integer("count").is_some_and(|count| count > 1) {
        let message = format!("process `{}` has a volume, so it can have one instance at most", shown(name));
        let help = "a volume has one writer: set count = 1, or keep the data in a process of its own";
        report.error(&count.span, message, help);
    }
}
