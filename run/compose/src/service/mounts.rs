//! `volumes` → `[[volume]]`.

use super::{Scene, Service, name_of, place_of};
use crate::{
    draft::Volume,
    keys::{self, sweep},
    node::{Node, Value},
    paths::{is_host_path, plain},
    secrets::is_secret_value,
};
use freehold_model::Name;
use std::{collections::HashMap, rc::Rc};

/// How many volumes an app may have.
const MOST: usize = 1000;
const ONE_WRITER: &str = "let one process have it, and ask that one over the network";
const INTO_IMAGE: &str = "put it into the image: `freehold-image.toml` with `from` and `into`";

/// A mount.
#[derive(Debug, PartialEq)]
struct Mount {
    /// A named volume, a path of the host, or nothing.
    source: String,
    target: String,
    read_only: bool,
    /// `bind`, `volume`, `tmpfs` and others, where it is said.
    kind: String,
}

/// A folder of the host that became a volume.
pub(super) struct Folder {
    /// The same for each way to write it.
    identity: String,
    written: String,
    volume: Name,
    process: Name,
}

/// The top-level `volumes`: what is not carried of each.
pub(super) fn sweep_top(scene: &mut Scene<'_>) {
    let Some(all) = scene.project.root.get("volumes").cloned() else { return };
    for (key, node) in all.entries() {
        if matches!(node.value, Value::Map(_)) {
            sweep(node, keys::VOLUME, &format!("volumes.{}", key.name), scene.report);
        }
    }
}

/// Takes the mounts of a service.
pub(super) fn mounts(service: &Service<'_>, scene: &mut Scene<'_>) {
    let Some(node) = service.get("volumes") else { return };
    if !matches!(node.value, Value::List(_)) {
        scene.report.wrong(service.at("volumes"), node, "a list");
    }
    for item in last_of_each(node.items()) {
        let mount = match &item.value {
            Value::Text(text) => short(&text.text),
            _ => {
                sweep(item, keys::MOUNT, &service.at("volumes"), scene.report);
                long(item)
            }
        };
        let mount = mount.and_then(|mount| Some(Mount { target: place_of(&mount.target)?, ..mount }));
        match mount {
            Some(mount) => take(&mount, item, service, scene),
            None => scene.report.lose(service.at("volumes"), &item.at, "it is no mount that can be read", ""),
        }
    }
}

/// Of several mounts at one path the last counts, as with docker.
fn last_of_each(items: &[Rc<Node>]) -> Vec<&Rc<Node>> {
    let target = |item: &Node| match &item.value {
        Value::Text(text) => short(&text.text).map(|mount| mount.target),
        _ => long(item).map(|mount| mount.target),
    };
    let targets: Vec<Option<String>> = items.iter().map(|item| Some(plain(&target(item)?))).collect();
    let last: HashMap<&String, usize> =
        targets.iter().enumerate().filter_map(|(at, target)| Some((target.as_ref()?, at))).collect();
    let counts = |at: usize| targets[at].as_ref().is_none_or(|target| last.get(target) == Some(&at));
    items.iter().enumerate().filter(|(at, _)| counts(*at)).map(|(_, item)| item).collect()
}

fn take(mount: &Mount, item: &Node, service: &Service<'_>, scene: &mut Scene<'_>) {
    let path = service.at("volumes");
    let secret = item.holds_secret() || is_secret_value(&mount.source) || scene.gives_away(&mount.source);
    let shown = if secret { "it" } else { mount.source.as_str() };
    let bind = mount.kind == "bind" || is_host_path(&mount.source);
    if !matches!(mount.kind.as_str(), "" | "bind" | "volume") {
        let reason = format!("mounts of the kind `{}` are not made", mount.kind);
        scene.report.lose(path, &item.at, reason, "the path is an ordinary folder of the instance");
    } else if bind && mount.source.ends_with(".sock") {
        let reason = format!("{shown} is a socket of the host");
        scene.report.lose(path, &item.at, reason, "what it controls is not within reach of a container");
    } else if bind && is_file(mount, scene) {
        scene.report.lose(path, &item.at, format!("{shown} is a file of the host"), INTO_IMAGE);
    } else if bind && mount.read_only {
        scene.report.lose(path, &item.at, format!("{shown} lies on the host, and is only read"), INTO_IMAGE);
    } else if bind && scene.folders.iter().any(|folder| shares(folder, mount, scene)) {
        shared(mount, shown, item, service, scene);
    } else if bind {
        let name = name_of(mount.source.trim_end_matches('/').rsplit('/').next().unwrap_or_default());
        let name = free(name, service, scene);
        let reason =
            format!("{shown} is a folder of the host: it became the volume `{name}`, which is empty");
        scene.report.lose(path, &item.at, reason, "copy the data into it after the first deploy");
        scene.folders.push(Folder {
            identity: scene.outside.identity(&mount.source),
            written: shown.to_owned(),
            volume: name.clone(),
            process: service.name.clone(),
        });
        add(name, mount, Some(shown.to_owned()), item, service, scene);
    } else if mount.source.is_empty() {
        let last = mount.target.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let name = free(name_of(last), service, scene);
        add(name, mount, Some("without a name".into()), item, service, scene);
    } else {
        named(mount, item, service, scene);
    }
}

