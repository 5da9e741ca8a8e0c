//! `freehold secret`: values that only their workload sees. They come from standard input or a hidden
//! prompt, never from an argument: arguments are in the history of shells and in lists of processes.

mod input;
mod seal;
mod set;

use super::{describe, noun::NameArgs, terminal::confirmed};
use crate::{
    failure::{Failure, Outcome},
    output::secrets as show,
    session::Session,
};
use freehold_model::{Kind, SecretName, secrets::SecretSummary};
use input::Word;
use jiff::Timestamp;

/// What can be done with secrets.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Gives a secret a value: a new version, which the next deploy uses.
    Set(set::SetArgs),
    /// Gives a secret that there is another value, given or made up.
    Rotate(set::RotateArgs),
    /// Lists secrets: the present version of each, and what uses it.
    List,
    /// Shows every version of a secret: who set it, when, and which releases use it.
    History(WhichArgs),
    /// Shows which releases use which version, of one secret or of all.
    Usage(UsageArgs),
    /// Removes versions that no release uses.
    #[command(aliases = ["delete", "remove"])]
    Rm(RemoveArgs),
    /// Seals a value for this house, as text that can be committed to git.
    Seal(seal::SealArgs),
    /// Explains one: its versions, what happened. Never its value.
    Describe(NameArgs),
}

/// Which.
#[derive(Debug, clap::Args)]
pub(crate) struct WhichArgs {
    /// Its name.
    name: Word,
}

/// Which, or all.
#[derive(Debug, clap::Args)]
pub(crate) struct UsageArgs {
    /// Its name; all when not given.
    name: Option<Word>,
}

/// Flags of `secret rm`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A version that a release uses stays, because the release could not be rolled back to without it. Numbers
of removed versions are never given again.

Examples:
  freehold secret rm OLD_KEY
  freehold secret rm API_KEY --version 3
  freehold secret rm API_KEY --version 3 --force -y     even if a release uses it")]
pub(crate) struct RemoveArgs {
    /// Its name.
    name: Word,
    /// This version alone.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    version: Option<u32>,
    /// Even what releases use: they cannot be started or rolled back to any more.
    #[arg(long)]
    force: bool,
    /// Does not ask.
    #[arg(short = 'y', long)]
    yes: bool,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    freehold_secrets::forbid_core_dumps();
    match command {
        Command::Set(args) => set::set(args, session).await,
        Command::Rotate(args) => set::rotate(args, session).await,
        Command::List => list(session).await,
        Command::History(args) => history(&args.name.name()?, session).await,
        Command::Usage(args) => usage(args.name.map(|word| word.name()).transpose()?, session).await,
        Command::Rm(args) => remove(args, session).await,
        Command::Seal(args) => seal::run(args, session).await,
        Command::Describe(args) => {
            describe::show(session.find_named(Kind::Secret, args.name()).await?, session).await
        }
    }
}

async fn list(session: &Session) -> Outcome {
    let secrets = session.client.secrets(&session.summary_query()?).await?;
    let paint = session.out.paint;
    session.out.show(&secrets, |all| show::list(all, paint, Timestamp::now()))
}

async fn history(name: &SecretName, session: &Session) -> Outcome {
    let secret = find(name, session).await?;
    let paint = session.out.paint;
    session.out.show(&secret, |secret| show::history(secret, paint, Timestamp::now()))
}

async fn usage(name: Option<SecretName>, session: &Session) -> Outcome {
    let secrets = match name {
        Some(name) => vec![find(&name, session).await?],
        None => session.client.secrets(&session.summary_query()?).await?,
    };
    let paint = session.out.paint;
    session.out.show(&secrets, |all| show::usage(all, paint))
}

async fn remove(args: RemoveArgs, session: &Session) -> Outcome {
    let secret = find(&args.name.name()?, session).await?;
    let what = match args.version {
        Some(number) => format!("version {number} of {}", secret.name),
        None => format!("every version of {}", secret.name),
    };
    // One version that nothing uses is little; a secret, or what somebody uses, is asked about.
    if !args.yes && (args.force || args.version.is_none()) {
        confirmed(&format!("removing {what}"), &secret.name)?;
    }
    let removed = session.client.remove_secret(secret.id, args.version, args.force).await?;
    session.out.show(&removed, show::removed)
}

/// The secret of that name in the app and env that are meant.
pub(super) async fn find(name: &SecretName, session: &Session) -> Outcome<SecretSummary> {
    let (app, env) = (session.app()?, session.env());
    let query = freehold_client::SummaryQuery {
        project: Some(session.project()),
        app: Some(app.to_string()),
        env: Some(env.clone()),
    };
    let all = session.client.secrets(&query).await?;
    all.into_iter().find(|secret| secret.name == name.as_str()).ok_or_else(|| {
        Failure::not_found(
            format!("there is no secret {name} in {app}/{env}"),
            format!("`freehold secret list -a {app} -e {env}` shows what there is."),
        )
    })
}
