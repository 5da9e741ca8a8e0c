//! Standard output: either JSON and nothing else, or lines for people.

use super::{Paint, printable::printable};
use crate::failure::Outcome;
use serde::Serialize;
use std::io::{self, Write};

/// Standard output of one command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    /// Whether JSON was asked for.
    pub(crate) json: bool,
    /// The colours of standard output.
    pub(crate) paint: Paint,
}

impl Out {
    pub(crate) fn new(json: bool) -> Out {
        Out { json, paint: if json { Paint::plain() } else { Paint::stdout() } }
    }

    /// Writes `value` as JSON if that was asked for, and otherwise what `text` makes of it.
    pub(crate) fn show<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Outcome {
        if self.json {
            return self.raw(&format!("{}\n", pretty(value)));
        }
        self.text(&text(value))
    }

    /// Writes one value of a stream: a line of JSON, or what `text` makes of it.
    pub(crate) fn show_next<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Outcome {
        match self.json {
            true => self.raw(&format!("{}\n", compact(value))),
            false => self.text(&text(value)),
        }
    }

    /// Writes several values of a stream, at once.
    pub(crate) fn show_all<T: Serialize>(self, values: &[T], text: impl Fn(&T) -> String) -> Outcome {
        if self.json {
            return self.raw(&values.iter().map(|value| compact(value) + "\n").collect::<String>());
        }
        self.text(&values.iter().map(|value| text(value) + "\n").collect::<String>())
    }

    /// Writes text for people, with a line feed at its end; nothing where JSON was asked for.
    pub(crate) fn text(self, text: &str) -> Outcome {
        if self.json || text.is_empty() {
            return Ok(());
        }
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.raw(&format!("{}{end}", printable(text)))
    }

    fn raw(self, text: &str) -> Outcome {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("what is shown has texts for keys")
}

fn compact(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what is shown has texts for keys")
}
