//! The command line: global flags and the list of commands. Each command's own flags lie beside it.

use crate::{
    commands::{
        access, audit, ca, cancel, completions, context, control, deploy, describe, diff, doctor, drill,
        endpoint, events, exec, image, import, init, key, login, logs, machine, man, node, noun, oidc, plan,
        quota, receipt, rollback, secret, sso, state, status, tenancy, token, up, upgrade, user, volume,
    },
    failure::{Failure, Outcome},
    output::Out,
    words,
};
use clap::{Parser, Subcommand};
use freehold_model::Name;
use std::path::PathBuf;

/// Freehold: a cloud you own. Runs apps from a manifest on your own machines.
#[derive(Parser)]
#[command(name = "freehold", bin_name = "freehold", version, max_term_width = 100)]
#[command(after_help = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 not signed in or not allowed, 4 not found, 5 stale plan or
conflict, 6 over quota, 7 cannot be placed, 8 unhealthy, 9 timed out and still running, 10 `plan` or
`diff` with `--exit-code` found changes, 11 `import` could not carry every key, 130 interrupted. `exec` ends
with the command's own code.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags that every command takes. Has no `Debug`: it may hold a token.
#[derive(clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The server's address [default: the one that `freehold up` noted].
    #[arg(long, global = true, value_name = "URL", env = "FREEHOLD_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// The token to sign in with; rather give it in the environment, where others cannot read it.
    #[arg(long, global = true, value_name = "TOKEN", env = "FREEHOLD_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Writes JSON alone on standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The app [default: that of ./freehold.toml].
    #[arg(short, long, global = true)]
    pub(crate) app: Option<Name>,
    /// The env [default: prod].
    #[arg(short, long, global = true, value_parser = env_name)]
    pub(crate) env: Option<Name>,
    /// The project [default: default].
    #[arg(long, global = true)]
    pub(crate) project: Option<Name>,
    /// The manifest, or the folder that holds it [default: ./freehold.toml].
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Everything that `freehold` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs Freehold on this machine: control plane, node and endpoints in one process.
    Up(up::Args),
    /// Runs a control plane without a node, beside others on one database; lists them.
    Control(control::Args),
    /// Writes a manifest for a folder, and says what to do next.
    Init(init::Args),
    /// Turns what other tools read into a manifest.
    #[command(subcommand)]
    Import(import::Command),
    /// Puts another version in the place of the one that runs here; instances go on running.
    Upgrade(upgrade::Args),
    /// Shows what a deploy would change, and changes nothing.
    Plan(plan::Args),
    /// Shows what differs between releases, the manifest, and what runs.
    Diff(diff::Args),
    /// Makes the manifest run, and waits until it is healthy.
    Deploy(deploy::Args),
    /// Makes an earlier release run again.
    Rollback(rollback::Args),
    /// Calls a deploy or a rollback off, while it waits or starts.
    Cancel(cancel::Args),
    /// Lists the releases of an env, the newest first.
    Releases,
    /// Shows what runs: releases, instances, endpoints.
    #[command(visible_aliases = ["ps", "ls"])]
    Status(status::Args),
    /// Explains one resource: what is wanted, what is so, why they differ, what happened.
    Describe(describe::Args),
    /// Shows what happened.
    Events(events::Args),
    /// Backs up what the control plane remembers, and restores it.
    #[command(subcommand)]
    State(state::Command),
    /// Exports the event log, and proves that nothing was cut out of it or changed.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Shows what instances print.
    #[command(alias = "log")]
    Logs(logs::Args),
    /// Runs a command inside an instance.
    Exec(exec::Args),
    /// Shows the evidence of an operation, or waits for its verdict.
    Receipt(receipt::Args),
    /// Builds, moves and lists images of the built-in registry.
    #[command(subcommand)]
    Image(image::Command),
    /// Apps: what one manifest describes.
    #[command(subcommand)]
    App(noun::AppCommand),
    /// Envs: running copies of an app.
    #[command(subcommand)]
    Env(noun::Command),
    /// Endpoints: the ports where apps are reached.
    #[command(subcommand)]
    Endpoint(endpoint::Command),
    /// Instances: single containers and processes.
    #[command(subcommand)]
    Instance(noun::Command),
    /// Releases: immutable records of what was to run.
    #[command(subcommand)]
    Release(noun::Command),
    /// Rollouts: moves of an env from one release to another.
    #[command(subcommand)]
    Rollout(noun::Command),
    /// Nodes: machines that run instances.
    #[command(subcommand)]
    Node(node::Command),
    /// Gateways: machines that will let devices in from outside; they can enrol.
    #[command(subcommand)]
    Gateway(machine::Command),
    /// Devices: phones and laptops that will reach what runs; they can enrol.
    #[command(subcommand)]
    Device(machine::Command),
    /// The certificate authority that certifies nodes.
    #[command(subcommand)]
    Ca(ca::Command),
    /// Signing in to apps through this house, their OpenID provider.
    #[command(subcommand)]
    Oidc(oidc::Command),
    /// Signing in to this house with other OpenID providers.
    #[command(subcommand)]
    Sso(sso::Command),
    /// Orgs: owners of projects.
    #[command(subcommand)]
    Org(tenancy::OrgCommand),
    /// Projects: groups of apps.
    #[command(subcommand)]
    Project(tenancy::ProjectCommand),
    /// Tokens: let machines in, with a role and an end.
    #[command(subcommand)]
    Token(token::Command),
    /// What orgs and projects may use, and what they use.
    #[command(subcommand)]
    Quota(quota::Command),
    /// Explains who may do what where.
    #[command(subcommand)]
    Access(access::Command),
    /// Users: people, with roles, who sign in.
    #[command(subcommand)]
    User(user::Command),
    /// Sessions: sign-ins that last.
    #[command(subcommand)]
    Session(login::Command),
    /// Signs in, and keeps what lets you in for this server.
    Login(login::LoginArgs),
    /// Signs out of this server.
    Logout,
    /// The servers that commands were pointed at, and which one they ask.
    #[command(subcommand)]
    Context(context::Command),
    /// Says who you are to the server, and what you may do where.
    Whoami,
    /// Volumes: bytes that outlive instances.
    #[command(subcommand)]
    Volume(volume::Command),
    /// Secrets: values that only their workload sees.
    #[command(subcommand)]
    Secret(secret::Command),
    /// The root key, under which secrets are sealed.
    #[command(subcommand)]
    Key(key::Command),
    /// Proves from inside that what should be closed is closed.
    #[command(subcommand)]
    Drill(drill::Command),
    /// Says what the machine can do, and what to install for the rest.
    Doctor(doctor::Args),
    /// Prints the completions of a shell.
    Completions(completions::Args),
    /// Writes manual pages into a folder.
    Man(man::Args),
}

