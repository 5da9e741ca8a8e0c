//! `freehold secret seal`: a value as text for git, that this house alone opens, for one name alone.
//! Sealed here: the value does not leave this machine.

use super::input::{self, End, Word};
use crate::{
    failure::{Failure, Outcome},
    session::Session,
};
use freehold_secrets::{Context, Recipient, armored, seal};
use serde::Serialize;

/// Flags of `secret seal`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The text can be set for the project, app, env and name it was sealed for, and for nothing else. After
`freehold key rotate` it must be sealed again.

Examples:
  freehold secret seal API_KEY -a shop < api-key > api-key.age
  freehold secret set API_KEY -a shop --sealed < api-key.age
  freehold secret seal API_KEY -a shop --recipient age1…      without asking the server")]
pub(crate) struct SealArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: Word,
    #[arg(hide = true)]
    more: Vec<Word>,
    /// Keeps a line feed at the end of standard input.
    #[arg(long)]
    exact: bool,
    /// The house's public key [default: the server's; `freehold key show` prints it].
    #[arg(long, value_name = "AGE1…")]
    recipient: Option<String>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Sealed {
    sealed: String,
    context: Context,
}

pub(super) async fn run(args: SealArgs, session: &Session) -> Outcome {
    input::none_typed(&args.more)?;
    let name = args.name.name()?;
    let named =
        |text: String| text.parse().map_err(|error| Failure::usage(format!("{error}"), "Name another."));
    let context = Context::Git {
        project: named(session.project())?,
        app: session.app()?,
        env: named(session.env())?,
        name: name.clone(),
    };
    let recipient = match args.recipient {
        Some(recipient) => recipient,
        None => session.client.key().await?.recipient,
    };
    let hint = "`freehold key show` prints the house's.";
    let recipient: Recipient = recipient.parse().map_err(|error| Failure::usage(format!("{error}"), hint))?;
    let value = input::value(&name, if args.exact { End::Exact } else { End::Line })?;
    let sealed = Sealed { sealed: armored(&seal(&recipient, &context, &value)), context };
    session.out.show(&sealed, |sealed| sealed.sealed.clone())
}
