//! YAML text → a tree with places. Anchors, aliases and merge keys are resolved here.
//!
//! Invariant: the work is bounded by the limits below whatever the text is. Aliases share what they name,
//! and count with all that is below it, so that a "billion laughs" is refused before it is expanded.

use crate::{
    ComposeError,
    node::{Key, Node, Place, Text, Value},
};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::{collections::HashMap, rc::Rc};

/// How large a file may be, in bytes.
const LARGEST: usize = 1 << 20;
/// How many values it may have, aliases expanded.
const MOST: usize = 50_000;
/// How deeply values may be nested.
const DEEPEST: usize = 40;

/// The one document of `text`.
pub(crate) fn parse(file: &str, text: &str) -> Result<Rc<Node>, ComposeError> {
    let file: Rc<str> = file.into();
    let place = |span: &Span| Place {
        file: file.clone(),
        line: span.start.line().max(1),
        column: span.start.col() + 1,
    };
    let start = Place { file: file.clone(), line: 1, column: 1 };
    if text.len() > LARGEST {
        return Err(refused(&start, "it is larger than 1 MiB"));
    }
    let mut builder = Builder::default();
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = Place {
                file: file.clone(),
                line: error.marker().line().max(1),
                column: error.marker().col() + 1,
            };
            refused(&at, &format!("it is not YAML: {}", error.info()))
        })?;
        let at = place(&span);
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
        }
        if documents > 1 {
            return Err(refused(&at, "a second document begins here; a Compose file is one"));
        }
        builder.take(event, at)?;
    }
    Ok(builder.root.unwrap_or_else(|| Rc::new(Node { at: start, value: Value::Null })))
}

fn refused(at: &Place, reason: &str) -> ComposeError {
    ComposeError::Yaml { at: at.to_string(), reason: reason.to_owned() }
}

/// Puts a tree together from events.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// By anchor: the value, and how many values it is.
    anchors: HashMap<usize, (Rc<Node>, usize)>,
    count: usize,
    root: Option<Rc<Node>>,
}

/// A list or map that has not ended.
struct Open {
    at: Place,
    anchor: usize,
    value: Value,
    key: Option<Key>,
    /// What `<<` brought in.
    merged: Vec<Rc<Node>>,
    /// The count when it began.
    before: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Place) -> Result<(), ComposeError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                // A tag of Compose itself, such as !reset, means something only between several files.
                if tag.is_some_and(|tag| !tag.is_yaml_core_schema()) {
                    return Err(refused(&at, "tags such as `!reset` are not read; write the value itself"));
                }
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let text = || Value::Text(Text { text: text.into_owned(), ..Text::default() });
                let value = if null { Value::Null } else { text() };
                self.finished(Node { at, value }, anchor, 1)
            }
            Event::SequenceStart(_, Some(tag)) | Event::MappingStart(_, Some(tag))
                if !tag.is_yaml_core_schema() =>
            {
                Err(refused(&at, "tags such as `!override` are not read; write the value itself"))
            }
            Event::SequenceStart(anchor, _) => self.begin(at, anchor, Value::List(vec![])),
            Event::MappingStart(anchor, _) => self.begin(at, anchor, Value::Map(vec![])),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor).cloned();
                let (node, size) =
                    known.ok_or_else(|| refused(&at, "this alias is a part of what it names"))?;
                self.count(size, &at)?;
                self.place_child(node)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, at: Place, anchor: usize, value: Value) -> Result<(), ComposeError> {
        if self.open.len() >= DEEPEST {
            return Err(refused(&at, "it is nested too deeply"));
        }
        self.open.push(Open { at, anchor, value, key: None, merged: vec![], before: self.count });
        Ok(())
    }

    fn end(&mut self) -> Result<(), ComposeError> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        if let Value::Map(entries) = &mut open.value {
            // What is written here wins over what is merged; of two merged ones, the earlier.
            for (key, node) in open.merged.iter().flat_map(|node| node.entries()) {
                if !entries.iter().any(|(known, _)| known.name == key.name) {
                    entries.push((key.clone(), node.clone()));
                }
            }
        }
        let size = self.count - open.before + 1;
        self.finished(Node { at: open.at, value: open.value }, open.anchor, size)
    }

    fn finished(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), ComposeError> {
        self.count(1, &node.at)?;
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        self.place_child(node)
    }

    fn place_child(&mut self, node: Rc<Node>) -> Result<(), ComposeError> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match open.key.take() {
                None => open.key = Some(key_of(&node)?),
                Some(key) if key.name == "<<" => open.merged.extend(mergeable(&node)?),
                Some(key) => {
                    if entries.iter().any(|(known, _)| known.name == key.name) {
                        return Err(refused(&key.at, &format!("`{}` is there twice", key.name)));
                    }
                    entries.push((key, node));
                }
            },
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, more: usize, at: &Place) -> Result<(), ComposeError> {
        self.count = self.count.saturating_add(more);
        if self.count > MOST {
            return Err(refused(at, "it has more values than are read, with its aliases expanded"));
        }
        Ok(())
    }
}

