//! YAML text → trees with places. Anchors, aliases and merge keys are resolved here.
//!
//! The parser is a port of libyaml, as is the one in docker compose: both take the same files.
//! Invariant: the work is bounded by the limits below whatever the text is. Aliases share what they name,
//! and count with all that is below it, so that a "billion laughs" is refused before it is expanded.

use crate::{
    ComposeError,
    node::{Key, Mark, Node, Place, Text, Value},
    scalar,
};
use libyaml_safer::{Event, EventData, Parser, ScalarStyle};
use std::{
    collections::HashMap,
    panic,
    rc::Rc,
    sync::{Mutex, PoisonError},
};

/// How large a file may be, in bytes.
const LARGEST: usize = 1 << 20;
/// How many values it may have, aliases expanded.
const MOST: usize = 50_000;
/// How deeply values may be nested.
const DEEPEST: usize = 40;

/// The documents of `text`: one, as a rule. Docker lays a second one over the first.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Rc<Node>>, ComposeError> {
    let file: Rc<str> = file.into();
    let start = Place { file: file.clone(), line: 1, column: 1 };
    if text.len() > LARGEST {
        return Err(refused(&start, "it is larger than 1 MiB"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The parser takes a line for granted that ends: its last one is given an end, which is no part of its text.
    let ended = (!text.ends_with(['\n', '\r'])).then(|| format!("{text}\n"));
    let has_open_end = ended.is_some() && text.lines().last().is_some_and(|line| !line.trim().is_empty());
    let place = |mark: libyaml_safer::Mark| Place {
        file: file.clone(),
        line: mark.line as usize + 1,
        column: mark.column as usize + 1,
    };
    let mut builder = Builder::default();
    let events = events(ended.as_deref().unwrap_or(text)).map_err(|error| {
        let at = error.as_ref().and_then(|error| error.problem_mark()).map_or_else(|| start.clone(), place);
        let reason = error.as_ref().map_or_else(|| "its parser gives up on it".to_owned(), why);
        refused(&at, &format!("it is not YAML: {reason}"))
    })?;
    for mut event in events {
        if has_open_end && event.end_mark.index as usize >= text.len() {
            without_end(&mut event.data);
        }
        let at = place(event.start_mark);
        builder.take(event, at)?;
    }
    if builder.documents.is_empty() {
        builder.documents.push(Rc::new(Node::new(start, Value::Null)));
    }
    Ok(builder.documents)
}

/// The events of `text`, the last one apart; or what is wrong with it, if the parser can say.
fn events(text: &str) -> Result<Vec<Event>, Option<libyaml_safer::Error>> {
    // It panics at a few things that it has not learnt, like a tag before a comma. One at a time, for the hook that
    // would tell of it is the process's.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let read = panic::catch_unwind(|| -> Result<Vec<Event>, libyaml_safer::Error> {
        let mut bytes = text.as_bytes();
        let mut parser = Parser::new();
        parser.set_input_string(&mut bytes);
        let (mut events, mut depth) = (vec![], 0_usize);
        // What is deeper is refused by whoever takes the events.
        while depth <= DEEPEST + 1 {
            let event = parser.parse()?;
            match event.data {
                EventData::StreamEnd => break,
                EventData::SequenceStart { .. } | EventData::MappingStart { .. } => depth += 1,
                EventData::SequenceEnd | EventData::MappingEnd => depth = depth.saturating_sub(1),
                _ => {}
            }
            events.push(event);
        }
        Ok(events)
    });
    panic::set_hook(hook);
    match read {
        Ok(read) => read.map_err(Some),
        Err(_) => Err(None),
    }
}

/// Takes the line feed off a block that its file does not end with.
fn without_end(data: &mut EventData) {
    if let EventData::Scalar { value, style: ScalarStyle::Literal | ScalarStyle::Folded, .. } = data
        && value.ends_with('\n')
    {
        value.pop();
    }
}

/// What the parser says, with the way out of the mistakes that are made most.
fn why(error: &libyaml_safer::Error) -> String {
    let problem = match error.problem() {
        "" => "it has a character that YAML does not allow",
        problem => problem,
    };
    let help = match problem {
        "found character that cannot start any token" => {
            " (indent with spaces, not tabs; quote a value that begins with `@`, `%` or a backquote)"
        }
        "mapping values are not allowed in this context" => {
            " (quote a value that has `: ` in it, and indent the keys of one table alike)"
        }
        "did not find expected key" | "did not find expected '-' indicator" => " (look at the indentation)",
        _ => "",
    };
    format!("{problem}{help}")
}

fn refused(at: &Place, reason: &str) -> ComposeError {
    ComposeError::Yaml { at: at.to_string(), reason: reason.to_owned() }
}

/// Puts a tree together from events.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// By anchor: the value, and how many values it is.
    anchors: HashMap<String, (Rc<Node>, usize)>,
    count: usize,
    documents: Vec<Rc<Node>>,
}

/// A list or map that has not ended.
struct Open {
    at: Place,
    anchor: Option<String>,
    mark: Mark,
    value: Value,
    key: Option<Key>,
    /// What `<<` brought in.
    merged: Vec<Rc<Node>>,
    /// The count when it began.
    before: usize,
}

