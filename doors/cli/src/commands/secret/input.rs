//! Where values come from: standard input, a prompt that shows nothing, or chance. Never an argument.

use crate::{
    commands::terminal::Raw,
    failure::{Failure, Outcome},
    interrupt,
};
use freehold_model::{SecretName, secrets::MAX_VALUE};
use freehold_secrets::Plaintext;
use std::{
    convert::Infallible,
    fmt,
    io::{self, IsTerminal, Read, Write},
    str::FromStr,
};
use zeroize::Zeroizing;

/// An argument that may be a value typed in the wrong place: shown by nothing.
#[derive(Clone)]
pub(crate) struct Word(String);

impl FromStr for Word {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Word(text.to_owned()))
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Word(…)")
    }
}

impl Word {
    /// The name that it is.
    pub(super) fn name(&self) -> Outcome<SecretName> {
        if self.0.contains('=') {
            return Err(refused());
        }
        let hint = "A secret is called like a variable: ADMIN_PASSWORD.";
        self.0.parse().map_err(|error| Failure::usage(format!("the first argument is {error}"), hint))
    }
}

/// What is said to somebody who typed a value: what to do, and what to do about it.
fn refused() -> Failure {
    Failure::usage(
        "a value is not taken from the command line, where the shell's history and other users see it",
        "Type it when you are asked, or pipe it in: `freehold secret set NAME < file`. If what you typed is a \
         real secret, remove it from the shell's history, or change it.",
    )
}

/// Refuses what may be a value.
pub(super) fn none_typed(more: &[Word]) -> Outcome {
    if more.is_empty() { Ok(()) } else { Err(refused()) }
}

/// How standard input is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Without the line feed at its end, which `echo` adds and nobody means.
    Line,
    /// As it is, to the last byte.
    Exact,
}

/// The value of `name`: typed by somebody who is asked, or read to the end of standard input.
pub(super) fn value(name: &SecretName, end: End) -> Outcome<Plaintext> {
    let bytes = if io::stdin().is_terminal() { ask(name)? } else { read(end)? };
    match bytes.len() {
        0 => Err(Failure::usage("the value is empty", "Pipe it in: `freehold secret set NAME < file`.")),
        large if large > MAX_VALUE => Err(Failure::usage(
            format!("the value has more than {} KiB", MAX_VALUE >> 10),
            "Keep large files in an image or a volume, encrypted under a key that is a secret.",
        )),
        _ => Ok(Plaintext::new(bytes.to_vec())),
    }
}

fn read(end: End) -> Outcome<Zeroizing<Vec<u8>>> {
    // All that is allowed and a little more, so that no growing leaves a copy behind.
    let limit = MAX_VALUE + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 32));
    let read = io::stdin().lock().take(limit as u64).read_to_end(&mut bytes);
    read.map_err(|error| Failure::local("read standard input", error))?;
    if end == End::Line {
        let keep = bytes.strip_suffix(b"\n").map_or(bytes.len(), <[u8]>::len);
        bytes.truncate(keep);
        let keep = bytes.strip_suffix(b"\r").map_or(bytes.len(), <[u8]>::len);
        bytes.truncate(keep);
    }
    Ok(bytes)
}

fn ask(name: &SecretName) -> Outcome<Zeroizing<Vec<u8>>> {
    if !io::stderr().is_terminal() {
        let hint = "Pipe it in: `freehold secret set NAME < file`.";
        return Err(Failure::usage("there is no terminal to ask for the value on", hint));
    }
    eprint!("Value of {name} (not shown): ");
    let _ = io::stderr().flush();
    let typed = {
        let _raw = Raw::enter().map_err(|error| Failure::local("hide what is typed", error))?;
        line(io::stdin().lock())
    };
    eprintln!();
    typed.map_err(|error| Failure::local("read what is typed", error))?.ok_or(Failure::Said(interrupt::EXIT))
}

/// One line typed at a raw terminal; `None` when it was interrupted.
fn line(mut keys: impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut typed = Zeroizing::new(Vec::with_capacity(MAX_VALUE + 8));
    let mut key = [0];
    while keys.read(&mut key)? == 1 && typed.len() <= MAX_VALUE {
        match key[0] {
            b'\r' | b'\n' | 4 => break,
            3 => return Ok(None),
            // Backspace takes a whole character away.
            8 | 127 => while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // Control U: all of it.
            21 => typed.clear(),
            byte => typed.push(byte),
        }
    }
    Ok(Some(typed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_typed_mended_and_interrupted() {
        let typed =
            |keys: &str| line(keys.as_bytes()).unwrap().map(|it| String::from_utf8(it.to_vec()).unwrap());
        assert_eq!(typed("abc\rd").as_deref(), Some("abc"));
        assert_eq!(typed("abé\u{7f}\u{7f}c\n").as_deref(), Some("ac"));
        assert_eq!(typed("ab\u{15}c\r").as_deref(), Some("c"));
        assert_eq!(typed("ab\u{3}c\r"), None);
    }

    #[test]
    fn what_looks_like_a_value_is_refused_and_not_repeated() {
        let Err(Failure::Problem(problem)) = Word("KEY=hunter2".into()).name() else { panic!("taken") };
        assert!(!problem.to_string().contains("hunter2") && problem.code.exit_code() == 2, "{problem}");
        let Err(Failure::Problem(problem)) = none_typed(&[Word("hunter2".into())]) else { panic!("taken") };
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
        assert!(!format!("{:?}", Word("hunter2".into())).contains("hunter2"));
    }
}