/// The name of an env: what other programs mean by `--env` is told apart.
fn env_name(text: &str) -> Result<Name, String> {
    if let Some((name, _)) = text.split_once('=') {
        return Err(format!(
            "--env names the env, like prod; a variable is given to `exec` by --var {name}=…"
        ));
    }
    text.parse().map_err(|error| format!("{error}"))
}

const WELCOME: &str = "\
Freehold: a cloud you own.

  freehold up              start Freehold on this machine
  freehold init            write a freehold.toml for this folder
  freehold deploy          make the freehold.toml in this folder run
  freehold status          see what runs, and where it is reached
  freehold logs -f         see what it prints
  freehold rollback        go back to the release before

`freehold --help` lists every command; `freehold COMMAND --help` explains one.";

/// What `freehold` says when it is told nothing.
pub(crate) fn welcome() -> Outcome {
    Out::new(false).text(WELCOME)
}

/// Ends with what is wrong with the command line. What was typed after `secret` may be a value in the
/// wrong place, and is not repeated.
pub(crate) fn refuse(error: clap::Error, words: &[String]) -> ! {
    let is_help = matches!(error.exit_code(), 0);
    // Who reads JSON reads it of mistakes as well.
    if !is_help && words.iter().take_while(|word| *word != "--").any(|word| word == "--json") {
        let first =
            error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let hint = words::hint(&error).unwrap_or_else(|| "`freehold COMMAND --help` explains it.".into());
        let is_secret = words.iter().any(|word| word == "secret");
        let title = if is_secret { "The command line cannot be read.".into() } else { first };
        let _ = Failure::usage(title, hint).report(true);
        std::process::exit(error.exit_code())
    }
    // Where a subcommand is missing, its help is the answer, and nothing was typed that could be repeated.
    let help = clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    let is_help = is_help || error.kind() == help;
    if let Some(hint) = words::hint(&error) {
        // Without the commands that are spelled alike: this one is known, by another name.
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        eprintln!("{first}\nhint: {hint}");
        std::process::exit(error.exit_code())
    }
    if is_help || !words.iter().skip(1).any(|word| word == "secret") {
        error.exit()
    }
    let mut error = clap::Error::new(error.kind());
    let mut command = <Cli as clap::CommandFactory>::command();
    let secret =
        command.find_subcommand_mut("secret").map(|secret| secret.clone().bin_name("freehold secret"));
    if let Some(secret) = &secret {
        error = error.with_cmd(secret);
    }
    let _ = error.print();
    eprintln!(
        "A value is never an argument: `freehold secret set NAME < file`, or type it when you are asked."
    );
    std::process::exit(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself() {
        fn check(command: &clap::Command) {
            for one in command.get_subcommands() {
                assert!(one.get_about().is_some(), "{} says nothing", one.get_name());
                check(one);
            }
        }
        check(&Cli::command());
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        for line in ["freehold --json -a shop status", "freehold status --json -a shop"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.globals.json && cli.globals.app.is_some(), "{line}");
        }
    }

    #[test]
    fn a_variable_is_not_taken_for_an_env() {
        let line = "freehold exec -it --env SECRET=hunter2 -- sh".split(' ');
        let error = Cli::try_parse_from(line).err().expect("it was taken").to_string();
        assert!(error.contains("--var SECRET="), "{error}");
        let line = "freehold exec -it -u app -w /srv --var A=b -- sh".split(' ');
        assert!(Cli::try_parse_from(line).is_ok());
    }

    #[test]
    fn what_follows_a_command_of_exec_is_its_own() {
        let line = "freehold exec -p web -- sh -c x --json".split(' ');
        let cli = Cli::try_parse_from(line).unwrap();
        assert!(!cli.globals.json);
        let Some(Command::Exec(args)) = cli.command else { panic!("not exec") };
        assert_eq!(args.command, ["sh", "-c", "x", "--json"]);
    }
}