impl Builder {
    fn take(&mut self, event: Event, at: Place) -> Result<(), ComposeError> {
        match event.data {
            EventData::DocumentStart { .. } => {
                self.anchors.clear();
                Ok(())
            }
            EventData::Scalar { anchor, tag, value, style, .. } => {
                let mark = mark_of(tag.as_deref(), &at)?;
                let value = match style {
                    ScalarStyle::Plain => scalar::resolved(value, tag.as_deref()),
                    _ => Value::Text(Text { text: value, ..Text::default() }),
                };
                self.finished(Node { at, value, mark }, anchor, 1)
            }
            EventData::SequenceStart { anchor, tag, .. } => {
                let mark = mark_of(tag.as_deref(), &at)?;
                self.begin(at, anchor, mark, Value::List(vec![]))
            }
            EventData::MappingStart { anchor, tag, .. } => {
                let mark = mark_of(tag.as_deref(), &at)?;
                self.begin(at, anchor, mark, Value::Map(vec![]))
            }
            EventData::SequenceEnd | EventData::MappingEnd => self.end(),
            EventData::Alias { anchor } => {
                let known = self.anchors.get(&anchor).cloned();
                let (node, size) =
                    known.ok_or_else(|| refused(&at, "this alias names nothing that ended before it"))?;
                self.count(size, &at)?;
                self.place_child(node)
            }
            _ => Ok(()),
        }
    }

    fn begin(
        &mut self,
        at: Place,
        anchor: Option<String>,
        mark: Mark,
        value: Value,
    ) -> Result<(), ComposeError> {
        if self.open.len() >= DEEPEST {
            return Err(refused(&at, "it is nested too deeply"));
        }
        // A name that is given again means nothing until what it names has ended.
        if let Some(anchor) = &anchor {
            self.anchors.remove(anchor);
        }
        let before = self.count;
        self.open.push(Open { at, anchor, mark, value, key: None, merged: vec![], before });
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
        self.finished(Node { at: open.at, value: open.value, mark: open.mark }, open.anchor, size)
    }

    fn finished(&mut self, node: Node, anchor: Option<String>, size: usize) -> Result<(), ComposeError> {
        self.count(1, &node.at)?;
        let node = Rc::new(node);
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        self.place_child(node)
    }

    fn place_child(&mut self, node: Rc<Node>) -> Result<(), ComposeError> {
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
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

/// What a tag of Compose itself says. Those of YAML have had their say already, others have none.
fn mark_of(tag: Option<&str>, at: &Place) -> Result<Mark, ComposeError> {
    match tag {
        Some("!reset") => Ok(Mark::Reset),
        Some("!override") => Ok(Mark::Override),
        Some("!!binary" | "tag:yaml.org,2002:binary") => {
            Err(refused(at, "`!!binary` is not read; write the text itself"))
        }
        _ => Ok(Mark::None),
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
        parse("c.yaml", text).unwrap().swap_remove(0)
    }

    fn error(text: &str) -> String {
        parse("c.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn what_the_parser_panics_at_is_a_mistake_like_others() {
        assert!(error("a: {b: !c, d: e}").contains("it is not YAML"));
    }

    #[test]
    fn a_backslash_at_the_very_end_is_a_mistake_and_no_crash() {
        for text in ["services: \"a\\", "\\", "a: 'b\\", "\"\\"] {
            assert!(parse("c.yaml", text).is_err() || text == "\\", "{text:?}");
        }
    }

    #[test]
    fn a_block_that_ends_with_the_file_has_no_line_feed_of_its_own() {
        for (text, expected) in [
            ("a: |\n  x", "x"),
            ("a: |\n  x\n", "x\n"),
            ("a: |+\n  x", "x"),
            ("a: |-\n  x", "x"),
            ("a: >\n  x\n  y", "x y"),
            ("a: |\n  x\n  ", "x\n"),
            ("a: x", "x"),
        ] {
            let root = parsed(text);
            let Value::Text(found) = &root.get("a").unwrap().value else { panic!("{text:?}") };
            assert_eq!(found.text, expected, "{text:?}");
        }
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
        assert!(error(&"[".repeat(100_000)).contains("nested too deeply"));
        assert!(error(&" ".repeat(2 << 20)).contains("1 MiB"));
    }

    #[test]
    fn mistakes_have_a_place() {
        assert!(error("a: 1\na: 2").starts_with("c.yaml:2:1: `a` is there twice"));
        assert!(error("a: [1").starts_with("c.yaml:"));
        assert!(error("a: &x [*x]").starts_with("c.yaml:1:"));
        assert!(error("a:\n\t- b").starts_with("c.yaml:2:1: it is not YAML: found character"));
        assert!(error("? [a]\n: b").contains("single value"));
    }

    #[test]
    fn documents_and_tags_are_kept() {
        assert_eq!(parse("c.yaml", "a: 1\n---\nb: 2\n...\n").unwrap().len(), 2);
        let root = parsed("a: !reset null\nb: !override [1]\nc: !!str 010\nd: !mine x");
        let mark = |key| root.get(key).unwrap().mark;
        assert_eq!(["a", "b", "c", "d"].map(mark), [Mark::Reset, Mark::Override, Mark::None, Mark::None]);
        assert_eq!(root.get("c").unwrap().text(), Some("010"));
    }

    #[test]
    fn a_flow_list_may_end_in_the_column_of_its_key() {
        let root = parsed("a:\n  b: [\n    \"run\"\n  ]\n  c: {\n  d: 1\n}\n");
        assert_eq!(root.get("a").unwrap().get("b").unwrap().items().len(), 1);
        assert!(parse("c.yaml", "\u{feff}a: 1\r\nb: 2\r\n").is_ok());
    }

    #[test]
    fn only_plain_nothing_is_nothing() {
        let root = parsed("a:\nb: ~\nc: \"\"\nd: 'null'");
        let nothing = |key| matches!(root.get(key).unwrap().value, Value::Null);
        assert_eq!(["a", "b", "c", "d"].map(nothing), [true, true, false, false]);
    }
}
