//! What is wrong with a manifest, place by place, printed the way a compiler does.
//!
//! [`Manifest::parse`](super::Manifest::parse) answers with one [`Diagnostics`] that holds every
//! error of the file, in the order of the file. Lines and columns count from 1; columns are characters.

use crate::{Code, Problem};
use std::fmt;

/// How many diagnostics are printed; the rest are counted.
const PRINTED: usize = 50;
/// How many characters of a source line are printed.
const WIDTH: usize = 120;

/// Everything that is wrong with one manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    /// The name of the file, as the user gave it.
    pub file: String,
    /// The text that was parsed; `None` where it was too large to look at.
    pub source: Option<String>,
    /// What is wrong, in the order of the file; never empty.
    pub list: Vec<Diagnostic>,
    /// How many more were found than `list` keeps.
    pub more: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The line, from 1.
    pub line: usize,
    /// The character of the line, from 1.
    pub column: usize,
    /// The offending text; its first line, where it has several.
    pub text: String,
    /// What is wrong with it.
    pub message: String,
    /// The way out, or the nearest valid name.
    pub help: Option<String>,
    /// Whether the text is right and Freehold just cannot do it yet.
    pub not_yet: bool,
}

impl Diagnostics {
    /// The same as a problem: `not_yet` if nothing else is in the way, `invalid` otherwise.
    pub fn problem(&self) -> Problem {
        let not_yet = self.list.iter().all(|d| d.not_yet) && self.more == 0;
        let problem = if not_yet {
            Problem::new(Code::NotYet, format!("{} asks for what Freehold cannot do yet", self.file))
                .hint("Remove what is marked; nothing was changed.")
        } else {
            let count = self.list.len() + self.more;
            let errors = if count == 1 { "an error".into() } else { format!("{count} errors") };
            Problem::new(Code::Invalid, format!("{} has {errors}", self.file))
                .hint("Mend what is marked; nothing was changed.")
        };
        problem.detail(self.to_string().trim_end())
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.source.as_deref().unwrap_or_default().split('\n').enumerate().peekable();
        for one in self.list.iter().take(PRINTED) {
            writeln!(f, "{}:{}:{}: {}", self.file, one.line, one.column, one.message)?;
            while lines.next_if(|(at, _)| at + 1 < one.line).is_some() {}
            if let Some((_, line)) = lines.peek() {
                one.quote(f, line)?;
            }
            if let Some(help) = &one.help {
                writeln!(f, "  = help: {help}")?;
            }
            writeln!(f)?;
        }
        match self.list.len().saturating_sub(PRINTED) + self.more {
            0 => Ok(()),
            more => writeln!(f, "and {more} more"),
        }
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostic {
    /// Prints the source line with a run of carets under the offending text.
    fn quote(&self, f: &mut fmt::Formatter<'_>, line: &str) -> fmt::Result {
        let number = self.line.to_string();
        // A long line is shown from shortly before the place that matters.
        let skip = if self.column > WIDTH / 2 { self.column - WIDTH / 4 } else { 0 };
        let shown: String =
            line.trim_end_matches('\r').chars().skip(skip).take(WIDTH).map(printable).collect();
        let before = self.column - 1 - skip;
        let carets = self.text.chars().count().clamp(1, (WIDTH - before).max(1));
        let gutter = " ".repeat(number.len());
        writeln!(f, "{gutter} |\n{number} | {shown}\n{gutter} | {:before$}{:^<carets$}", "", "")
    }
}

/// Control characters would move the carets, or drive the terminal.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}
