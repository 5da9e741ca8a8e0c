//! Fits a template's files to one app: its name, its port, its images, its command. Comments stay.

use super::{
    detect::Fit,
    stack::{APP, Stack},
};
use freehold_model::Name;
use std::collections::BTreeMap;
use toml_edit::{Array, DocumentMut, Item, value};

/// What was chosen for an app.
#[derive(Debug)]
pub(super) struct Choices {
    pub(super) app: Name,
    /// The port on the node, of the first endpoint; that of the template when not chosen.
    pub(super) port: Option<u16>,
    /// Images to start from instead of the template's, by its short names.
    pub(super) images: BTreeMap<String, String>,
    pub(super) fit: Fit,
}

/// The text of one of the template's files for this app.
pub(super) fn render(stack: &Stack, path: &str, text: &str, choices: &Choices) -> String {
    match path {
        "freehold.toml" => edit(text, |document| manifest(document, stack, choices)),
        "freehold-image.toml" => edit(text, |document| image(document, stack, choices)),
        "Cargo.toml" => edit(text, |document| put(&mut document["package"]["name"], choices.app.as_str())),
        _ => text.to_owned(),
    }
    .replace(&format!("-t {APP}:1"), &format!("-t {}:1", choices.app))
    .replace(&of_machine(stack.port()), &of_machine(choices.port.or(stack.port())))
}

/// How a template's comment calls the port on the node.
fn of_machine(port: Option<u16>) -> String {
    format!("port {} of the machine", port.unwrap_or_default())
}

fn edit(text: &str, change: impl FnOnce(&mut DocumentMut)) -> String {
    let mut document: DocumentMut = text.parse().expect("templates are TOML: a test parses each");
    change(&mut document);
    document.to_string()
}

fn manifest(document: &mut DocumentMut, stack: &Stack, choices: &Choices) {
    put(&mut document["app"], choices.app.as_str());
    let processes = document["process"].as_table_mut().into_iter().flat_map(|all| all.iter_mut());
    for (_, process) in processes {
        let image = process["image"].as_str().unwrap_or_default().to_owned();
        put(&mut process["image"], instead(&image, stack, choices));
    }
    let endpoints = document.get_mut("endpoint").and_then(Item::as_array_of_tables_mut);
    let first = endpoints.and_then(|all| all.iter_mut().next());
    if let (Some(endpoint), Some(port)) = (first, choices.port) {
        put(&mut endpoint["listen"], i64::from(port));
    }
}

fn image(document: &mut DocumentMut, stack: &Stack, choices: &Choices) {
    if let Some(from) = document.get("from").and_then(Item::as_str).map(str::to_owned) {
        put(&mut document["from"], instead(&from, stack, choices));
    }
    if let Some(cmd) = &choices.fit.cmd {
        put(&mut document["cmd"], cmd.iter().collect::<Array>());
    }
    if let Some(folder) = choices.fit.folder {
        document.insert("folder", value(folder));
    }
    if document.get("entrypoint").and_then(|words| words.get(0)?.as_str()) == Some("/bin/hello") {
        let program = choices.fit.program.as_deref().unwrap_or(choices.app.as_str());
        put(&mut document["entrypoint"], Array::from_iter([format!("/bin/{program}")]));
    }
}

/// The image that takes the place of the template's.
fn instead(image: &str, stack: &Stack, choices: &Choices) -> String {
    if image == format!("{APP}:1") {
        return format!("{}:1", choices.app);
    }
    let short = stack.images.iter().find(|(_, reference)| *reference == image).map(|(short, _)| *short);
    short.and_then(|short| choices.images.get(short)).cloned().unwrap_or_else(|| image.to_owned())
}

/// Replaces a value and keeps the comment behind it, in its column where that can be.
fn put(item: &mut Item, new: impl Into<toml_edit::Value>) {
    let Some(old) = item.as_value() else { return };
    let mut new = new.into();
    let before = old.clone().decorated("", "").to_string().chars().count();
    let after = new.clone().decorated("", "").to_string().chars().count();
    let decor = old.decor().clone();
    *new.decor_mut() = decor.clone();
    if let Some(suffix) = decor.suffix().and_then(|suffix| suffix.as_str()).filter(|text| text.contains('#'))
    {
        let comment = suffix.trim_start_matches(' ');
        let gap = (suffix.len() - comment.len() + before).saturating_sub(after).max(1);
        new.decor_mut().set_suffix(format!("{}{comment}", " ".repeat(gap)));
    }
    *item = Item::Value(new);
}

#[cfg(test)]
mod tests {
    use super::{super::stack::STACKS, *};
    use freehold_model::Manifest;

    fn choices() -> Choices {
        Choices {
            app: "corner-shop".parse().unwrap(),
            port: Some(9000),
            images: BTreeMap::new(),
            fit: Fit::default(),
        }
    }

    #[test]
    fn every_template_is_a_valid_manifest_before_and_after() {
        let env = "prod".parse().unwrap();
        for stack in STACKS {
            let (path, text) = stack.config[0];
            let rendered = render(stack, path, text, &choices());
            for (text, app, port) in [(text, APP, None), (rendered.as_str(), "corner-shop", Some(9000))] {
                let manifest = Manifest::parse(path, text, &env)
                    .unwrap_or_else(|errors| panic!("{}: {errors}", stack.name));
                assert_eq!(manifest.app.as_str(), app);
                assert!(port.is_none_or(|port| manifest.endpoint[0].listen == port), "{}", stack.name);
            }
            assert!(!rendered.contains("hello"), "{}: {rendered}", stack.name);
            assert!(!rendered.contains("port 8000 of the machine"), "{}: {rendered}", stack.name);
        }
    }

    #[test]
    fn comments_stay_in_their_column() {
        let stack = super::super::stack::named("node").unwrap();
        let (path, text) = stack.config[0];
        let rendered = render(stack, path, text, &choices());
        assert!(
            rendered.contains(
                "image = \"corner-shop:1\"              # made by `freehold image build . -t corner-shop:1`"
            ),
            "{rendered}"
        );
    }

    #[test]
    fn images_commands_and_folders_are_put_in_place() {
        let fit =
            Fit { cmd: Some(vec!["npm".into(), "start".into()]), folder: Some("dist"), ..Fit::default() };
        let images = BTreeMap::from([("node".to_owned(), "our-node:1".to_owned())]);
        let choices = Choices { images, fit, ..choices() };
        let stack = super::super::stack::named("node").unwrap();
        let (path, text) = stack.config[1];
        let rendered = render(stack, path, text, &choices);
        for part in ["from = \"our-node:1\"", "cmd = [\"npm\", \"start\"]", "folder = \"dist\""] {
            assert!(rendered.contains(part), "{part}: {rendered}");
        }
    }
}
