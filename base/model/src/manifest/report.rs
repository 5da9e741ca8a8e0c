//! Collects diagnostics while a manifest is read: byte spans in, lines and columns out.
//!
//! Invariant: the cost of a report does not grow with the number of reports before it, so that a
//! hostile file of a million errors is refused as fast as one with three.

use super::diagnostics::{Diagnostic, Diagnostics};
use std::{collections::BTreeMap, ops::Range};

/// How many diagnostics are kept; the rest are counted.
const KEPT: usize = 200;
/// How many characters of the offending text are kept.
const CLIP: usize = 80;

/// A place in the text, in bytes.
pub(super) type Span = Range<usize>;

/// The errors found so far in one text.
pub(super) struct Report<'a> {
    text: &'a str,
    lines: Vec<usize>,
    /// Keyed by place and message: the same mistake seen through two envs is one mistake.
    found: BTreeMap<(usize, String), Diagnostic>,
    more: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(text: &'a str) -> Report<'a> {
        let breaks = text.bytes().enumerate().filter(|(_, c)| *c == b'\n').map(|(at, _)| at + 1);
        Report { text, lines: std::iter::once(0).chain(breaks).collect(), found: BTreeMap::new(), more: 0 }
    }

    /// Notes that the text at `span` is wrong.
    pub(super) fn error(&mut self, span: &Span, message: impl Into<String>, help: impl Into<Help>) {
        self.add(span, message.into(), help.into(), false);
    }

    /// Notes that the text at `span` asks for what Freehold cannot do yet.
    pub(super) fn not_yet(&mut self, span: &Span, what: &str) {
        let help = "remove it for now: it is refused rather than ignored";
        self.add(span, format!("not yet: Freehold cannot do {what} yet"), help.into(), true);
    }

    /// Whether anything was noted.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether further reports are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= KEPT
    }

    /// Counts a report that is not worth making.
    pub(super) fn one_more(&mut self) {
        self.more += 1;
    }

    /// Everything noted, in the order of the text.
    pub(super) fn finish(self, file: &str) -> Diagnostics {
        Diagnostics {
            file: file.to_owned(),
            source: Some(self.text.to_owned()),
            list: self.found.into_values().collect(),
            more: self.more,
        }
    }

    fn add(&mut self, span: &Span, message: String, help: Help, not_yet: bool) {
        let message = plain(&message);
        let start = floor(self.text, span.start);
        if self.is_full() {
            self.more += usize::from(!self.found.contains_key(&(start, message)));
            return;
        }
        let line = self.lines.partition_point(|at| *at <= start);
        let begin = self.lines[line - 1];
        let offending = self.text[start..floor(self.text, span.end.max(start))].lines().next();
        let diagnostic = Diagnostic {
            line,
            column: self.text[begin..start].chars().count() + 1,
            text: clip(offending.unwrap_or_default()),
            message: message.clone(),
            help: help.0,
            not_yet,
        };
        self.found.entry((start, message)).or_insert(diagnostic);
    }
}

/// An optional way out.
pub(super) struct Help(Option<String>);

impl From<&str> for Help {
    fn from(text: &str) -> Help {
        Help(Some(text.to_owned()))
    }
}

impl From<String> for Help {
    fn from(text: String) -> Help {
        Help(Some(text))
    }
}

impl From<Option<String>> for Help {
    fn from(text: Option<String>) -> Help {
        Help(text)
    }
}

/// The first characters of a text that may be long.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(CLIP).collect()
}

/// A message without characters that could drive the reader's terminal; it may quote the file.
fn plain(message: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    message.chars().map(escaped).collect()
}

/// The last character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}
