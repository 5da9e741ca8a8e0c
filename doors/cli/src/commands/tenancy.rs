//! `freehold org` and `freehold project`: listed and described like every kind, and made here.

use super::noun;
use crate::{failure::Outcome, session::Session};
use freehold_model::{
    Kind, Name,
    access::{CreateOrg, CreateProject},
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
    }
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
