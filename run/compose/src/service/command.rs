//! `entrypoint` and `command` → `command` and `args`.

use super::{Scene, Service};
use crate::{
    node::{Node, Value},
    report::Report,
    words::{self, Words},
};

/// `entrypoint` and `command` → `command`, or `args` where the image's entrypoint stays.
pub(super) fn command(
    service: &Service<'_>,
    scene: &mut Scene<'_>,
) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let command = words(service, "command", scene);
    match words(service, "entrypoint", scene) {
        Some(entrypoint) => {
            let whole: Vec<String> = entrypoint.into_iter().chain(command.unwrap_or_default()).collect();
            if whole.first().is_none_or(String::is_empty) {
                if let Some(node) = service.get("entrypoint") {
                    let reason = "the image's entrypoint cannot be taken away with nothing in its place";
                    scene.report.lose(
                        service.at("entrypoint"),
                        &node.at,
                        reason,
                        "write the whole `command`",
                    );
                }
                return (None, None);
            }
            (Some(whole), None)
        }
        None => {
            if command.as_ref().is_some_and(Vec::is_empty) {
                let path = service.at("command");
                scene.report.note(format!(
                    "{path} is empty: the image's own command is not run, its entrypoint alone is."
                ));
            }
            (None, command)
        }
    }
}

/// A command: a list of words, or a text that is split as a shell would; no shell runs it.
fn words(service: &Service<'_>, key: &str, scene: &mut Scene<'_>) -> Option<Vec<String>> {
    let node = service.get(key)?;
    read_words(node, &service.at(key), scene)
}

const READ_INSIDE: &str = "let a shell read it where it is: command = [\"sh\", \"-c\", \"exec program --password \\\"$NAME\\\"\"], \
     with a secret as NAME";

pub(super) fn read_words(node: &Node, path: &str, scene: &mut Scene<'_>) -> Option<Vec<String>> {
    if node.holds_secret() {
        let reason = "a secret went into it, and would stand in the manifest";
        scene.report.lose(path, &node.at, reason, READ_INSIDE);
        return None;
    }
    let words = split(node, path, scene.report)?;
    if words.len() > LONGEST || words.iter().any(|word| word.contains('\0')) {
        scene.report.lose(path, &node.at, "it has more words than a manifest takes, or a zero byte", "");
        return None;
    }
    if scene.give_away(&words) {
        let reason = "what looks like a secret stands in it, and would stand in the manifest too";
        scene.report.lose(path, &node.at, reason, READ_INSIDE);
        return None;
    }
    Some(words)
}

fn split(node: &Node, path: &str, report: &mut Report) -> Option<Vec<String>> {
    match &node.value {
        Value::Text(text) => {
            let Some(Words { words, cut_at }) = words::split(&text.text) else {
                let reason = "its quotes or brackets do not match: Compose refuses it too";
                report.lose(path, &node.at, reason, "write it as a list");
                return None;
            };
            if let Some(c) = cut_at {
                let reason = format!(
                    "no shell runs it, and Compose takes nothing from `{c}` on: nor does the manifest"
                );
                report.lose(
                    path,
                    &node.at,
                    reason,
                    "write it as [\"sh\", \"-c\", \"…\"] if a shell is to run it",
                );
            }
            Some(words)
        }
        Value::List(items) => Some(items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()),
        _ => {
            report.wrong(path, node, "a text or a list");
            None
        }
    }
}

/// How many words a command may have.
const LONGEST: usize = 1000;
