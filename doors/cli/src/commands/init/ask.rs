//! Asks what flags left open: on a terminal, and nowhere else.

use crate::failure::{Failure, Outcome};
use std::io::{self, BufRead, IsTerminal, Write};

/// How many times an answer that makes no sense is asked for again.
const TRIES: usize = 5;

/// Whom to ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    /// Take what would be suggested.
    yes: bool,
    terminal: bool,
}

/// One question.
pub(super) struct Question<'a> {
    /// What is asked for, as in "the app's name".
    pub(super) what: &'a str,
    /// What is suggested.
    pub(super) default: Option<String>,
    /// The flag that answers it.
    pub(super) flag: &'a str,
}

impl Asker {
    pub(super) fn new(yes: bool) -> Asker {
        Asker { yes, terminal: io::stdin().is_terminal() }
    }

    /// Whether questions reach somebody.
    pub(super) fn asks(self) -> bool {
        self.terminal && !self.yes
    }

    /// The answer that `read` can make sense of.
    pub(super) fn ask<T>(
        self,
        question: &Question<'_>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Outcome<T> {
        let wrong = |reason: String| Failure::usage(reason, format!("Give {}.", question.flag));
        if self.yes
            && let Some(default) = &question.default
        {
            return read(default).map_err(wrong);
        }
        if self.yes || !self.terminal {
            return Err(self.cannot(question));
        }
        for _ in 0..TRIES {
            match read(&line(question)?) {
                Ok(answer) => return Ok(answer),
                Err(reason) => eprintln!("  {reason}"),
            }
        }
        Err(wrong(format!("no answer for {}", question.what)))
    }

    fn cannot(self, question: &Question<'_>) -> Failure {
        let why = if self.yes { "nothing here tells it" } else { "standard input is no terminal" };
        let hint = match &question.default {
            Some(default) => format!("Give {}, or --yes to take `{default}`.", question.flag),
            None => format!("Give {}.", question.flag),
        };
        Failure::usage(format!("cannot ask for {}: {why}", question.what), hint)
    }
}

/// One line from the terminal; what was suggested where it is empty.
fn line(question: &Question<'_>) -> Outcome<String> {
    let suggested = question.default.as_ref().map(|default| format!(" [{default}]")).unwrap_or_default();
    eprint!("{}{suggested}: ", question.what);
    let _ = io::stderr().flush();
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    match read.map_err(|error| Failure::local("read the answer", error))? {
        0 => Err(Failure::usage(
            format!("no answer for {}", question.what),
            format!("Give {}.", question.flag),
        )),
        _ if line.trim().is_empty() => Ok(question.default.clone().unwrap_or_default()),
        _ => Ok(line.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(yes: bool, default: Option<&str>) -> Outcome<String> {
        let question =
            Question { what: "the app's name", default: default.map(str::to_owned), flag: "--app NAME" };
        Asker { yes, terminal: false }.ask(&question, |text| Ok(text.to_owned()))
    }

    #[test]
    fn without_a_terminal_the_flag_is_named() {
        let failure = format!("{:?}", asked(false, Some("shop")).unwrap_err());
        assert!(failure.contains("--app NAME") && failure.contains("--yes to take `shop`"), "{failure}");
        let failure = format!("{:?}", asked(true, None).unwrap_err());
        assert!(failure.contains("--app NAME") && !failure.contains("--yes"), "{failure}");
        assert_eq!(asked(true, Some("shop")).unwrap(), "shop");
    }
}
