//! Splits a command that is written as one text, as docker compose does (mattn/go-shellwords): no shell runs
//! it, quotes and backslashes are taken away, and the command ends where a shell would begin another.

/// The words of a command, and the character that ended it before the text was over, if one did.
#[derive(Debug, PartialEq)]
pub(crate) struct Words {
    pub(crate) words: Vec<String>,
    pub(crate) cut_at: Option<char>,
}

/// What is open while a text is read.
#[derive(Default)]
struct State {
    escaped: bool,
    double: bool,
    single: bool,
    back: bool,
    dollar: bool,
}

impl State {
    fn quoted(&self) -> bool {
        self.single || self.double || self.back || self.dollar
    }
}

/// The words of `text`; `None` where its quotes do not match, or a bracket stands where Compose takes none.
pub(crate) fn split(text: &str) -> Option<Words> {
    let (mut state, mut words, mut word) = (State::default(), vec![], None::<String>);
    let mut cut_at = None;
    for c in text.chars() {
        if state.escaped {
            word.get_or_insert_default().push(c);
            state.escaped = false;
            continue;
        }
        match c {
            '\\' if !state.single => {
                state.escaped = true;
                continue;
            }
            ' ' | '\t' | '\r' | '\n' if !state.quoted() => {
                words.extend(word.take());
                continue;
            }
            '`' if !state.single && !state.double && !state.dollar => state.back = !state.back,
            ')' if !state.single && !state.double && !state.back => state.dollar = !state.dollar,
            '(' if !state.single && !state.double && !state.back => {
                if state.dollar || !word.as_ref().is_some_and(|word| word.ends_with('$')) {
                    return None;
                }
                state.dollar = true;
            }
            '"' if !state.single && !state.dollar => {
                state.double = !state.double;
                word.get_or_insert_default();
                continue;
            }
            '\'' if !state.double && !state.dollar => {
                state.single = !state.single;
                word.get_or_insert_default();
                continue;
            }
            ';' | '&' | '|' | '<' | '>' if !state.quoted() => {
                let number = word.as_ref().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit()));
                if c == '>' && number {
                    word = None;
                }
                cut_at = Some(c);
                break;
            }
            _ => {}
        }
        word.get_or_insert_default().push(c);
    }
    words.extend(word);
    (!state.escaped && !state.quoted()).then_some(Words { words, cut_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_docker_compose() {
        for (text, expected) in [
            ("a \"b;c\" d", &["a", "b;c", "d"][..]),
            ("a 'b|c'", &["a", "b|c"]),
            ("a\\ b", &["a b"]),
            ("\"a\\nb\"", &["anb"]),
            ("a \"\" b", &["a", "", "b"]),
            ("'a\\\\b'", &["a\\\\b"]),
            ("`x y` z", &["`x y`", "z"]),
            ("$(x \"y z\") w", &["$(x \"y z\")", "w"]),
            ("\"$(a b)\"", &["$(a b)"]),
            ("  a #b\n c  ", &["a", "#b", "c"]),
            ("a\\\nb", &["a\nb"]),
            ("a'b c'd", &["ab cd"]),
            ("a \\; b", &["a", ";", "b"]),
            ("", &[]),
        ] {
            let found = split(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (found.words.as_slice(), found.cut_at),
                (&expected.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()[..], None),
                "{text}"
            );
        }
        for text in ["a (b)", "(a", "a )", "a \"b", "a\\", "a $( b", "a '\\'' b"] {
            assert_eq!(split(text), None, "{text}");
        }
    }

    #[test]
    fn a_command_ends_where_a_shell_would_begin_another() {
        for (text, cut_at) in [("a && b", '&'), ("a;b", ';'), ("a 2>&1 b", '>'), ("a>b", '>'), ("a < b", '<')]
        {
            assert_eq!(split(text), Some(Words { words: vec!["a".into()], cut_at: Some(cut_at) }), "{text}");
        }
    }
}
