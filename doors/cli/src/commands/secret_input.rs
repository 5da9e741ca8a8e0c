//! What is typed where nobody sees it, or piped in: a line for each question.

use super::terminal::hidden_line;
use crate::{
    failure::{Failure, Outcome},
    interrupt,
};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// The longest line that is taken.
const LONGEST: usize = 4096;

/// Answers to questions, in their order.
#[derive(Debug, Default)]
pub(super) struct Answers;

impl Answers {
    /// Whether somebody is asked, rather than a file read.
    pub(super) fn are_typed(&self) -> bool {
        io::stdin().is_terminal()
    }

    /// The answer to one question.
    pub(super) fn ask(&mut self, question: &str) -> Outcome<String> {
        let answer = if self.are_typed() {
            eprint!("{question} (not shown): ");
            let _ = io::stderr().flush();
            let typed = hidden_line(LONGEST);
            eprintln!();
            let typed = typed.map_err(|error| Failure::local("read what is typed", error))?;
            typed.ok_or(Failure::Said(interrupt::EXIT))?
        } else {
            let mut line = String::new();
            let read = io::stdin().lock().read_line(&mut line);
            read.map_err(|error| Failure::local("read standard input", error))?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        };
        match answer.len() {
            0 => Err(Failure::usage(
                format!("{}: nothing was given", question.to_lowercase()),
                "Type it, or pipe it in.",
            )),
            long if long > LONGEST => Err(Failure::usage("that is too long", "Type it, or pipe it in.")),
            _ => Ok(answer),
        }
    }
}
