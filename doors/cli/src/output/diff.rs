//! Changes for people: a sign and a colour for what is added, changed and removed, the old beside the
//! new where both fit on a line and one above the other where not. What looks secret is masked.

use super::{Paint, paint::Tone, plan::shorten, secret};
use freehold_model::{
    api::Diff,
    plan::{Action, Change, Field},
};
use std::io::{self, IsTerminal as _};

/// The whole comparison.
pub(crate) fn render(diff: &Diff, paint: Paint) -> String {
    let name = paint.bold(&format!("{}/{}", diff.app, diff.env));
    let mut lines = vec![format!("{name}  {} → {}", diff.from, diff.to), String::new()];
    let what = if diff.to == "observed" { "What is observed is what is wanted." } else { "Nothing differs." };
    if diff.is_empty() {
        lines.push(paint.dim(what));
        return lines.join("\n");
    }
    lines.extend(changes(&diff.changes, paint, width()));
    lines.join("\n")
}

/// How wide lines may be: as the terminal is, or as they like where there is none.
pub(crate) fn width() -> usize {
    match io::stdout().is_terminal() {
        true => crate::commands::terminal_width(),
        false => usize::MAX,
    }
}

/// Each change with its fields, and what may have to be done about secrets in them.
pub(crate) fn changes(changes: &[Change], paint: Paint, width: usize) -> Vec<String> {
    let mut lines = vec![];
    let mut masked = false;
    for change in changes {
        lines.push(change_line(change, paint));
        // Of what goes, its name says enough.
        for field in change.fields.iter().filter(|_| change.action != Action::Remove) {
            let shown = secret::masked(field);
            masked |= shown != *field;
            lines.extend(field_lines(&shown, paint, width));
        }
    }
    if masked {
        let hint = "what looks secret is masked; `freehold secret set` keeps such values out of manifests";
        lines.push(format!("  {} {hint}", paint.note("hint:")));
    }
    lines
}

fn change_line(change: &Change, paint: Paint) -> String {
    let (sign, tone) = match change.action {
        Action::Add => ('+', Tone::Good),
        Action::Change => ('~', Tone::Note),
        Action::Keep => ('=', Tone::Dim),
        Action::Remove => ('-', Tone::Bad),
    };
    let counts = [("start", change.start), ("keep", change.keep), ("stop", change.stop)];
    let counts: Vec<String> =
        counts.iter().filter(|(_, n)| *n > 0).map(|(verb, n)| format!("{verb} {n}")).collect();
    let what = paint.tone(tone, &format!("{sign} {} {}", change.kind, change.name));
    match counts.is_empty() {
        true => format!("  {what}"),
        false => format!("  {what}  {}", paint.dim(&counts.join(", "))),
    }
}

fn field_lines(field: &Field, paint: Paint, width: usize) -> Vec<String> {
    let path = &field.path;
    let before = field.before.as_deref().map(shorten);
    let after = field.after.as_deref().map(shorten);
    match (before, after) {
        (Some(before), Some(after)) => {
            let length = 12 + [path, &before, &after].map(|text| text.chars().count()).iter().sum::<usize>();
            let head = format!("      {} {path}", paint.note("~"));
            match length <= width {
                true => vec![format!("{head}: {} → {}", paint.bad(&before), paint.good(&after))],
                false => vec![
                    format!("{head}:"),
                    format!("          {}", paint.bad(&format!("- {before}"))),
                    format!("          {}", paint.good(&format!("+ {after}"))),
                ],
            }
        }
        (None, Some(after)) => vec![format!("      {}", paint.good(&format!("+ {path}: {after}")))],
        (Some(before), None) => vec![format!("      {}", paint.bad(&format!("- {path}: {before}")))],
        (None, None) => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(path: &str, before: Option<&str>, after: Option<&str>) -> Field {
        Field { path: path.into(), before: before.map(str::to_owned), after: after.map(str::to_owned) }
    }

    fn change(fields: Vec<Field>) -> Change {
        let (kind, name) = ("process".into(), "web".into());
        Change { action: Action::Change, kind, name, start: 1, keep: 0, stop: 1, fields }
    }

    #[test]
    fn signs_say_what_is_added_changed_and_removed() {
        let fields = vec![
            field("count", Some("1"), Some("2")),
            field("env.LOG", None, Some("info")),
            field("env.OLD", Some("1"), None),
        ];
        let lines = changes(&[change(fields)], Paint::plain(), 80);
        let expected = [
            "  ~ process web  start 1, stop 1",
            "      ~ count: 1 → 2",
            "      + env.LOG: info",
            "      - env.OLD: 1",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_too_long_for_a_line_stands_one_above_the_other() {
        let (before, after) = ("a".repeat(40), "b".repeat(40));
        let long = change(vec![field("command", Some(&before), Some(&after))]);
        let lines = changes(std::slice::from_ref(&long), Paint::plain(), 80);
        assert_eq!(
            lines[1..],
            ["      ~ command:".into(), format!("          - {before}"), format!("          + {after}")]
        );
        assert_eq!(changes(&[long], Paint::plain(), 160).len(), 2);
    }

    #[test]
    fn what_looks_secret_is_masked_and_still_shows_as_changed() {
        let lines = changes(
            &[change(vec![field("env.DB_PASSWORD", Some("hunter2"), Some("hunter3"))])],
            Paint::plain(),
            80,
        );
        assert_eq!(lines[1], "      ~ env.DB_PASSWORD: •••••• → •••••• (changed)");
        assert!(lines[2].contains("freehold secret set"), "{lines:?}");
    }
}
