//! `freehold secret set` and `rotate`: a new version, and, if asked for, the deploy that uses it.

use super::input::{self, End, Word};
use crate::{
    commands::operation::{self, Options, WaitArgs},
    failure::{Failure, Outcome},
    output::secrets as show,
    session::Session,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_model::{
    SecretName,
    api::Change,
    secrets::{Hidden, SetSecret},
};
use freehold_secrets::Plaintext;

/// Flags of `secret set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The value is read from standard input, or asked for without showing it; one line feed at its end does not
count. The app and the env are made when they are not there yet, so that a first deploy finds its secrets.

Examples:
  freehold secret set ADMIN_PASSWORD            asks for it
  freehold secret set TLS_KEY < tls.key         from a file
  freehold secret set SESSION_KEY --generate    made up, and seen by nobody
  freehold secret set API_KEY --sealed < api-key.age    as `freehold secret seal` made it")]
pub(crate) struct SetArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: Word,
    #[arg(hide = true)]
    more: Vec<Word>,
    /// Standard input is text that `freehold secret seal` made.
    #[arg(long, conflicts_with_all = ["generate", "exact"])]
    sealed: bool,
    #[command(flatten)]
    how: How,
}

/// Flags of `secret rotate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What runs keeps the version that it was started with. `freehold deploy` uses the new one, and so does
`--deploy`, which runs the present release again with the present version of each secret.

Examples:
  freehold secret rotate API_KEY --deploy < new-key
  freehold secret rotate SESSION_KEY --generate --deploy")]
pub(crate) struct RotateArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: Word,
    #[arg(hide = true)]
    more: Vec<Word>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct How {
    /// Makes a value up: 43 letters, digits, `-` and `_`.
    #[arg(long, conflicts_with = "exact")]
    generate: bool,
    /// Keeps a line feed at the end of standard input.
    #[arg(long)]
    exact: bool,
    /// Runs the present release again with it, and waits until that is healthy.
    #[arg(long)]
    deploy: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

pub(super) async fn set(args: SetArgs, session: &Session) -> Outcome {
    input::none_typed(&args.more)?;
    let name = args.name.name()?;
    let wanted = blank(name, session)?;
    let wanted = match args.sealed {
        true => SetSecret { sealed: Some(text(input::value(&wanted.name, End::Line)?)?), ..wanted },
        false => SetSecret { value: Some(value(&wanted.name, &args.how)?), ..wanted },
    };
    give(wanted, args.how, session).await
}

pub(super) async fn rotate(args: RotateArgs, session: &Session) -> Outcome {
    input::none_typed(&args.more)?;
    let wanted = blank(args.name.name()?, session)?;
    // Asked first: nobody should type a value for a name that is not there.
    super::find(&wanted.name, session).await?;
    let value = value(&wanted.name, &args.how)?;
    give(SetSecret { value: Some(value), must_exist: true, ..wanted }, args.how, session).await
}

fn blank(name: SecretName, session: &Session) -> Outcome<SetSecret> {
    Ok(SetSecret {
        project: session.globals.project.clone(),
        app: session.app()?,
        env: session.globals.env.clone(),
        name,
        value: None,
        sealed: None,
        must_exist: false,
    })
}

fn value(name: &SecretName, how: &How) -> Outcome<Hidden> {
    let value = match (how.generate, how.exact) {
        (true, _) => Plaintext::generate(),
        (false, exact) => input::value(name, if exact { End::Exact } else { End::Line })?,
    };
    Ok(Hidden::new(STANDARD.encode(value.expose())))
}

fn text(sealed: Plaintext) -> Outcome<String> {
    let text = sealed.as_variable().filter(|text| text.contains("BEGIN AGE ENCRYPTED FILE"));
    text.map(str::to_owned).ok_or_else(|| {
        Failure::usage(
            "standard input is no sealed text",
            "Give the whole output of `freehold secret seal`; without --sealed it is taken as a value.",
        )
    })
}

async fn give(wanted: SetSecret, how: How, session: &Session) -> Outcome {
    let set = session.client.set_secret(&wanted).await?;
    if !how.deploy {
        return session.out.show(&set, show::set);
    }
    session.out.text(&show::set_briefly(&set))?;
    let change = Change::Renew { app: wanted.app, env: wanted.env, project: wanted.project };
    operation::perform(session, change, Options { plan: None, wait: how.wait }).await
}
