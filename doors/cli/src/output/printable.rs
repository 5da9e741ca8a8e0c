//! What may reach a terminal. Texts come from workloads, manifests and other registries, and pass through
//! here before people see them.

/// Control characters could move the cursor or change the terminal: colours, tabs and ends of lines
/// alone may stay.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '\t' | '\n' => safe.push(char),
            '\x1b' if rest.peek() == Some(&'[') => safe.push_str(&colour(&mut rest)),
            _ if char.is_control() => safe.push('\u{fffd}'),
            _ => safe.push(char),
        }
    }
    safe
}

/// The rest of `ESC [ … m`, whole; nothing of any other sequence.
fn colour(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut sequence = String::from('\x1b');
    for char in rest.by_ref() {
        sequence.push(char);
        match char {
            '[' | ';' | '0'..='9' => {}
            'm' => return sequence,
            _ => break,
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_what_commands_the_terminal_goes() {
        assert_eq!(printable("a\tb\n\x1b[31mred\x1b[0m"), "a\tb\n\x1b[31mred\x1b[0m");
        for (text, safe) in
            [("\x1b[2J", ""), ("a\rb", "a\u{fffd}b"), ("\x1b]0;title\x07", "\u{fffd}]0;title\u{fffd}")]
        {
            assert_eq!(printable(text), safe, "{text:?}");
        }
    }
}
