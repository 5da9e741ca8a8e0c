//! `freehold sso`: the other OpenID providers that people sign in to the house with. A client's secret comes from a file
//! or standard input, never from an argument.

use super::secret_input::Answers;
use crate::{
    failure::{Failure, Outcome},
    output::{table::Table, time},
    session::Session,
};
use freehold_model::{
    Name,
    secrets::Hidden,
    sso::{CheckedProvider, IdentityProviderSummary, SetIdentityProvider},
};
use jiff::Timestamp;
use std::{io::Read as _, path::PathBuf};

/// No client secret is longer.
const LONGEST: u64 = 4096;

/// What can be done with ways to sign in.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Sets a provider that people may sign in with, or changes it.
    Set(SetArgs),
    /// Lists the providers.
    List,
    /// Shows one: where it is, and what to enter there.
    Show(NameArg),
    /// Looks whether people could sign in with it, and says what is wrong.
    Check(NameArg),
    /// Removes one: nobody signs in with it any more. Sessions that are open last on.
    #[command(aliases = ["delete", "rm"])]
    Remove(RemoveArgs),
}

/// One of them.
#[derive(Debug, clap::Args)]
pub(crate) struct NameArg {
    /// Its name.
    name: Name,
}

/// Flags of `sso set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Register Freehold there first, as a confidential client (a web application) with the redirect URI
https://YOUR-ADDRESS/signin/with/NAME/callback, where YOUR-ADDRESS is what `freehold up --public-url` says. Then each
person links their account there on /account. Nobody is let in because of a name or an e-mail address.

Examples:
  freehold sso set google --title Google --issuer https://accounts.google.com \\
      --client-id 1234.apps.googleusercontent.com --client-secret-file secret.txt
  freehold sso set keycloak --issuer https://sso.home.example/realms/home --client-id freehold < secret.txt
  freehold sso check keycloak")]
pub(crate) struct SetArgs {
    /// Its name here: a part of the redirect URI.
    name: Name,
    /// Its address, letter by letter as it says it of itself.
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// The house's name there.
    #[arg(long, value_name = "ID")]
    client_id: String,
    /// The file that holds the client's secret; without this it is read from standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "keep_secret")]
    client_secret_file: Option<PathBuf>,
    /// Keeps the secret that is set.
    #[arg(long)]
    keep_secret: bool,
    /// How people call it, on the button; its name, without this.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
}

/// Flags of `sso remove`.
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// Its name.
    name: Name,
    /// Removes it even if somebody could not sign in any more.
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    let client = &session.client;
    match command {
        Command::Set(args) => set(args, session).await,
        Command::List => {
            let all = client.identity_providers().await?;
            session.out.show(&all, |all| table(all, session))
        }
        Command::Show(args) => {
            let one = client.identity_provider(args.name.as_str()).await?;
            session.out.show(&one, shown)
        }
        Command::Check(args) => {
            let found = client.check_identity_provider(args.name.as_str()).await?;
            session.out.show(&found, checked)?;
            if found.good { Ok(()) } else { Err(Failure::Said(UNHEALTHY)) }
        }
        Command::Remove(args) => {
            let one = client.identity_provider(args.name.as_str()).await?;
            client.remove_identity_provider(args.name.as_str(), args.force).await?;
            session.out.show(&one, |one| format!("Nobody signs in with {} any more.", one.title))
        }
    }
}

/// As in design §9.
const UNHEALTHY: u8 = 8;

async fn set(args: SetArgs, session: &Session) -> Outcome {
    let client_secret = match (&args.client_secret_file, args.keep_secret) {
        (_, true) => None,
        (Some(path), false) => Some(file(path)?),
        (None, false) => Some(Hidden::new(Answers.ask("Client secret")?)),
    };
    let wanted = SetIdentityProvider {
        issuer: args.issuer,
        client_id: args.client_id,
        client_secret,
        title: args.title,
    };
    let set = session.client.set_identity_provider(args.name.as_str(), &wanted).await?;
    session.out.show(&set, |set| {
        let text = shown(set);
        format!("{text}\n`freehold sso check {}` says whether people could sign in with it.", set.name)
    })
}

/// The one line of a file.
fn file(path: &PathBuf) -> Outcome<Hidden> {
    let failed = |error| Failure::local(format!("read {}", path.display()), error);
    let mut text = String::new();
    let opened = std::fs::File::open(path).map_err(failed)?;
    opened.take(LONGEST + 1).read_to_string(&mut text).map_err(failed)?;
    let whole = Hidden::new(text);
    match whole.expose().trim_end_matches(['\r', '\n']) {
        "" => Err(Failure::usage(
            format!("{} is empty", path.display()),
            "It holds the client's secret, and nothing else.",
        )),
        line if line.len() as u64 > LONGEST || line.contains('\n') => Err(Failure::usage(
            format!("{} holds more than a secret", path.display()),
            "It holds the client's secret on one line, and nothing else.",
        )),
        line => Ok(Hidden::new(line.to_owned())),
    }
}

fn shown(one: &IdentityProviderSummary) -> String {
    let redirect = one
        .redirect_uri
        .as_deref()
        .unwrap_or("(not known: start the server with --public-url, the address by which browsers reach it)");
    format!(
        "{} ({})\n  issuer        {}\n  client id     {}\n  redirect URI  {redirect}\n  linked by     {}",
        one.name,
        one.title,
        one.issuer,
        one.client_id,
        people(one.linked),
    )
}

fn people(count: u32) -> String {
    if count == 1 { "1 person".into() } else { format!("{count} people") }
}

fn checked(found: &CheckedProvider) -> String {
    if found.good {
        let keys = if found.keys == 1 { "1 key".into() } else { format!("{} keys", found.keys) };
        return format!(
            "People can sign in with {}: it takes this house for its client, and has published {keys} ({}).",
            found.name,
            found.algorithms.join(", ")
        );
    }
    let lines: Vec<String> = found.problems.iter().map(|problem| format!("- {problem}")).collect();
    format!("People cannot sign in with {}:\n{}", found.name, lines.join("\n"))
}

fn table(all: &[IdentityProviderSummary], session: &Session) -> String {
    let (mut table, now) =
        (Table::new(&["NAME", "TITLE", "ISSUER", "CLIENT ID", "LINKED", "CREATED"]), Timestamp::now());
    for one in all {
        table.row([
            one.name.as_str().into(),
            one.title.as_str().into(),
            one.issuer.as_str().into(),
            one.client_id.as_str().into(),
            one.linked.to_string().into(),
            time::ago(one.created, now).into(),
        ]);
    }
    table.render(
        session.out.paint,
        0,
        "People sign in with accounts of this house alone. `freehold sso set` adds another way.",
    )
}