fn key_of(node: &Node) -> Result<Key, ComposeError> {
    match &node.value {
        Value::Text(text) => Ok(Key { at: node.at.clone(), name: text.text.clone() }),
        Value::Null => Ok(Key { at: node.at.clone(), name: String::new() }),
        _ => Err(refused(&node.at, "a key must be a single value")),
    }
}

fn mergeable(node: &Rc<Node>) -> Result<Vec<Rc<Node>>, ComposeError> {
    match &node.value {
        Value::Map(_) => Ok(vec![node.clone()]),
        Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Map(_))) => {
            Ok(items.clone())
        }
        _ => Err(refused(&node.at, "`<<` merges tables, and this is none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Rc<Node> {
        parse("c.yaml", text).unwrap()
    }

    fn error(text: &str) -> String {
        parse("c.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn values_know_their_places() {
        let root = parsed("services:\n  web:\n    image: nginx\n");
        let image = root.get("services").unwrap().get("web").unwrap().get("image").unwrap();
        assert_eq!((image.at.to_string().as_str(), image.text()), ("c.yaml:3:12", Some("nginx")));
    }

    #[test]
    fn merge_keys_lie_below_what_is_written() {
        let root = parsed("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 0\n");
        let c = root.get("c").unwrap();
        let value = |key| c.get(key).unwrap().text().unwrap().to_owned();
        assert_eq!([value("x"), value("y"), value("z")], ["0", "2", "4"]);
    }

    #[test]
    fn a_billion_laughs_are_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let before = format!("*a{}", n - 1);
            let line = [before.as_str(); 10].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{line}]\n"));
        }
        assert!(error(&text).contains("aliases expanded"), "{}", error(&text));
        assert!(error(&"[".repeat(100)).contains("nested too deeply"));
        assert!(error(&"[".repeat(100_000)).contains("limit"));
        assert!(error(&" ".repeat(2 << 20)).contains("1 MiB"));
    }

    #[test]
    fn mistakes_have_a_place() {
        assert!(error("a: 1\na: 2").starts_with("c.yaml:2:1: `a` is there twice"));
        assert!(error("a: [1").starts_with("c.yaml:"));
        assert!(error("a: 1\n---\nb: 2").contains("second document"));
        assert!(error("a: &x [*x]").starts_with("c.yaml:1:"));
        assert!(error("a: !reset null").contains("!reset"));
        assert!(error("? [a]\n: b").contains("single value"));
    }

    #[test]
    fn only_plain_nothing_is_nothing() {
        let root = parsed("a:\nb: ~\nc: \"\"\nd: 'null'");
        let nothing = |key| matches!(root.get(key).unwrap().value, Value::Null);
        assert_eq!(["a", "b", "c", "d"].map(nothing), [true, true, false, false]);
    }
}
