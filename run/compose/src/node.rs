//! A YAML document as a tree in which every value knows its place.

use serde::Serialize;
use std::{fmt, rc::Rc};

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The file, as it was named.
    #[serde(serialize_with = "as_text")]
    pub file: Rc<str>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

fn as_text<S: serde::Serializer>(file: &Rc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(file)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: Place,
    pub(crate) value: Value,
    pub(crate) mark: Mark,
}

/// What a tag of Compose says of a value that is laid over another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mark {
    #[default]
    None,
    /// `!reset`: neither counts.
    Reset,
    /// `!override`: this one alone counts.
    Override,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Text(Text),
    List(Vec<Rc<Node>>),
    Map(Vec<(Key, Rc<Node>)>),
}

/// A scalar. YAML's types are decided by who reads it: `yes` is a text in one place and true in another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// Whether a variable that holds a secret, by its name, went into it.
    pub(crate) secret: bool,
    /// Variables that it takes and nobody set.
    pub(crate) unset: Vec<String>,
    /// Where the value stands, if that is not here.
    pub(crate) from: Option<Place>,
}

/// A key of a map, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) at: Place,
    pub(crate) name: String,
}

impl Node {
    pub(crate) fn new(at: Place, value: Value) -> Node {
        Node { at, value, mark: Mark::None }
    }

    /// The same place and tag with another value.
    pub(crate) fn with(&self, value: Value) -> Rc<Node> {
        Rc::new(Node { at: self.at.clone(), value, mark: self.mark })
    }

    /// The same text, changed.
    pub(crate) fn with_text(&self, text: String) -> Rc<Node> {
        let old = self.scalar().cloned().unwrap_or_default();
        self.with(Value::Text(Text { text, ..old }))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Rc<Node>> {
        self.entries().iter().find(|(name, _)| name.name == key).map(|(_, node)| node)
    }

    /// The entries of a map; none of anything else.
    pub(crate) fn entries(&self) -> &[(Key, Rc<Node>)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The elements of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Rc<Node>] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        self.scalar().map(|text| text.text.as_str())
    }

    pub(crate) fn scalar(&self) -> Option<&Text> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it asks for nothing: what Compose does anyway.
    pub(crate) fn is_idle(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Text(text) => matches!(text.text.as_str(), "" | "false" | "False" | "FALSE"),
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        self.text().is_some_and(|text| matches!(text, "true" | "True" | "TRUE" | "yes" | "on"))
    }

    /// Whether a secret is in it, at any depth.
    pub(crate) fn holds_secret(&self) -> bool {
        match &self.value {
            Value::Null => false,
            Value::Text(text) => text.secret,
            Value::List(items) => items.iter().any(|item| item.holds_secret()),
            Value::Map(entries) => entries.iter().any(|(_, node)| node.holds_secret()),
        }
    }

    /// What kind of value it is, for messages.
    pub(crate) fn noun(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Text(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a table",
        }
    }
}
