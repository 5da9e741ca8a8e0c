//! `freehold user passkeys NAME`: which somebody has, and taking one away.

use super::find;
use crate::{
    commands::terminal::confirmed,
    failure::{Failure, Outcome},
    output::people,
    session::Session,
};
use jiff::Timestamp;

/// Flags of `user passkeys`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Their name.
    name: String,
    /// Takes this one away, by its name or its id, and ends their sessions.
    #[arg(long, value_name = "PASSKEY")]
    remove: Option<String>,
    /// Does not ask.
    #[arg(short = 'y', long, requires = "remove")]
    yes: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let user = find(&args.name, session).await?;
    let all = session.client.passkeys(user.id).await?;
    let Some(wanted) = args.remove else {
        return session.out.show(&all, |all| people::passkeys(all, session.out.paint, Timestamp::now()));
    };
    let found = all.into_iter().find(|it| it.name == wanted || it.id == wanted).ok_or_else(|| {
        let title = format!("{} has no passkey called `{wanted}`", user.name);
        Failure::not_found(title, format!("`freehold user passkeys {}` lists them.", user.name))
    })?;
    if !args.yes {
        let what = format!("taking the passkey {} from {}, whose sessions end", found.name, user.name);
        confirmed(&what, &found.name)?;
    }
    let removed = session.client.remove_passkey(user.id, &found.id).await?;
    session.out.show(&removed, |removed| {
        format!("The passkey {} signs nobody in any more; {}'s sessions are over.", removed.name, user.name)
    })
}
