//! `freehold node token`: making, listing and taking back join tokens.
//!
//! A token is shown once, by the command that makes it, on standard output, to be carried to the machine that
//! is to join.

use crate::{
    failure::{Failure, Outcome},
    output::{table::Table, time},
    session::Session,
};
use freehold_model::{
    JoinTokenId, MachineKind, Millis, Name,
    controls::ControlState,
    join::{CreateJoinToken, JoinTokenSummary},
};
use jiff::Timestamp;

/// What can be done with join tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes one, and prints it: the only time that it is shown.
    Create(CreateArgs),
    /// Lists them, the newest first; never the tokens themselves.
    List,
    /// Takes one back, so that nobody can join with it.
    #[command(aliases = ["delete", "remove", "rm"])]
    Revoke(RevokeArgs),
}

/// Flags of `node token create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  freehold node token create                      for one node, within an hour
  freehold node token create --ttl 10m --name nas
  freehold node token create | ssh nas 'freehold node join https://home:7118 --token-file /dev/stdin'")]
pub(crate) struct CreateArgs {
    /// What may join with it: node, gateway or device.
    #[arg(long, default_value = "node")]
    kind: MachineKind,
    /// For how long it can be used, like 10m or 24h [default: 1h; at most 30d].
    #[arg(long)]
    ttl: Option<Millis>,
    /// The only name that a machine may join with.
    #[arg(long)]
    name: Option<Name>,
}

/// Flags of `node token revoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// The token's id, as `list` shows it. Not the token.
    id: String,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::Create(args) => create(args, session).await,
        Command::List => {
            let tokens = session.client.join_tokens().await?;
            session.out.show(&tokens, |tokens| table(tokens, session))
        }
        Command::Revoke(args) => revoke(args, session).await,
    }
}

async fn create(args: CreateArgs, session: &Session) -> Outcome {
    let wanted = CreateJoinToken { machine: args.kind, ttl: args.ttl, name: args.name };
    let made = session.client.create_join_token(&wanted).await?;
    if !session.out.json {
        let about = &made.about;
        let name = about.only.as_ref().map(|only| format!(" called {only}")).unwrap_or_default();
        eprintln!("For one {}{name}, until {}. It is shown this once.", about.machine, about.expires);
        eprintln!("{}", how_to_join(about.machine, session).await);
    }
    session.out.show(&made, |made| made.token.expose().to_owned())
}

/// The command for the machine that is to join, with the addresses by which it reaches this house.
async fn how_to_join(machine: MachineKind, session: &Session) -> String {
    let planes = session.client.controls().await.map(|planes| planes.items).unwrap_or_default();
    let live = planes.iter().filter(|plane| plane.state == ControlState::Live);
    let urls: Vec<&str> = live.filter_map(|plane| plane.node_url.as_deref()).collect();
    match urls.is_empty() {
        true => "No control plane has a door for machines yet: start one with `freehold up --node-listen 0.0.0.0:7118`.".into(),
        false => format!(
            "On the machine that is to join, as root, with the token in a file:\n\n    freehold {machine} join {} --token-file FILE\n",
            urls.join(" ")
        ),
    }
}

async fn revoke(args: RevokeArgs, session: &Session) -> Outcome {
    // What cannot be an id may be the token itself: it is not repeated.
    let id: JoinTokenId = args.id.parse().map_err(|_| {
        Failure::usage("that is no id of a join token", "`freehold node token list` shows them: jtk_…")
    })?;
    let token = session.client.revoke_join_token(id).await?;
    session.out.show(&token, |token| format!("{} is {}.", token.id, token.state.name()))
}

fn table(tokens: &[JoinTokenSummary], session: &Session) -> String {
    let (mut table, now) =
        (Table::new(&["ID", "FOR", "NAME", "STATE", "CREATED", "EXPIRES", "NODE"]), Timestamp::now());
    for one in tokens {
        table.row([
            one.id.to_string().into(),
            one.machine.name().into(),
            one.only.as_ref().map(Name::to_string).unwrap_or_default().into(),
            one.state.name().into(),
            time::ago(one.created, now).into(),
            time::ago(one.expires, now).into(),
            one.node.map(|node| node.to_string()).unwrap_or_default().into(),
        ]);
    }
    table.render(session.out.paint, 0, "no join tokens; `freehold node token create` makes one")
}
