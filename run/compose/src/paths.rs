//! Paths as they stand in Compose files: put together, and made relative to the project's folder.
//!
//! Pure text: what lies on the disk is not looked at.

use crate::node::{Key, Node, Value};
use std::rc::Rc;

/// Whether a mount's source is a path of the host, and no volume's name.
pub(crate) fn is_host_path(source: &str) -> bool {
    source.starts_with(['/', '.', '~'])
}

/// `path` as seen from the folder `folder`, in its plain form; absolute ones and those below `~` stay.
pub(crate) fn join(folder: &str, path: &str) -> String {
    if path.starts_with(['/', '~']) || folder.is_empty() {
        return path.to_owned();
    }
    let joined = plain(&format!("{folder}/{path}"));
    if path.starts_with('.') && !joined.starts_with(['.', '/']) { format!("./{joined}") } else { joined }
}

/// Without `.`, empty parts, and `..` after a folder.
pub(crate) fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = vec![];
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." if path.starts_with('/') && parts.is_empty() => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    let joined = format!("{root}{}", parts.join("/"));
    if joined.is_empty() { ".".to_owned() } else { joined }
}

/// The folder of a file.
pub(crate) fn folder(file: &str) -> String {
    file.rsplit_once('/').map_or_else(String::new, |(folder, _)| folder.to_owned())
}

/// A whole file's tree, its paths as seen from the project's folder. `folder` is that of the file.
pub(crate) fn rebase(root: &Rc<Node>, folder: &str) -> Rc<Node> {
    if folder.is_empty() {
        return root.clone();
    }
    each(root, |key, node| match key {
        "services" => each(node, |_, service| rebase_service(service, folder)),
        "secrets" | "configs" => each(node, |_, one| {
            each(one, |key, node| if key == "file" { path(node, folder) } else { node.clone() })
        }),
        _ => node.clone(),
    })
}

/// A service's paths as seen from one folder further out.
pub(crate) fn rebase_service(service: &Rc<Node>, folder: &str) -> Rc<Node> {
    if matches!(folder, "" | ".") {
        return service.clone();
    }
    let items = |node: &Rc<Node>, change: &dyn Fn(&Rc<Node>) -> Rc<Node>| match &node.value {
        Value::List(items) => node.with(Value::List(items.iter().map(change).collect())),
        _ => change(node),
    };
    each(service, |key, node| match key {
        "env_file" => items(node, &|item| match item.value {
            Value::Map(_) => {
                each(item, |key, node| if key == "path" { path(node, folder) } else { node.clone() })
            }
            _ => path(item, folder),
        }),
        "volumes" => items(node, &|item| mount(item, folder)),
        _ => node.clone(),
    })
}

fn mount(item: &Rc<Node>, folder: &str) -> Rc<Node> {
    match &item.value {
        Value::Text(text) if text.text.starts_with('.') => {
            let (source, rest) = text.text.split_once(':').unwrap_or((&text.text, ""));
            item.with_text(format!("{}:{rest}", join(folder, source)))
        }
        Value::Map(_) if item.get("type").is_some_and(|kind| kind.text() == Some("bind")) => {
            each(item, |key, node| match node.text() {
                Some(text) if key == "source" => node.with_text(join(folder, &format!("./{text}"))),
                _ => node.clone(),
            })
        }
        _ => item.clone(),
    }
}

fn path(node: &Rc<Node>, folder: &str) -> Rc<Node> {
    node.text().map_or_else(|| node.clone(), |text| node.with_text(join(folder, text)))
}

/// A table with each value changed; what is no table stays.
fn each(node: &Rc<Node>, change: impl Fn(&str, &Rc<Node>) -> Rc<Node>) -> Rc<Node> {
    let Value::Map(entries) = &node.value else { return node.clone() };
    let changed = |(key, node): &(Key, Rc<Node>)| (key.clone(), change(&key.name, node));
    node.with(Value::Map(entries.iter().map(changed).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_put_together() {
        for (folder, path, expected) in [
            ("", "./a", "./a"),
            ("sub", "a.env", "sub/a.env"),
            ("sub", "./a", "./sub/a"),
            ("sub", "../a", "./a"),
            ("sub", "../../a", "../a"),
            ("../x", "./a/", "../x/a"),
            ("sub", "/a", "/a"),
            ("sub", "~/a", "~/a"),
            ("sub", ".", "./sub"),
        ] {
            assert_eq!(join(folder, path), expected, "{folder} {path}");
        }
        assert_eq!(plain("/a//b/../c/./"), "/a/c");
        assert_eq!(plain("/../a"), "/a");
        assert_eq!(
            (plain("./"), folder("a/b/c.yaml"), folder("c.yaml")),
            (".".into(), "a/b".into(), String::new())
        );
    }
}
