//! `${NAME}` and its forms in the values of a Compose file (compose-spec, "Interpolation").

use crate::secrets::is_secret_name;

/// How deeply a default may hold another variable.
const DEEPEST: usize = 16;

/// A text with its variables replaced.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Replaced {
    pub(crate) text: String,
    /// Variables whose values went in.
    pub(crate) used: Vec<String>,
    /// Variables that have no value and no default.
    pub(crate) unset: Vec<String>,
}

impl Replaced {
    /// Whether a secret went in, by the name of its variable.
    pub(crate) fn secret(&self) -> bool {
        self.used.iter().chain(&self.unset).any(|name| is_secret_name(name))
    }
}

/// Replaces the variables of `text`; an error says what is wrong with it.
pub(crate) fn interpolate(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Replaced, String> {
    let mut out = Replaced::default();
    expand(text, variable, &mut out, 0)?;
    Ok(out)
}

fn expand(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    out: &mut Replaced,
    depth: usize,
) -> Result<(), String> {
    if depth > DEEPEST {
        return Err("variables are nested too deeply".into());
    }
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.text.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = closing(inner).ok_or("a `${` has no `}`; write `$${` for the characters themselves")?;
            braced(&inner[..end], variable, out, depth)?;
            rest = &inner[end + 1..];
        } else {
            match leading_name(rest) {
                // What begins no variable stays as it is: `$?`, `$1`, `$(date)`, `^/x$`.
                "" => out.text.push('$'),
                name => put(name, variable, out),
            }
            rest = &rest[leading_name(rest).len()..];
        }
    }
    out.text.push_str(rest);
    Ok(())
}

/// Where the brace that is open closes: braces count, with or without a dollar; where they do not match,
/// the last one closes it.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '}' if open == 1 => return Some(at),
            '}' => open -= 1,
            '{' => {
                open += 1;
                characters.next();
            }
            _ => {}
        }
    }
    text.rfind('}')
}

fn leading_name(text: &str) -> &str {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match text.chars().next() {
        Some(first) if is_start(first) => &text[..text.find(|c| !is_inner(c)).unwrap_or(text.len())],
        _ => "",
    }
}

/// `NAME`, `NAME:-default`, `NAME-default`, `NAME:?error`, `NAME?error`, `NAME:+other`, `NAME+other`.
fn braced(
    inner: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    out: &mut Replaced,
    depth: usize,
) -> Result<(), String> {
    let name = leading_name(inner);
    let form = &inner[name.len()..];
    if name.is_empty() {
        return Err("a `${` names no variable; write `$${` for the characters themselves".into());
    }
    let value = variable(name);
    let (empty_counts, form) = match form.strip_prefix(':') {
        Some(form) => (true, form),
        None => (false, form),
    };
    let given = value.as_ref().is_some_and(|value| !empty_counts || !value.is_empty());
    match form.chars().next() {
        None if !empty_counts => put(name, variable, out),
        Some('-') if given => put(name, variable, out),
        Some('-') => expand(&form[1..], variable, out, depth + 1)?,
        Some('?') if given => put(name, variable, out),
        Some('?') => out.unset.push(name.to_owned()),
        Some('+') if given => expand(&form[1..], variable, out, depth + 1)?,
        Some('+') => {}
        _ => return Err(format!("`${{{name}…}}` is written in no way that Compose knows")),
    }
    Ok(())
}

fn put(name: &str, variable: &dyn Fn(&str) -> Option<String>, out: &mut Replaced) {
    match variable(name) {
        Some(value) => {
            out.text.push_str(&value);
            out.used.push(name.to_owned());
        }
        None => out.unset.push(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Option<String> {
        match name {
            "TAG" => Some("17".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn every_form_is_known() {
        for (text, expected) in [
            ("a-$TAG-b", "a-17-b"),
            ("${TAG}", "17"),
            ("$$TAG", "$TAG"),
            ("${NONE:-x}", "x"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY-x}", ""),
            ("${NONE:-${TAG}}", "17"),
            ("${NONE-a${NONE:-{b}}c}", "a{b}c"),
            ("${TAG:+y}", "y"),
            ("${NONE+y}", ""),
            ("${TAG:?must}", "17"),
            ("é${TAG}é", "é17é"),
            ("$ $? $1 $(date) ^/x$", "$ $? $1 $(date) ^/x$"),
            ("$$$TAG $$${TAG} $${TAG", "$17 $17 ${TAG"),
            ("${NONE:-{x}}", "{x}"),
            ("${TAG:-{x}}", "17"),
            ("${NONE:-a{b}c}d", "a{b}cd"),
            ("${NONE:-a}b}", "ab}"),
            ("${NONE:-a{b}", "a{b"),
            ("${NONE:-$$x}", "$x"),
            ("${NONE-:?}", ":?"),
            ("$TAG.x", "17.x"),
        ] {
            assert_eq!(interpolate(text, &known).unwrap().text, expected, "{text}");
        }
    }

    #[test]
    fn what_nobody_set_is_named() {
        for text in ["$NONE", "${NONE}", "${NONE:?must be set}", "${EMPTY:?must be set}"] {
            assert_eq!(interpolate(text, &known).unwrap().unset.len(), 1, "{text}");
        }
        for text in ["${", "${}", "${TAG", "${TAG*}", "${TAG:}", "${1}", "${ TAG }", "${A.B}"] {
            assert!(interpolate(text, &known).is_err(), "{text}");
        }
        let deep = format!("{}x{}", "${A:-".repeat(1000), "}".repeat(1000));
        assert!(interpolate(&deep, &known).is_err());
    }

    #[test]
    fn a_secret_is_known_by_its_variable() {
        assert!(interpolate("postgres://u:${DB_PASSWORD}@db", &known).unwrap().secret());
        assert!(!interpolate("${TAG}", &known).unwrap().secret());
    }
}
