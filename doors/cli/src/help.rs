//! The command line as people read it: commands in groups, and the flags that every command takes written once.
//!
//! Called by `main`, which parses with it, and by the commands that print completions and manual pages.

use crate::args::Cli;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write as _;

/// Every command, by what people come for.
const GROUPS: &[(&str, &[&str])] = &[
    ("Start", &["up", "init", "import", "doctor", "upgrade"]),
    ("Deploy", &["plan", "deploy", "rollback", "cancel", "diff", "releases"]),
    ("Look", &["status", "logs", "exec", "describe", "events", "receipt"]),
    ("Apps", &["app", "env", "instance", "endpoint", "release", "rollout", "image"]),
    ("Data", &["volume", "secret", "state"]),
    ("Machines", &["node", "gateway", "device", "control", "drill"]),
    (
        "People",
        &[
            "login", "logout", "context", "whoami", "user", "session", "token", "org", "project", "quota",
            "access", "sso", "oidc",
        ],
    ),
    ("House", &["audit", "key", "ca", "completions", "man"]),
];

/// What every page of a command ends with.
const FLAGS: &str = "Flags of every command, like --json and --app: `freehold help flags`";

/// The command line, to parse with.
pub(crate) fn command() -> Command {
    let command = Cli::command();
    let groups = groups(&command);
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n{groups}\n\
         `freehold COMMAND --help` explains one; `freehold help flags` lists the flags of every command.{{after-help}}"
    );
    let is_global = |arg: &Arg| arg.is_global_set();
    let command = command.mut_args(|arg| if is_global(&arg) { arg.hide(true) } else { arg });
    command.help_template(template).mut_subcommands(name_flags)
}

/// Says on the page of a command, and of all below it, where its global flags are explained.
fn name_flags(command: Command) -> Command {
    let after = command.get_after_help().map(|text| format!("{text}\n\n")).unwrap_or_default();
    command.after_help(format!("{after}{FLAGS}")).mut_subcommands(name_flags)
}

/// The flags of every command: what `freehold help flags` prints.
pub(crate) fn flags() -> String {
    let command = Cli::command();
    let mut text = String::from("Flags that every command takes, before or after its name:\n");
    for arg in command.get_arguments().filter(|arg| arg.is_global_set()) {
        let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_else(|| "    ".into());
        let value = match arg.get_action().takes_values() {
            true => arg.get_value_names().and_then(|names| names.first()).map(|name| format!(" <{name}>")),
            false => None,
        };
        let long = format!("{short}--{}{}", arg.get_long().unwrap_or_default(), value.unwrap_or_default());
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let env = arg.get_env().map(|name| format!(" [env: {}]", name.display())).unwrap_or_default();
        let _ = write!(text, "\n  {long:<23} {help}{env}");
    }
    text
}

fn groups(command: &Command) -> String {
    let about = |name: &str| {
        let found = command.get_subcommands().find(|it| it.get_name() == name);
        found.and_then(Command::get_about).map(ToString::to_string).unwrap_or_default()
    };
    let mut text = String::new();
    for (group, names) in GROUPS {
        let _ = write!(text, "\n{group}:\n");
        for name in *names {
            let _ = writeln!(text, "  {name:<12} {}", about(name));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stands_in_one_group() {
        let listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let command = Cli::command();
        let visible: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        for name in &visible {
            assert_eq!(listed.iter().filter(|it| it == &name).count(), 1, "{name}");
        }
        assert_eq!(listed.len(), visible.len(), "a command that is no more is listed");
    }

    #[test]
    fn flags_of_every_command_are_explained_once() {
        let flags = flags();
        for flag in ["--url", "--token", "--json", "-a, --app", "-e, --env", "--project", "--file"] {
            assert!(flags.contains(flag), "{flag} in {flags}");
        }
        let page = command().try_get_matches_from(["freehold", "status", "--help"]).unwrap_err().to_string();
        assert!(page.contains("freehold help flags") && !page.contains("--token"), "{page}");
    }

    #[test]
    fn a_word_is_broken_nowhere() {
        let page = command().term_width(80).render_help().to_string();
        assert!(page.contains("\nDeploy:\n  plan "), "{page}");
    }
}
