//! `freehold ca`: the certificate authority that certifies the machines of the house.

use crate::{
    failure::Outcome,
    output::{table::Table, time},
    session::Session,
};
use freehold_model::join::{AuthoritySummary, CaSummary, Rotate, Rotation};
use jiff::Timestamp;

/// What can be done with the certificate authority.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Shows which roots are trusted, what issues, and who depends on what.
    Status,
    /// Prints the trusted roots as PEM, for other programs that are to trust the house.
    Roots,
    /// Replaces the intermediate, which issues certificates; nobody notices.
    RotateIntermediate,
    /// Replaces the root, and the intermediate with it; the old one is trusted until nobody depends on it.
    #[command(after_help = "\
Nothing is cut: the new root is certified by the old one too, and running nodes fetch it within a minute. The
old root is dropped by itself once every node was seen to use a certificate under the new one, and no usable
join token names it. `freehold ca status` shows who is missing: a node that is switched off keeps the old
root until it is back, removed or revoked.")]
    RotateRoot,
    /// Drops old roots that nobody depends on, which happens by itself too.
    Retire(RetireArgs),
}

/// Flags of `ca retire`.
#[derive(Debug, clap::Args)]
pub(crate) struct RetireArgs {
    /// Drops them at once: nodes that did not fetch the new root yet must join anew.
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    let rotate = |what, force| Rotate { what, force };
    let authority = match command {
        Command::Status | Command::Roots => session.client.authority().await?,
        Command::RotateIntermediate => {
            session.client.rotate_authority(&rotate(Rotation::Intermediate, false)).await?
        }
        Command::RotateRoot => session.client.rotate_authority(&rotate(Rotation::Root, false)).await?,
        Command::Retire(ref args) => {
            session.client.rotate_authority(&rotate(Rotation::Nothing, args.force)).await?
        }
    };
    if matches!(command, Command::Roots) {
        return session.out.show(&authority, |all| {
            all.roots.iter().map(|one| one.certificate.trim_end()).collect::<Vec<_>>().join("\n")
        });
    }
    session.out.show(&authority, |authority| table(authority, session))
}

fn table(authority: &AuthoritySummary, session: &Session) -> String {
    let (mut table, now) =
        (Table::new(&["WHAT", "NUMBER", "STATE", "KEY", "CREATED", "UNTIL", "NEEDED BY"]), Timestamp::now());
    let mut add = |what: &'static str, one: &CaSummary| {
        let state = match (what, one.signs) {
            (_, true) => "signs",
            ("root", false) => "trusted",
            (_, false) => "old",
        };
        table.row([
            what.into(),
            one.number.to_string().into(),
            state.into(),
            one.fingerprint.to_string()[..16].into(),
            time::ago(one.created, now).into(),
            one.not_after.to_string()[..10].into(),
            shortened(&one.needed_by).into(),
        ]);
    };
    authority.roots.iter().for_each(|one| add("root", one));
    authority.intermediates.iter().for_each(|one| add("intermediate", one));
    format!("house: {}\n{}", authority.house, table.render(session.out.paint, 0, ""))
}

/// A few names, and how many more.
fn shortened(names: &[String]) -> String {
    match names {
        [] => "nobody".into(),
        few if few.len() <= 3 => few.join(", "),
        many => format!("{}, and {} more", many[..3].join(", "), many.len() - 3),
    }
}
