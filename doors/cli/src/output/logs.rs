//! Log lines for people: when, who, what.

use super::{Paint, paint::Tone, printable::printable};
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
    let text = printable(&line.text);
    // A colour that the line leaves on must not reach the next one.
    let end = if text.contains('\x1b') { "\x1b[0m" } else { "" };
    format!("{prefix} {}{end}", paint.tone(tone, &text))
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
