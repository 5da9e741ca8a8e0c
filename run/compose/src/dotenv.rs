//! Files of variables, `.env`: `NAME=value` lines, as Compose reads them.

use crate::interpolate::interpolate;

/// One variable of a file.
#[derive(Debug, PartialEq)]
pub(crate) struct Variable {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) value: String,
}

/// The variables of `text`, in order, and the lines that are none.
pub(crate) fn parse(text: &str, outer: &dyn Fn(&str) -> Option<String>) -> (Vec<Variable>, Vec<usize>) {
    let (mut variables, mut wrong) = (Vec::<Variable>::new(), vec![]);
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let found = line.split_once('=').and_then(|(name, value)| {
            let name = name.trim();
            let known = |name: &str| {
                let own = variables.iter().rev().find(|variable| variable.name == name);
                own.map(|variable| variable.value.clone()).or_else(|| outer(name))
            };
            let good = !name.is_empty() && !name.contains(char::is_whitespace);
            good.then(|| value_of(value.trim(), &known)).flatten().map(|value| (name.to_owned(), value))
        });
        match found {
            Some((name, value)) => variables.push(Variable { line: at + 1, name, value }),
            None => wrong.push(at + 1),
        }
    }
    (variables, wrong)
}

fn value_of(text: &str, known: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let replaced = |text: &str| interpolate(text, known).map_or_else(|_| text.to_owned(), |done| done.text);
    if let Some(inner) = text.strip_prefix('\'') {
        return inner.split_once('\'').map(|(value, _)| value.to_owned());
    }
    if let Some(inner) = text.strip_prefix('"') {
        return quoted(inner).map(|value| replaced(&value));
    }
    let end = text.find(" #").unwrap_or(text.len());
    Some(replaced(text[..end].trim_end()))
}

/// Up to the closing quote, escapes resolved.
fn quoted(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_or_not() {
        let text = "# c\n\nA=1\nexport B = two words # c\nC='$A'\nD=\"a\\n$A\"\nE=${A}x\nF=\nG=a#b\n";
        let (variables, wrong) = parse(text, &|_| None);
        let values: Vec<_> = variables.iter().map(|one| (one.name.as_str(), one.value.as_str())).collect();
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "$A"),
            ("D", "a\n1"),
            ("E", "1x"),
            ("F", ""),
            ("G", "a#b"),
        ];
        assert_eq!((values.as_slice(), wrong.as_slice()), (&expected[..], &[][..]));
        assert_eq!(variables[1].line, 4);
    }

    #[test]
    fn lines_that_are_none_are_named() {
        assert_eq!(parse("no sign\nA=\"open\n=x\nB=1", &|_| None).1, [1, 2, 3]);
    }
}
