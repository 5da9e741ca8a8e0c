//! `volumes` → `[[volume]]`.

use super::{Scene, Service, name_of, place_of};
use crate::{
    draft::Volume,
    keys::{self, sweep},
    node::{Node, Value},
};
use freehold_model::Name;

/// How many volumes an app may have.
const MOST: usize = 1000;
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
    for item in node.items() {
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

fn take(mount: &Mount, item: &Node, service: &Service<'_>, scene: &mut Scene<'_>) {
    let path = service.at("volumes");
    let shown = if item.holds_secret() { "it" } else { mount.source.as_str() };
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
    } else if bind {
        let name = name_of(mount.source.trim_end_matches('/').rsplit('/').next().unwrap_or_default());
        let name = free(name, service, scene);
        let reason =
            format!("{shown} is a folder of the host: it became the volume `{name}`, which is empty");
        scene.report.lose(path, &item.at, reason, "copy the data into it after the first deploy");
        add(name, mount, Some(shown.to_owned()), item, service, scene);
    } else if mount.source.is_empty() {
        let last = mount.target.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let name = free(name_of(last), service, scene);
        add(name, mount, Some("without a name".into()), item, service, scene);
    } else {
        named(mount, item, service, scene);
    }
}

fn named(mount: &Mount, item: &Node, service: &Service<'_>, scene: &mut Scene<'_>) {
    let path = service.at("volumes");
    let name = name_of(&mount.source);
    let other = scene.volumes.iter().find(|volume| volume.name == name);
    if let Some(other) = other {
        let reason = match other.process == service.name {
            true => format!("the volume `{name}` is mounted already, at {}", other.path),
            false => format!("the volume `{name}` is `{}`'s, and a volume has one writer", other.process),
        };
        scene.report.lose(
            path,
            &item.at,
            reason,
            "let one process have it, and ask that one over the network",
        );
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

fn is_host_path(source: &str) -> bool {
    source.starts_with(['/', '.', '~']) || source.contains('/')
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
