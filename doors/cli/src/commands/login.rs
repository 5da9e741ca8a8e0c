//! `freehold login`, `logout` and `session`: from a password, an invite or a token to a credential of one's own,
//! kept per server in a file that nobody else may read.
//!
//! Invariant: what proves who somebody is comes from standard input or a hidden prompt, never an argument.

use super::secret_input;
use crate::{
    context::{self, Logins},
    failure::{Failure, Outcome},
    output::people,
    session::Session,
};
use freehold_client::Client;
use freehold_model::{
    people::{AcceptInvite, SignIn},
    secrets::Hidden,
};
use jiff::Timestamp;

/// Flags of `login`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Passwords, invites and tokens are typed where nobody sees them, or come from standard input:

  freehold login --user ada                      asks for the password
  freehold login --url https://home.example --invite
  freehold login --with-token < token")]
pub(crate) struct LoginArgs {
    /// Signs in as this user, with their password.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["invite", "with_token"])]
    user: Option<String>,
    /// Takes an invite and chooses a password; from standard input: the invite, then the password, a line each.
    #[arg(long, conflicts_with = "with_token")]
    invite: bool,
    /// Keeps a token.
    #[arg(long)]
    with_token: bool,
}

/// What can be done with sessions.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists sessions: your own, or everybody's.
    List(ListArgs),
    /// Ends a session.
    Revoke(RevokeArgs),
}

/// Flags of `session list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Everybody's, for those who manage users.
    #[arg(long)]
    all: bool,
}

/// Which session.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// Its id.
    id: freehold_model::SessionId,
}

pub(crate) async fn login(args: LoginArgs, session: &Session) -> Outcome {
    let url = session.client.url().to_owned();
    let nobody = Client::new(&url, None)?;
    let mut answers = secret_input::Answers;
    let token = if args.with_token {
        answers.ask("Token")?
    } else if args.invite {
        let invite = Hidden::new(answers.ask("Invite")?);
        let password = answers.ask("New password")?;
        if answers.are_typed() && answers.ask("The same again")? != password {
            return Err(Failure::usage("the passwords differ: nothing was changed", "Try again."));
        }
        let accept = AcceptInvite { invite, password: Hidden::new(password) };
        said(nobody.accept_invite(&accept).await?.token)?
    } else {
        let hint = "Name yourself with --user, or use --invite or --with-token.";
        let user = args.user.ok_or_else(|| Failure::usage("who are you?", hint))?;
        let password = Hidden::new(answers.ask("Password")?);
        said(nobody.sign_in(&SignIn { user, password, cookie: false }).await?.token)?
    };
    // Only what lets somebody in is kept.
    let who = Client::new(&url, Some(&token))?.whoami().await?;
    let home = context::home()?;
    let mut logins = Logins::load(&home)?;
    logins.put(&url, token);
    logins.save(&home)?;
    session.out.show(&who, |who| format!("Signed in to {url} as {}", people::whoami(who)))
}

fn said(token: Option<Hidden>) -> Outcome<String> {
    let token = token.map(|token| token.expose().to_owned());
    token.ok_or_else(|| Failure::local("sign in", "the server answered without a token"))
}

/// Ends the session of the credential that is kept, and forgets it. A token is forgotten only.
pub(crate) async fn logout(session: &Session) -> Outcome {
    let url = session.client.url().to_owned();
    let home = context::home()?;
    let mut logins = Logins::load(&home)?;
    let Some(token) = logins.take(&url) else {
        return Err(Failure::not_found(
            format!("you are not signed in to {url}"),
            "`freehold whoami` says who you are there.",
        ));
    };
    let ended = Client::new(&url, Some(&token))?.sign_out().await;
    logins.save(&home)?;
    // One that ended by itself, and a token, have no session to end.
    match ended.map_err(Failure::from) {
        Ok(()) | Err(Failure::Problem(_)) => {
            session.out.show(&serde_json::json!({ "url": url }), |_| format!("Signed out of {url}."))
        }
        Err(other) => Err(other),
    }
}

pub(crate) async fn sessions(command: Command, session: &Session) -> Outcome {
    match command {
        Command::List(args) => {
            let sessions = session.client.sessions(args.all).await?;
            session.out.show(&sessions, |all| people::sessions(all, session.out.paint, Timestamp::now()))
        }
        Command::Revoke(args) => {
            session.client.revoke_session(args.id).await?;
            session
                .out
                .show(&serde_json::json!({ "id": args.id }), |_| format!("Session {} is over.", args.id))
        }
    }
}
