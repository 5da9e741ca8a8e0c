//! Files of variables, `.env` and `env_file`, as docker compose reads them (compose-go, `dotenv`).
//!
//! Values in quotes may go over several lines. A file that cannot be read whole is not read at all: the rest
//! of a value that was not understood may be a part of a secret, and must not become a name.

use crate::interpolate::interpolate;
use std::ops::ControlFlow;

/// One variable of a file.
#[derive(Debug, PartialEq)]
pub(crate) struct Variable {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) value: String,
    /// Variables that went into its value.
    pub(crate) used: Vec<String>,
    /// Variables that it takes and nobody set.
    pub(crate) unset: Vec<String>,
}

/// Why a file is not one of variables. No part of its text is in it.
#[derive(Debug, PartialEq)]
pub(crate) struct Wrong {
    pub(crate) line: usize,
    pub(crate) reason: &'static str,
}

const NO_NAME: &str = "this is no `NAME=value`: a name has letters, digits, `_`, `.` and `-`";
const OPEN: &str = "the quote that begins here has no end";
const BAD_VARIABLE: &str =
    "its `${…}` is written in no way that Compose knows; put the value in single quotes";

/// The variables of `text`, in order. `outer` is what is set outside of the file, and wins over it.
pub(crate) fn parse(text: &str, outer: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Variable>, Wrong> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut reader = Reader { rest: &text, line: 1, outer, variables: vec![] };
    while let ControlFlow::Continue(()) = reader.statement()? {}
    Ok(reader.variables)
}

/// `format: raw`: everything after the `=` is the value, quotes and dollars too.
pub(crate) fn parse_raw(text: &str, outer: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Variable>, Wrong> {
    let mut variables = vec![];
    for (at, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line, outer(line)),
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(Wrong { line: at + 1, reason: NO_NAME });
        }
        let plain =
            |value| Variable { line: at + 1, name: name.to_owned(), value, used: vec![], unset: vec![] };
        variables.extend(value.map(plain));
    }
    Ok(variables)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    outer: &'a dyn Fn(&str) -> Option<String>,
    variables: Vec<Variable>,
}

fn is_blank(c: char) -> bool {
    c != '\n' && c.is_whitespace()
}

impl<'a> Reader<'a> {
    fn wrong<T>(&self, reason: &'static str) -> Result<T, Wrong> {
        Err(Wrong { line: self.line, reason })
    }

    /// Reads past `end` bytes.
    fn skip(&mut self, end: usize) -> &'a str {
        let (before, rest) = self.rest.split_at(end);
        self.line += before.matches('\n').count();
        self.rest = rest;
        before
    }

    fn skip_while(&mut self, is: impl Fn(char) -> bool) {
        let end = self.rest.find(|c| !is(c)).unwrap_or(self.rest.len());
        self.skip(end);
    }

    /// One variable, with the empty lines and comments before it.
    fn statement(&mut self) -> Result<ControlFlow<()>, Wrong> {
        loop {
            self.skip_while(char::is_whitespace);
            if !self.rest.starts_with('#') {
                break;
            }
            self.skip_while(|c| c != '\n');
        }
        if self.rest.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        self.export();
        let line = self.line;
        let end = self.rest.find(['=', ':', '\n']).unwrap_or(self.rest.len());
        let name = self.rest[..end].trim_end();
        let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
        if name.is_empty() || !name.chars().all(good) {
            return self.wrong(NO_NAME);
        }
        let given = self.rest[end..].starts_with(['=', ':']);
        self.skip(end);
        if !given {
            // A name alone is taken from outside.
            if let Some(value) = (self.outer)(name) {
                self.put(line, name, value, vec![], vec![]);
            }
            return Ok(ControlFlow::Continue(()));
        }
        self.skip(1);
        self.skip_while(is_blank);
        self.value(line, name)?;
        Ok(ControlFlow::Continue(()))
    }

    fn export(&mut self) {
        let after = self.rest.strip_prefix("export").filter(|rest| rest.starts_with(char::is_whitespace));
        if after.is_some_and(|after| !after.trim_start_matches(is_blank).starts_with(['=', ':'])) {
            self.skip("export".len());
            self.skip_while(char::is_whitespace);
        }
    }

    fn put(&mut self, line: usize, name: &str, value: String, used: Vec<String>, unset: Vec<String>) {
        self.variables.push(Variable { line, name: name.to_owned(), value, used, unset });
    }

    fn value(&mut self, line: usize, name: &str) -> Result<(), Wrong> {
        match self.rest.chars().next() {
            Some('\'') => {
                let value = self.quoted('\'')?.replace("\\'", "'");
                self.put(line, name, value, vec![], vec![]);
                Ok(())
            }
            Some('"') => {
                let value = unescaped(self.quoted('"')?);
                self.expanded(line, name, &value)
            }
            _ => {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                let value = self.skip(end);
                let value = value.split_once(" #").map_or(value, |(value, _)| value).trim_end();
                self.expanded(line, name, value)
            }
        }
    }

    /// Up to the quote that closes, escapes left as they are.
    fn quoted(&mut self, quote: char) -> Result<&'a str, Wrong> {
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                c if c == quote && !escaped => {
                    let whole = self.skip(at + 1);
                    return Ok(&whole[1..at]);
                }
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        self.wrong(OPEN)
    }

    fn expanded(&mut self, line: usize, name: &str, value: &str) -> Result<(), Wrong> {
        let known = |name: &str| {
            let own =
                || self.variables.iter().rev().find(|one| one.name == name).map(|one| one.value.clone());
            (self.outer)(name).or_else(own)
        };
        let Ok(replaced) = interpolate(value, &known) else {
            return Err(Wrong { line, reason: BAD_VARIABLE });
        };
        self.put(line, name, replaced.text, replaced.used, replaced.unset);
        Ok(())
    }
}

