//! The terminal of the person who runs `exec`: raw while the command runs, as before afterwards.

use freehold_model::exec::TtySize;
use rustix::termios::{self, OptionalActions, Termios};
use std::io;

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

/// The size of the terminal on standard output; 24 lines of 80 where it does not say.
pub(crate) fn size() -> TtySize {
    let known = termios::tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    known.map_or(TtySize { rows: 24, cols: 80 }, |size| TtySize { rows: size.ws_row, cols: size.ws_col })
}
