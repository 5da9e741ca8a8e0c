//! The words of other tools: what people type by habit, and what it is called here.
//!
//! Called by `main` before the command line is parsed, and when it was refused. Pure.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::path::Path;

/// Commands of other tools, and what does the same here.
const VERBS: &[(&[&str], &str)] = &[
    (&["run", "job"], "`freehold exec -p PROCESS -- COMMAND` runs a command in an instance that is there."),
    (&["scale"], "Write `count = N` into the manifest, then `freehold deploy`: what runs is not restarted."),
    (&["restart"], "`freehold deploy --restart` starts every instance of an app anew."),
    (&["start", "apply", "push", "launch"], "`freehold deploy` makes the manifest run."),
    (&["stop", "down", "destroy", "kill"], "`freehold app delete NAME` removes an app; volumes are kept."),
    (&["undo"], "`freehold rollback` makes the release before run again."),
    (&["open", "url", "ports"], "`freehold endpoint list` shows where apps are reached."),
    (&["top", "stats", "list"], "`freehold status` shows what runs."),
    (&["ssh", "shell", "attach", "console", "sh"], "`freehold exec -it -- sh` opens a shell in an instance."),
    (&["build"], "`freehold image build DIR -t NAME:TAG` makes an image of a folder."),
    (&["pull", "images"], "`freehold image pull` and `freehold image list` do that."),
    (&["tail", "journal"], "`freehold logs -f` follows what instances print."),
    (&["config", "get", "show", "inspect"], "`freehold describe KIND NAME` explains one thing."),
    (&["join"], "`freehold node join` makes this machine a node."),
    (
        &["backup", "restore"],
        "`freehold state backup|restore` for the state, `freehold volume snapshot|restore` for data.",
    ),
    (&["history"], "`freehold releases` and `freehold receipt list` show what was deployed."),
    (&["compose"], "`freehold import compose` turns a Compose file into a manifest."),
];

/// Old forms that go on: the line as it is written now, and what to say about it.
pub(crate) fn modernized(
    words: &[String],
    exists: impl Fn(&Path) -> bool,
) -> Option<(Vec<String>, &'static str)> {
    let logs = words.iter().position(|word| word == "logs" || word == "log")?;
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let flag = (1..end).find(|at| words[*at] == "-f" && *at > logs)?;
    let value = words.get(flag + 1).filter(|value| !value.starts_with('-') && exists(Path::new(value)))?;
    let mut line = words.to_vec();
    line.splice(flag..flag + 2, ["--file".to_owned(), value.clone()]);
    Some((line, "`-f` of `logs` now means --follow; name the manifest with --file."))
}

/// What to say to somebody whose command line was refused, beside what was wrong with it.
pub(crate) fn hint(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand)?;
            let found = VERBS.iter().find(|(words, _)| words.contains(&word));
            found.map(|(_, hint)| (*hint).to_owned())
        }
        ErrorKind::UnknownArgument => {
            let word = text(ContextKind::InvalidArg)?;
            let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
            named(
                word,
                usage.split_whitespace().find(|it| VERBS_WITH_NAMES.iter().any(|(verb, _)| verb == it))?,
            )
        }
        _ => None,
    }
}

/// Commands that people give a name to, and how it is given.
const VERBS_WITH_NAMES: &[(&str, &str)] = &[
    ("logs", "an app is named with `-a {}`, a process with `-p {}`"),
    ("status", "an app is named with `-a {}`"),
    ("releases", "an app is named with `-a {}`"),
    ("deploy", "an env is named with `-e {}`, a manifest with `--file {}`"),
    ("plan", "an env is named with `-e {}`, a manifest with `--file {}`"),
    ("rollback", "a release is named with `--to {}`"),
    ("exec", "a process is named with `-p {}`, and the command comes after `--`"),
    ("events", "an app is named with `-a {}`"),
];

fn named(word: &str, verb: &str) -> Option<String> {
    let (_, how) = VERBS_WITH_NAMES.iter().find(|(it, _)| *it == verb)?;
    (!word.starts_with('-')).then(|| {
        let how = how.replace("{}", word);
        format!("{}{}.", how[..1].to_uppercase(), &how[1..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn hint_of(line: &str) -> String {
        let error = help::command().try_get_matches_from(line.split(' ')).expect_err(line);
        hint(&error).unwrap_or_default()
    }

    #[test]
    fn words_of_other_tools_are_answered_with_ours() {
        for (line, expected) in [
            ("freehold scale web=3", "count = N"),
            ("freehold stop", "app delete"),
            ("freehold open", "endpoint list"),
            ("freehold logs web", "`-p web`"),
            ("freehold status notes", "`-a notes`"),
            ("freehold rollback v2", "`--to v2`"),
            ("freehold deploy prod", "`-e prod`"),
        ] {
            assert!(hint_of(line).contains(expected), "{line}: {}", hint_of(line));
        }
        assert_eq!(hint_of("freehold logs --colour"), "");
    }

    #[test]
    fn no_word_of_others_is_a_command_of_ours() {
        let command = help::command();
        for word in VERBS.iter().flat_map(|(words, _)| *words) {
            let taken = command
                .get_subcommands()
                .any(|it| it.get_name() == *word || it.get_all_aliases().any(|alias| alias == *word));
            assert!(!taken, "{word}");
        }
    }

    #[test]
    fn the_manifest_behind_an_f_of_logs_is_still_taken() {
        let (line, _) = modernized(&words("freehold logs -f shop/ --tail 5"), |_| true).expect("it is old");
        assert_eq!(line, words("freehold logs --file shop/ --tail 5"));
        for line in [
            "freehold logs -f",
            "freehold logs -f --tail 5",
            "freehold deploy -f shop/",
            "freehold exec -- logs -f x",
        ] {
            assert!(modernized(&words(line), |_| line.contains("deploy")).is_none(), "{line}");
        }
    }
}
