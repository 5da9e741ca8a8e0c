//! Log lines for people: when, who, what.

use super::{Paint, paint::Tone};
use freehold_model::logs::{LogLine, LogStream};

/// `12:00:00.123 web/7k3q | text`, standard error and Freehold's own words in their colours.
pub(crate) fn line(line: &LogLine, paint: Paint) -> String {
    let time = line.time.strftime("%H:%M:%S%.3f").to_string();
    let instance = line.instance.to_string();
    let end = &instance[instance.len() - 6..];
    let tone = match line.stream {
        LogStream::Stdout => Tone::Plain,
        LogStream::Stderr => Tone::Note,
        LogStream::System => Tone::Dim,
    };
    let prefix = paint.dim(&format!("{time} {}/{end} |", line.process));
    format!("{prefix} {}", paint.tone(tone, &printable(&line.text)))
}

/// Control characters could move the cursor or change the terminal: colours and tabs alone may stay.
fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '\t' => safe.push('\t'),
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
    use freehold_model::InstanceId;

    #[test]
    fn a_line_tells_when_and_who() {
        let told = LogLine {
            time: "2026-01-31T12:00:00.1234Z".parse().unwrap(),
            stream: LogStream::Stdout,
            instance: InstanceId(Default::default()),
            process: "web".parse().unwrap(),
            text: "ready".into(),
        };
        assert_eq!(line(&told, Paint::plain()), "12:00:00.123 web/000000 | ready");
    }

    #[test]
    fn a_log_cannot_steer_the_terminal() {
        assert_eq!(printable("\x1b[31mred\x1b[0m\tx"), "\x1b[31mred\x1b[0m\tx");
        assert_eq!(printable("\x1b[2Jgone\x07\r"), "gone\u{fffd}\u{fffd}");
        assert_eq!(printable("\x1b]0;title\x07"), "\u{fffd}]0;title\u{fffd}");
    }
}
