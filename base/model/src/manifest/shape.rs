//! The vocabulary in which `keys` describes the file: what a key is called and what it may hold.
//!
//! The parser, the JSON Schema and the tables of `docs/manifest.md` are all made from these values,
//! so that a key exists in all of them or in none.

use crate::{Bytes, Millicores, Millis};

/// How many elements a list may have. Such bounds keep the work for a hostile file near its size.
pub(super) const MOST: usize = 1000;

/// One key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
    pub(super) default: Option<Literal>,
    /// What Freehold cannot do yet, where the key asks for it. An empty list asks for nothing.
    pub(super) not_yet: Option<&'static str>,
    /// For the schema and the reference: one sentence, or two.
    pub(super) doc: &'static str,
    pub(super) example: &'static str,
}

/// A default value.
#[derive(Clone, Copy)]
pub(super) enum Literal {
    Number(i64),
    Words(&'static str),
}

/// What a key may hold.
pub(super) enum Shape {
    /// A [`Name`](crate::Name).
    Name,
    /// A reference to an OCI image.
    Image,
    /// Any text without NUL.
    Text,
    /// An environment variable's name.
    Variable,
    /// An [`Egress`](super::Egress).
    Egress,
    /// A [`Network`](crate::Network).
    Network,
    /// A [`SecretName`](crate::SecretName).
    Secret,
    /// A [`LabelKey`](crate::LabelKey).
    Label,
    /// A label's value.
    LabelValue,
    /// An absolute address of the app's own.
    Redirect,
    /// An absolute path in the instance.
    Path,
    /// The path of an HTTP request.
    UrlPath,
    /// `true`: what is not wanted is left out.
    True,
    Integer(i64, i64),
    Bytes(Bytes, Bytes),
    Millicores(Millicores, Millicores),
    Millis(Millis, Millis),
    /// The same, or `never`.
    MillisOrNever(Millis, Millis),
    Choice {
        can: &'static [&'static str],
        not_yet: &'static [&'static str],
    },
    /// One of them, or a list of at least one; a list either way once it is read.
    OneOf(&'static Shape),
    /// At least so many of the same, and at most [`MOST`].
    List(usize, &'static Shape),
    /// At most so many entries named by the user: what the name may be, what each entry is.
    Map(usize, &'static Shape, &'static Shape),
    Table(&'static [Key]),
    /// A table whose required keys are given elsewhere.
    Part(&'static [Key]),
    /// A text, or a table that says more.
    Either(&'static Shape, &'static Shape),
    /// Not looked at: the key is not there yet as a whole.
    Any,
}

impl Shape {
    /// What is expected, for "expected …, found …".
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Shape::Integer(..) => "a whole number",
            Shape::True => "`true`",
            Shape::List(..) => "a list",
            Shape::Map(..) | Shape::Table(_) | Shape::Part(_) => "a table",
            Shape::OneOf(_) => "text or a list",
            Shape::Either(..) => "text or a table",
            Shape::Any => "anything",
            Shape::Bytes(..) => "a size in quotes",
            Shape::Millicores(..) => "an amount of processor in quotes",
            Shape::Millis(..) | Shape::MillisOrNever(..) => "a length of time in quotes",
            _ => "text",
        }
    }
}

impl Key {
    pub(super) const fn required(mut self) -> Key {
        self.required = true;
        self
    }

    pub(super) const fn or(mut self, default: Literal) -> Key {
        self.default = Some(default);
        self
    }

    pub(super) const fn not_yet(mut self, what: &'static str) -> Key {
        self.not_yet = Some(what);
        self
    }
}

/// A key: its name, what it may hold, an example as TOML, and what it is for.
pub(super) const fn key(name: &'static str, shape: Shape, example: &'static str, doc: &'static str) -> Key {
    Key { name, shape, required: false, default: None, not_yet: None, doc, example }
}