/// The key of a volume: of two keys with one `name` in the engine, the first.
fn volume_of(source: &str, scene: &Scene<'_>) -> String {
    let all = scene.project.root.get("volumes").cloned();
    let entries = all.as_ref().map(|all| all.entries()).unwrap_or_default();
    let called = |key: &str| all.as_ref()?.get(key)?.get("name")?.text().map(str::to_owned);
    let Some(name) = called(source) else { return source.to_owned() };
    let first = entries.iter().find(|(key, _)| called(&key.name).as_ref() == Some(&name));
    first.map_or_else(|| source.to_owned(), |(key, _)| key.name.clone())
}

/// Whether a mount is of a folder that is a volume already, of one in it, or of one that it is in.
fn shares(folder: &Folder, mount: &Mount, scene: &Scene<'_>) -> bool {
    let own = scene.outside.identity(&mount.source);
    let within = |inner: &str, outer: &str| {
        let outer = outer.trim_end_matches('/');
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    within(&own, &folder.identity) || within(&folder.identity, &own)
}

/// Names a folder of the host that another mount has, or a part of it: it does not become a second volume.
fn shared(mount: &Mount, shown: &str, item: &Node, service: &Service<'_>, scene: &mut Scene<'_>) {
    let Some(folder) = scene.folders.iter().find(|folder| shares(folder, mount, scene)) else { return };
    let same = scene.outside.identity(&mount.source) == folder.identity;
    let (volume, process) = (&folder.volume, &folder.process);
    let which = match same {
        true => format!("{shown} is the folder that"),
        false => format!("{shown} and {}, which", folder.written),
    };
    let verb = if same { "" } else { ", overlap" };
    let reason = match *process == service.name {
        true => format!("{which} became the volume `{volume}`{verb}: it is mounted already"),
        false => {
            format!("{which} became the volume `{volume}` of `{process}`{verb}, and a volume has one writer")
        }
    };
    scene.report.lose(service.at("volumes"), &item.at, reason, ONE_WRITER);
}

fn named(mount: &Mount, item: &Node, service: &Service<'_>, scene: &mut Scene<'_>) {
    let path = service.at("volumes");
    let name = name_of(&volume_of(&mount.source, scene));
    let other = scene.volumes.iter().find(|volume| volume.name == name);
    if let Some(other) = other {
        let reason = match other.process == service.name {
            true => format!("the volume `{name}` is mounted already, at {}", other.path),
            false => format!("the volume `{name}` is `{}`'s, and a volume has one writer", other.process),
        };
        scene.report.lose(path, &item.at, reason, ONE_WRITER);
        return;
    }
    if mount.read_only {
        scene.report.lose(&path, &item.at, "a volume can be written to by its process", "");
    }
    add(name, mount, None, item, service, scene);
}

fn add(
    name: Name,
    mount: &Mount,
    was: Option<String>,
    item: &Node,
    service: &Service<'_>,
    scene: &mut Scene<'_>,
) {
    // A later mount at one path takes the place of an earlier one, as with `extends`.
    scene.volumes.retain(|volume| volume.process != service.name || volume.path != mount.target);
    if scene.volumes.len() >= MOST {
        scene.report.lose(service.at("volumes"), &item.at, "an app has at most 1000 volumes", "");
        return;
    }
    scene.volumes.push(Volume { name, process: service.name.clone(), path: mount.target.clone(), was });
}

fn free(name: Name, service: &Service<'_>, scene: &Scene<'_>) -> Name {
    // Declared volumes keep their names, whoever comes first.
    let declared = scene.project.root.get("volumes").cloned();
    let declared = |name: &Name| {
        declared.as_ref().is_some_and(|all| all.entries().iter().any(|(key, _)| name_of(&key.name) == *name))
    };
    let taken = |name: &Name| declared(name) || scene.volumes.iter().any(|volume| volume.name == *name);
    let own = name_of(&format!("{}-{name}", service.name));
    let numbered = |n: usize| name_of(&format!("{}-{n}", own.as_str().chars().take(40).collect::<String>()));
    match () {
        () if !taken(&name) => name,
        () if !taken(&own) => own,
        () => (2..).map(numbered).find(|name| !taken(name)).unwrap_or(name),
    }
}

/// `[SOURCE:]TARGET[:OPTIONS]`
fn short(text: &str) -> Option<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return None,
    };
    let read_only = options.split(',').any(|option| option == "ro");
    Some(Mount { source: source.to_owned(), target: target.to_owned(), read_only, kind: String::new() })
}

fn long(item: &Node) -> Option<Mount> {
    let text = |key: &str| item.get(key).and_then(|node| node.text()).unwrap_or_default().to_owned();
    let read_only = item.get("read_only").is_some_and(|value| value.is_true());
    let mount = Mount { source: text("source"), target: text("target"), read_only, kind: text("type") };
    (!mount.target.is_empty()).then_some(mount)
}

/// Whether what is mounted is a single file: asked where it can be, guessed where it is not there.
fn is_file(mount: &Mount, scene: &Scene<'_>) -> bool {
    scene.outside.is_file(&mount.source).unwrap_or_else(|| {
        let name = mount.target.rsplit('/').next().unwrap_or_default();
        let extension = name.rsplit_once('.').map(|(stem, extension)| !stem.is_empty() && extension != "d");
        extension.unwrap_or(false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_forms() {
        let mount = |source: &str, target: &str, read_only| {
            Some(Mount { source: source.into(), target: target.into(), read_only, kind: String::new() })
        };
        assert_eq!(short("/data"), mount("", "/data", false));
        assert_eq!(short("db:/data"), mount("db", "/data", false));
        assert_eq!(short("./conf:/conf:ro,z"), mount("./conf", "/conf", true));
        assert_eq!(short("a:b:c:d"), None);
    }
}
