//! `freehold org` and `freehold project`: listed and described like every kind, and made here.

use super::noun;
use crate::{failure::Outcome, session::Session};
use freehold_model::{
    Kind, Name,
    access::{CreateOrg, CreateProject, RequireSecondFactor},
};

/// What can be done with orgs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum OrgCommand {
    /// Lists them.
    List,
    /// Explains one: what is wanted, what is so, why they differ, what happened.
    Describe(noun::NameArgs),
    /// Makes an org, whose people see nothing of other orgs.
    Create(OrgArgs),
    /// Says whether its people need a second factor or a passkey.
    #[command(after_help = "\
Who has neither is kept out of all of it until they add one on the page /account; tokens of machines go on.

Examples:
  freehold org second-factor home --require
  freehold org second-factor home --optional")]
    SecondFactor(SecondFactorArgs),
}

/// Flags of `org second-factor`.
#[derive(Debug, clap::Args)]
pub(crate) struct SecondFactorArgs {
    /// The org.
    name: Name,
    /// They need one.
    #[arg(long, required_unless_present = "optional")]
    require: bool,
    /// They do not.
    #[arg(long, conflicts_with = "require")]
    optional: bool,
}

/// What can be done with projects.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ProjectCommand {
    /// Lists them.
    List,
    /// Explains one: what is wanted, what is so, why they differ, what happened.
    Describe(noun::NameArgs),
    /// Makes a project.
    Create(ProjectArgs),
}

/// Which.
#[derive(Debug, clap::Args)]
pub(crate) struct OrgArgs {
    /// Its name.
    name: Name,
}

/// Which, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct ProjectArgs {
    /// Its name, which no other project of the house has.
    name: Name,
    /// The org [default: the house's own].
    #[arg(long, value_name = "ORG")]
    org: Option<Name>,
}

pub(crate) async fn run_org(command: OrgCommand, session: &Session) -> Outcome {
    match command {
        OrgCommand::List => noun::run(Kind::Org, noun::Command::List, session).await,
        OrgCommand::Describe(args) => noun::run(Kind::Org, noun::Command::Describe(args), session).await,
        OrgCommand::Create(args) => {
            let made = session.client.create_org(&CreateOrg { name: args.name }).await?;
            session.out.show(&made, |org| format!("Org {} is made ({}).", org.name, org.id))
        }
        OrgCommand::SecondFactor(args) => second_factor(args, session).await,
    }
}

async fn second_factor(args: SecondFactorArgs, session: &Session) -> Outcome {
    let org = session.find_named(Kind::Org, args.name.as_str()).await?;
    let wanted = RequireSecondFactor { required: args.require };
    let policy = session.client.require_second_factor(org, &wanted).await?;
    session.out.show(&policy, |policy| match (policy.required, policy.without.as_slice()) {
        (false, _) => format!("The people of {} need no second factor.", args.name),
        (true, []) => format!("The people of {} need a second factor or a passkey; all have one.", args.name),
        (true, without) => format!(
            "The people of {} need a second factor or a passkey. Kept out until they add one on the page /account: {}.",
            args.name,
            without.join(", ")
        ),
    })
}

pub(crate) async fn run_project(command: ProjectCommand, session: &Session) -> Outcome {
    match command {
        ProjectCommand::List => noun::run(Kind::Project, noun::Command::List, session).await,
        ProjectCommand::Describe(args) => {
            noun::run(Kind::Project, noun::Command::Describe(args), session).await
        }
        ProjectCommand::Create(args) => {
            let wanted = CreateProject { name: args.name, org: args.org };
            let made = session.client.create_project(&wanted).await?;
            session.out.show(&made, |project| format!("Project {} is made ({}).", project.name, project.id))
        }
    }
}
