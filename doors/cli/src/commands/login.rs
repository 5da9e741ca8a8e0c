//! `freehold login`, `logout` and `session`: from a password, an invite or a token to a credential of one's own,
//! kept per server in a file that nobody else may read.
//!
//! Invariant: what proves who somebody is comes from standard input or a hidden prompt, never an argument.

use super::secret_input;
use crate::{
    context::{self, Context, Contexts, Logins, same_server},
    failure::{Failure, Outcome},
    output::people,
    session::Session,
};
use freehold_client::Client;
use freehold_model::{
    Code,
    device_sign_in::{DevicePoll, DeviceState},
    people::{AcceptInvite, SignIn},
    secrets::Hidden,
};
use jiff::Timestamp;
use std::{path::Path, time::Duration};

/// Flags of `login`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without flags it shows a code and an address: whoever is signed in there with a browser, on any device, lets it in.
Passwords, invites and tokens are typed where nobody sees them, or come from standard input:

  freehold login --url https://home.example      by browser
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
    #[command(aliases = ["delete", "remove", "rm"])]
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
        // The link, or what stands behind its `#`.
        let given = answers.ask("Invite")?;
        let invite =
            Hidden::new(given.rsplit_once('#').map_or(given.as_str(), |(_, invite)| invite).to_owned());
        let password = answers.ask("New password")?;
        if answers.are_typed() && answers.ask("The same again")? != password {
            return Err(Failure::usage("the passwords differ: nothing was changed", "Try again."));
        }
        let accept = AcceptInvite { invite, password: Hidden::new(password) };
        said(nobody.accept_invite(&accept).await?.token)?
    } else if let Some(user) = args.user {
        let password = Hidden::new(answers.ask("Password")?);
        let mut wanted = SignIn { user, password, code: None, cookie: false };
        let signed_in = match nobody.sign_in(&wanted).await {
            Err(needed) if needed.code() == Code::SecondFactor => {
                wanted.code = Some(Hidden::new(answers.ask("Code of the second factor")?));
                nobody.sign_in(&wanted).await
            }
            other => other,
        };
        said(signed_in?.token)?
    } else {
        by_browser(&nobody).await?
    };
    // Only what lets somebody in is kept.
    let who = Client::new(&url, Some(&token))?.whoami().await?;
    let home = context::home()?;
    let mut logins = Logins::load(&home)?;
    logins.put(&url, token);
    logins.save(&home)?;
    let name = uses(&home, &url)?;
    session.out.show(&who, |who| {
        format!(
            "Signed in to {url} as {}\nCommands ask it from now on (context {name}).",
            people::whoami(who)
        )
    })
}

/// Has commands ask that server from now on; its context's name.
fn uses(home: &Path, url: &str) -> Outcome<String> {
    let mut contexts = Contexts::load(home)?;
    let known = contexts.iter().find(|(_, it)| same_server(&it.url, url)).map(|(name, _)| name.to_owned());
    let name = known.unwrap_or_else(|| {
        contexts.add(Context { url: url.trim_end_matches('/').to_owned(), token_file: None, token: None })
    });
    contexts.choose(&name)?;
    contexts.save(home)?;
    Ok(name)
}

/// Shows a code, and waits until somebody who is signed in with a browser, wherever that is, allowed it.
async fn by_browser(client: &Client) -> Outcome<String> {
    let asked = client.ask_to_sign_in().await?;
    eprintln!(
        "Open this address in a browser, on any device, and sign in there:\n\n  {}\n",
        asked.verification_uri_complete
    );
    eprintln!("Allow it there if it shows this code:  {}", asked.user_code);
    let poll = DevicePoll { device_code: asked.device_code };
    let mut interval = Duration::from_secs(asked.interval.clamp(1, 60));
    loop {
        tokio::time::sleep(interval).await;
        let polled = client.poll_sign_in(&poll).await?;
        match polled.state {
            DeviceState::AuthorizationPending => {}
            DeviceState::SlowDown => interval += Duration::from_secs(5),
            DeviceState::Allowed => return said(polled.signed_in.and_then(|it| it.token)),
        }
    }
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
