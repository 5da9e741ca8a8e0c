//! `freehold user`: people, invited by link or text, with roles at orgs and projects.

mod passkeys;

use super::{noun::NameArgs, terminal::confirmed};
use crate::{
    failure::{Failure, Outcome},
    output::{Paint, people},
    session::Session,
};
use freehold_model::{
    Name, Role,
    access::NamedBinding,
    people::{CreateUser, Invited, SetRole, UserSummary},
};
use jiff::Timestamp;

/// What can be done with users.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a user, and shows the invite with which they choose a password.
    #[command(after_help = "\
Examples:
  freehold user create ada --role developer               for the project `default`
  freehold user create bob --role admin --org home        for a whole org
It prints a link that opens in a browser; or they type: freehold login --url URL --invite")]
    Create(CreateArgs),
    /// Lists users: what they may do where, and whether they can sign in.
    List,
    /// Shows one user.
    Describe(NameArgs),
    /// Removes a user, with all their sessions.
    #[command(aliases = ["remove", "rm"])]
    Delete(DeleteArgs),
    /// Gives a user a role at a place, or takes it away.
    #[command(after_help = "\
Examples:
  freehold user role ada --give admin --project shop
  freehold user role ada --take --org home")]
    Role(RoleArgs),
    /// Makes another invite, as for a password that was forgotten; unlocks the account.
    Invite(NameArgs),
    /// Unlocks an account that too many wrong passwords locked.
    Unlock(NameArgs),
    /// Takes a user's second factor away, as for a phone that was lost, and ends their sessions.
    ResetSecondFactor(NameArgs),
    /// Lists a user's passkeys, or takes one away, as for a device that was lost, and ends their sessions.
    #[command(after_help = "\
Examples:
  freehold user passkeys ada
  freehold user passkeys ada --remove \"my phone\"
People add theirs in a browser, on the page /account.")]
    Passkeys(passkeys::Args),
}

/// Flags of `user create`.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// What they sign in as.
    name: Name,
    /// How people call them.
    #[arg(long, value_name = "NAME")]
    full_name: Option<String>,
    /// What they may do: owner, admin, developer or viewer.
    #[arg(long)]
    role: Option<Role>,
    /// For this org as a whole.
    #[arg(long, value_name = "ORG", conflicts_with = "project", requires = "role")]
    org: Option<Name>,
}

/// Flags of `user delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// Their name.
    name: String,
    /// Does not ask.
    #[arg(short = 'y', long)]
    yes: bool,
}

/// Flags of `user role`.
#[derive(Debug, clap::Args)]
pub(crate) struct RoleArgs {
    /// Their name.
    name: Name,
    /// The role that they have from now on.
    #[arg(long, value_name = "ROLE", required_unless_present = "take")]
    give: Option<Role>,
    /// Takes their role there away.
    #[arg(long, conflicts_with = "give")]
    take: bool,
    /// At this org as a whole.
    #[arg(long, value_name = "ORG", conflicts_with = "project")]
    org: Option<Name>,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::Create(args) => create(args, session).await,
        Command::List => {
            let users = session.client.users().await?;
            session.out.show(&users, |all| people::users(all, session.out.paint, Timestamp::now()))
        }
        Command::Describe(args) => {
            let user = find(args.name(), session).await?;
            session.out.show(&user, |user| people::user(user, Timestamp::now()))
        }
        Command::Delete(args) => {
            let user = find(&args.name, session).await?;
            if !args.yes {
                confirmed(&format!("removing the user {} with all their sessions", user.name), &user.name)?;
            }
            session.client.delete_user(user.id).await?;
            session.out.show(&user, |user| format!("User {} is removed; their sessions are over.", user.name))
        }
        Command::Role(args) => {
            let project = session.globals.project.clone();
            let wanted = SetRole { user: args.name, role: args.give, org: args.org, project };
            let user = session.client.set_role(&wanted).await?;
            session.out.show(&user, |user| format!("{}: {}", user.name, people::bindings(&user.bindings)))
        }
        Command::Invite(args) => {
            let user = find(args.name(), session).await?;
            show(session.client.invite_user(user.id).await?, session)
        }
        Command::Unlock(args) => {
            let user = find(args.name(), session).await?;
            let user = session.client.unlock_user(user.id).await?;
            session.out.show(&user, |user| format!("{} can sign in again.", user.name))
        }
        Command::Passkeys(args) => passkeys::run(args, session).await,
        Command::ResetSecondFactor(args) => {
            let user = find(args.name(), session).await?;
            let user = session.client.reset_second_factor(user.id).await?;
            session.out.show(&user, |user| {
                format!("{} signs in with the password alone, until they set up another.", user.name)
            })
        }
    }
}

async fn create(args: CreateArgs, session: &Session) -> Outcome {
    let project = session.globals.project.clone();
    let binding = args.role.map(|role| NamedBinding { role, org: args.org, project });
    let bindings = binding.into_iter().collect();
    let wanted = CreateUser { name: args.name, full_name: args.full_name, bindings };
    show(session.client.create_user(&wanted).await?, session)
}

fn show(invited: Invited, session: &Session) -> Outcome {
    let url = session.client.url().to_owned();
    let invited = invited.linked(&url);
    session.out.show(&invited, |invited| {
        let name = &invited.user.name;
        let note = format!(
            "Invite of {name} ({}), good once, until {}. Give them this link in private; it opens in a browser,\nor they type  freehold login --url {url} --invite  and paste it.",
            people::bindings(&invited.user.bindings),
            invited.expires.strftime("%Y-%m-%d %H:%M UTC")
        );
        eprintln!("{}", Paint::stderr().dim(&note));
        invited.link.as_ref().unwrap_or(&invited.invite).expose().to_owned()
    })
}

async fn find(text: &str, session: &Session) -> Outcome<UserSummary> {
    let all = session.client.users().await?;
    all.into_iter().find(|user| user.name == text || user.id.to_string() == text).ok_or_else(|| {
        let title = format!("there is no user called `{text}`");
        Failure::not_found(title, "`freehold user list` shows who there is.")
    })
}
