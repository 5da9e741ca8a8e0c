//! `freehold quota`: what orgs and projects may use together, and what they use.

use crate::{
    failure::{Failure, Outcome},
    output::{Paint, table::Table},
    session::Session,
};
use freehold_model::{Bytes, Code, Kind, Millicores, Name, Problem, Quota, QuotaReport, Rate};
use std::fmt::Display;

/// What can be done with quotas.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists orgs and projects: what they use of what they may.
    List,
    /// Sets the quota of a project or an org; a limit that is not given stays as it is.
    Set(SetArgs),
}

/// Flags of `quota set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A project's quota is set by an admin of its org, an org's by an admin of the house. What runs stays, even if it is
more than the new quota; nothing more is let in.

Examples:
  freehold quota set --project shop --memory 8GiB --instances 20
  freehold quota set --org guests --cpu 4 --bytes 500GiB
  freehold quota set --org home --rate 6000/min
  freehold quota set --project shop --priority 500
  freehold quota set --project shop --none")]
pub(crate) struct SetArgs {
    /// Of this org.
    #[arg(long, value_name = "ORG", conflicts_with = "project")]
    org: Option<Name>,
    /// Processor time of all instances, as in 4 or 500m.
    #[arg(long)]
    cpu: Option<Millicores>,
    /// Memory of all instances, as in 8GiB.
    #[arg(long)]
    memory: Option<Bytes>,
    /// How many instances.
    #[arg(long, value_name = "COUNT")]
    instances: Option<u32>,
    /// How many volumes.
    #[arg(long, value_name = "COUNT")]
    volumes: Option<u32>,
    /// What all volumes may hold, as in 500GiB.
    #[arg(long)]
    bytes: Option<Bytes>,
    /// How many requests each token and each person may make, as in 6000/min; of the house's org alone.
    #[arg(long, value_name = "COUNT/TIME")]
    rate: Option<Rate>,
    /// The highest priority that processes may have, -1000 to 1000; of a project 0 where nothing is said.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    priority: Option<i32>,
    /// Lifts every limit that is not given.
    #[arg(long)]
    none: bool,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::List => {
            let all = session.client.quotas().await?;
            session.out.show(&all, |all| table(all, session.out.paint))
        }
        Command::Set(args) => set(args, session).await,
    }
}

async fn set(args: SetArgs, session: &Session) -> Outcome {
    let SetArgs { org, cpu, memory, instances, volumes, bytes, rate, priority, none } = args;
    let (kind, name) = match (&org, &session.globals.project) {
        (Some(org), _) => (Kind::Org, org),
        (None, Some(project)) => (Kind::Project, project),
        (None, None) => {
            return Err(Failure::usage("whose quota is not said", "Give --project NAME or --org NAME."));
        }
    };
    let given = Quota { cpu, memory, instances, volumes, bytes, rate, priority };
    if given.is_empty() && !none {
        return Err(Failure::usage("no limit is given", "Give one, as in --memory 8GiB, or --none."));
    }
    let all = session.client.quotas().await?;
    let found = all.into_iter().find(|one| one.id.kind == kind && one.name == name.as_str());
    let found = found.ok_or_else(|| {
        let problem = Problem::new(Code::NotFound, format!("There is no {kind} `{name}`."));
        Failure::Problem(problem.hint("`freehold quota list` shows those that there are."))
    })?;
    let before = if none { Quota::default() } else { found.quota };
    let wanted = Quota {
        cpu: cpu.or(before.cpu),
        memory: memory.or(before.memory),
        instances: instances.or(before.instances),
        volumes: volumes.or(before.volumes),
        bytes: bytes.or(before.bytes),
        rate: rate.or(before.rate),
        priority: priority.or(before.priority),
    };
    let quota = session.client.set_quota(found.id, &wanted).await?;
    let report = QuotaReport { quota, ..found };
    session.out.show(&report, |report| table(std::slice::from_ref(report), session.out.paint))
}

fn table(all: &[QuotaReport], paint: Paint) -> String {
    let mut table = Table::new(&[
        "KIND",
        "NAME",
        "CPU",
        "MEMORY",
        "INSTANCES",
        "VOLUMES",
        "BYTES IN VOLUMES",
        "REQUESTS",
        "PRIORITY",
    ]);
    for QuotaReport { id, name, quota, used } in all {
        table.row([
            id.kind.to_string().into(),
            name.clone().into(),
            of(used.cpu, quota.cpu).into(),
            of(used.memory, quota.memory).into(),
            of(used.instances, quota.instances).into(),
            of(used.volumes, quota.volumes).into(),
            of(used.bytes, quota.bytes).into(),
            quota.rate.map(|rate| rate.to_string()).unwrap_or_default().into(),
            quota.priority.map(|priority| format!("up to {priority}")).unwrap_or_default().into(),
        ]);
    }
    table.render(paint, 0, "no orgs or projects")
}

fn of<T: Display>(used: T, limit: Option<T>) -> String {
    limit.map_or_else(|| used.to_string(), |limit| format!("{used} of {limit}"))
}
