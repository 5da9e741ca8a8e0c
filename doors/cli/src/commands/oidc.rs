//! `freehold oidc`: the apps that people sign in to through the house, and the keys that sign.

use crate::{
    failure::Outcome,
    output::{table::Table, time},
    session::Session,
};
use freehold_model::oidc::{ClientSummary, RotateSigningKeys, SigningKeySummary};
use jiff::Timestamp;

/// What can be done with signing in to apps.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists the apps that people sign in to; an app's manifest says so, by `[sign_in]`.
    Clients,
    /// Lists the keys that sign ID tokens.
    Keys,
    /// Makes a new key that signs ID tokens; apps fetch it by themselves.
    #[command(after_help = "\
A new key is made every 30 days without this. What older ones signed can be verified for a day yet.")]
    RotateKeys(RotateArgs),
}

/// Flags of `oidc rotate-keys`.
#[derive(Debug, clap::Args)]
pub(crate) struct RotateArgs {
    /// Withdraws older keys at once, as after a theft: what they signed counts nowhere any more.
    #[arg(long)]
    withdraw: bool,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    let keys = match command {
        Command::Clients => {
            let all = session.client.oidc_clients().await?;
            return session.out.show(&all, |all| clients(all, session));
        }
        Command::Keys => session.client.oidc_keys().await?,
        Command::RotateKeys(args) => {
            session.client.rotate_oidc_keys(&RotateSigningKeys { withdraw: args.withdraw }).await?
        }
    };
    session.out.show(&keys, |keys| key_table(keys, session))
}

fn clients(all: &[ClientSummary], session: &Session) -> String {
    let mut table = Table::new(&["CLIENT ID", "RELEASE", "PROCESS", "SIGNED IN", "REDIRECT"]);
    for one in all {
        table.row([
            one.client_id.as_str().into(),
            format!("v{}", one.release).into(),
            one.process.to_string().into(),
            one.signed_in.to_string().into(),
            one.redirect.join(" ").into(),
        ]);
    }
    table.render(session.out.paint, 0, "People sign in to no app: a manifest asks for it by [sign_in].")
}

fn key_table(keys: &[SigningKeySummary], session: &Session) -> String {
    let (mut table, now) = (Table::new(&["KEY", "STATE", "CREATED"]), Timestamp::now());
    for one in keys {
        let state = if one.signs { "signs" } else { "published" };
        table.row([one.kid.as_str().into(), state.into(), time::ago(one.created, now).into()]);
    }
    table.render(session.out.paint, 0, "")
}
