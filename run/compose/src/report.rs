//! What is said beside the manifest: keys that were not carried, secrets to set, and remarks.

use crate::node::{Node, Place};
use serde::Serialize;

/// A key that asks for something and was not carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Its path: `services.web.privileged`.
    pub path: String,
    /// Where it stands.
    pub at: Place,
    /// Why.
    pub reason: String,
    /// What to do instead; may be empty.
    pub help: String,
}

/// A secret that the manifest names, and that must be given a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretToSet {
    /// Its name.
    pub name: String,
    /// The processes that have it.
    pub processes: Vec<String>,
    /// Where its value stands, or is asked for.
    pub at: Place,
    /// The file that holds the value, where it is a file of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The variable of the shell that holds the value, where Compose takes it from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// Whether the value has a line feed in it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub several_lines: bool,
    /// Another secret that must have the same value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<String>,
}

/// What was noticed so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) lost: Vec<Lost>,
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// Notes that the key at `path` is not carried.
    pub(crate) fn lose(
        &mut self,
        path: impl Into<String>,
        at: &Place,
        reason: impl Into<String>,
        help: impl Into<String>,
    ) {
        let lost = Lost {
            path: plain(&path.into()),
            at: at.clone(),
            reason: plain(&reason.into()),
            help: plain(&help.into()),
        };
        if !self.lost.contains(&lost) {
            self.lost.push(lost);
        }
    }

    /// Notes that a value is not of a kind that Compose takes there.
    pub(crate) fn wrong(&mut self, path: impl Into<String>, node: &Node, expected: &str) {
        let reason = format!("this is {}, where Compose takes {expected}", node.noun());
        self.lose(path, &node.at, reason, "");
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = plain(&text.into());
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }
}

/// A message that cannot drive the reader's terminal, of a length that can be read.
fn plain(text: &str) -> String {
    let mut plain: String = text.chars().take(400).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(400).is_some() {
        plain.push('…');
    }
    plain
}
