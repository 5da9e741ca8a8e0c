//! Log lines for people: when, who, what.

use super::{Paint, paint::Tone, printable::printable};
use freehold_model::logs::{LogLine, LogStream};
use freehold_runtime::logs::Patterns;

/// `12:00:00.123 web/7k3q9z | text`, each instance in a colour of its own, standard error and Freehold's own
/// words in theirs, and what `patterns` match marked.
pub(crate) fn line(line: &LogLine, patterns: &Patterns, paint: Paint) -> String {
    let time = line.time.strftime("%H:%M:%S%.3f").to_string();
    let instance = line.instance.to_string();
    let end = &instance[instance.len() - 6..];
    let tone = match line.stream {
        LogStream::Stdout => Tone::Plain,
        LogStream::Stderr => Tone::Note,
        LogStream::System => Tone::Dim,
    };
    let who = paint.hue(hue(end), &format!("{}/{end} |", line.process));
    // A log line is one line, whatever it holds.
    let text = printable(&line.text).replace('\n', "\u{fffd}");
    // A colour that the line leaves on must not reach the next one.
    let end = if text.contains('\x1b') { "\x1b[0m" } else { "" };
    format!("{} {who} {}{end}", paint.dim(&time), marked(&text, tone, patterns, paint))
}

/// Differs between instances that follow each other, mostly.
fn hue(end: &str) -> usize {
    end.bytes().fold(0, |sum, byte| sum * 31 + usize::from(byte))
}

fn marked(text: &str, tone: Tone, patterns: &Patterns, paint: Paint) -> String {
    if !paint.is_on() {
        return text.to_owned();
    }
    let (mut all, mut done) = (String::new(), 0);
    for found in patterns.matches(text) {
        all.push_str(&paint.tone(tone, &text[done..found.start]));
        all.push_str(&paint.tone(Tone::Bad, &text[found.clone()]));
        done = found.end;
    }
    all + &paint.tone(tone, &text[done..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::InstanceId;

    fn told(text: &str) -> LogLine {
        LogLine {
            time: "2026-01-31T12:00:00.1234Z".parse().unwrap(),
            stream: LogStream::Stdout,
            instance: InstanceId(Default::default()),
            process: "web".parse().unwrap(),
            next: Default::default(),
            text: text.into(),
        }
    }

    #[test]
    fn a_line_tells_when_and_who() {
        let plain = line(&told("ready"), &Patterns::default(), Paint::plain());
        assert_eq!(plain, "12:00:00.123 web/000000 | ready");
    }

    #[test]
    fn what_matched_is_marked_and_the_rest_is_not() {
        let patterns = Patterns::new(&["e.r"]).unwrap();
        let text = marked("an error, err", Tone::Plain, &patterns, Paint::colourful());
        assert_eq!(text, "an \x1b[1m\x1b[31merr\x1b[0mor, \x1b[1m\x1b[31merr\x1b[0m");
        assert_eq!(marked("an error", Tone::Plain, &patterns, Paint::plain()), "an error");
    }

    #[test]
    fn a_log_cannot_steer_the_terminal() {
        assert_eq!(printable("\x1b[31mred\x1b[0m\tx"), "\x1b[31mred\x1b[0m\tx");
        assert_eq!(printable("\x1b[2Jgone\x07\r"), "gone\u{fffd}\u{fffd}");
        assert_eq!(printable("\x1b]0;title\x07"), "\u{fffd}]0;title\u{fffd}");
    }
}