/// The escapes of a value in double quotes: `\n` and its kin, `\0101` in octal, `\$` for a dollar that begins
/// no variable. Others stay as they are.
fn unescaped(text: &str) -> String {
    let mut value = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        value.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else {
            value.push('\\');
            break;
        };
        rest = &rest[c.len_utf8()..];
        match c {
            'a' => value.push('\u{7}'),
            'b' => value.push('\u{8}'),
            'f' => value.push('\u{c}'),
            'n' => value.push('\n'),
            'r' => value.push('\r'),
            't' => value.push('\t'),
            'v' => value.push('\u{b}'),
            '"' | '\\' => value.push(c),
            '$' => value.push_str("$$"),
            '0' => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()).min(3);
                let (digits, after) = rest.split_at(end);
                rest = after;
                match u8::from_str_radix(digits, 8) {
                    Ok(byte) if digits.len() == 3 => value.push(char::from(byte)),
                    _ => value.extend(["\\", digits]),
                }
            }
            other => value.extend(['\\', other]),
        }
    }
    value.push_str(rest);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outer(name: &str) -> Option<String> {
        match name {
            "SET" => Some("set".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    /// As docker compose 2.26 reads the same bytes.
    #[test]
    fn values_are_quoted_or_not() {
        for (text, expected) in [
            ("# c\n\nA=1\n", "1"),
            ("export A = two words # c", "two words"),
            ("  export   A=1", "1"),
            ("A: yaml style", "yaml style"),
            ("A='$SET'", "$SET"),
            ("A=\"a\\n$SET\\t\\\"q\\\" \\\\ \\$SET \\x\"", "a\nset\t\"q\" \\ $SET \\x"),
            ("A=${SET}x", "setx"),
            ("A=", ""),
            ("A=a#b", "a#b"),
            ("A=a #b", "a"),
            ("A=x\t# c", "x\t# c"),
            ("A= # c", "# c"),
            ("A=\"multi\nline $SET\"", "multi\nline set"),
            ("A='multi\n# no comment'", "multi\n# no comment"),
            ("A=a'b'c", "a'b'c"),
            ("A=\"x\" # c", "x"),
            ("A=\"x\"#c", "x"),
            ("A=${NONE:-d}", "d"),
            ("A=$$SET", "$SET"),
            ("A=a\\nb", "a\\nb"),
            ("A=https://user:p@h/x?a=b#frag", "https://user:p@h/x?a=b#frag"),
            ("A=\"unclosed' ok\"", "unclosed' ok"),
            ("A='\\n'", "\\n"),
            ("A='a\\'b'", "a'b"),
            ("A='it\\\\'", "it\\\\"),
            ("A=$(cmd)", "$(cmd)"),
            ("A=\\$SET", "\\set"),
            ("A=\"$$SET\"", "$SET"),
            ("A=\"  sp  \"", "  sp  "),
            ("A=x   ", "x"),
            ("A=\"\\u0041\\101\\0101\"", "\\u0041\\101A"),
            ("A=\"\\v\\a\\f\\e\\0\\07\"", "\u{b}\u{7}\u{c}\\e\\\\7"),
            ("A=1\r\n", "1"),
            ("\u{feff}A=1", "1"),
            ("B=1\nA=$B", "1"),
            ("SET=own\nA=$SET", "set"),
        ] {
            let variables = parse(text, &outer).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
            let value = variables.iter().rev().find(|one| one.name == "A").map(|one| one.value.as_str());
            assert_eq!(value, Some(expected), "{text}");
        }
        let lines: Vec<_> = parse("A='1\n2'\n\nB=1", &outer).unwrap().iter().map(|one| one.line).collect();
        assert_eq!(lines, [1, 4]);
    }

    #[test]
    fn a_name_alone_is_taken_from_outside() {
        let names = |text: &str| {
            let all = parse(text, &outer).unwrap();
            all.into_iter().map(|one| format!("{}={}", one.name, one.value)).collect::<Vec<_>>()
        };
        assert_eq!(names("SET\nNONE\nexport EMPTY"), ["SET=set", "EMPTY="]);
        assert_eq!(names("A='x'y\nB=2"), ["A=x", "B=2"]);
    }

    #[test]
    fn a_file_that_is_not_understood_is_not_read() {
        for (text, line) in [
            ("no sign", 1),
            ("B=1\nA=\"open\n=x\n", 2),
            ("=x", 1),
            ("A?B=1", 1),
            ("A=1\n- B=1", 2),
            ("A=${", 1),
            ("A='it''s'", 1),
            ("A=-----BEGIN KEY-----\nc2VjcmV0+/=\n", 2),
        ] {
            assert_eq!(parse(text, &outer).unwrap_err().line, line, "{text}");
        }
    }

    #[test]
    fn raw_values_are_kept_to_the_byte() {
        let all = parse_raw("# c\n  A=x$NOPE\"y\" # z \nB='q'\nSET\nNONE\n", &outer).unwrap();
        let all: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.value.as_str())).collect();
        assert_eq!(all, [("A", "x$NOPE\"y\" # z "), ("B", "'q'"), ("SET", "set")]);
        assert!(parse_raw("a b=1", &outer).is_err());
    }
}
