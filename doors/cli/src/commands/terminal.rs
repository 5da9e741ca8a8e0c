//! The terminal of the person who runs a command: raw while `exec` runs or a secret is typed, as before
//! afterwards; and what must be confirmed on it.

use crate::failure::{Failure, Outcome};
use freehold_model::exec::TtySize;
use rustix::termios::{self, OptionalActions, Termios};
use std::io::{self, IsTerminal, Read as _};

/// Keeps the terminal raw as long as it lives: every key goes to the command, Ctrl-C too.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Makes the terminal on standard input raw.
    pub(crate) fn enter() -> io::Result<Raw> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Raw { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing can be done where even this fails: the terminal is gone.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// One line typed at the terminal while it shows nothing; `None` when it was interrupted.
pub(crate) fn hidden_line(longest: usize) -> io::Result<Option<String>> {
    let _raw = Raw::enter()?;
    let (mut typed, mut key) = (vec![], [0]);
    let mut keys = io::stdin().lock();
    while keys.read(&mut key)? == 1 && typed.len() <= longest {
        match key[0] {
            b'\r' | b'\n' | 4 => break,
            3 => return Ok(None),
            // Backspace takes a whole character away.
            8 | 127 => while typed.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {},
            // Control U: all of it.
            21 => typed.clear(),
            byte => typed.push(byte),
        }
    }
    String::from_utf8(typed).map(Some).map_err(|_| io::Error::other("it is no text"))
}

/// The size of the terminal on standard output; 24 lines of 80 where it does not say.
pub(crate) fn size() -> TtySize {
    let known = termios::tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    known.map_or(TtySize { rows: 24, cols: 80 }, |size| TtySize { rows: size.ws_row, cols: size.ws_col })
}

/// Asks for `name`, because `doing` cannot be undone; whoever can type it knows what goes.
pub(crate) fn confirmed(doing: &str, name: &str) -> Outcome {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(
            format!("{doing} must be confirmed, and there is no terminal to ask on"),
            "Repeat it with -y if you are sure.",
        ));
    }
    eprint!("This means {doing}.\nType the name {name} to go on: ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if answer.trim() == name {
        return Ok(());
    }
    Err(Failure::usage("that is not its name: nothing was removed", "Repeat it, or use -y."))
}
