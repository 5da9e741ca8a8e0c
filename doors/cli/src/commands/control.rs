//! `freehold control`: runs a control plane without a node, and lists those there are.

use super::up::{self, StoreUrl, node_url};
use crate::{
    args::Globals,
    failure::{Failure, Outcome},
    output::{
        Paint, Tone,
        table::{Table, cell},
        time,
    },
    session::Session,
};
use freehold_daemon::{Options, Role};
use freehold_model::{
    Network, PublicUrl,
    controls::{ControlPlane, ControlPlanes, ControlState},
    tasks::{BackgroundTasks, TaskState},
};
use jiff::Timestamp;
use std::{net::SocketAddr, path::PathBuf};

/// Flags of `control`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
API, registry and reconcilers run in this process until SIGTERM or Ctrl-C, without a node. Several work on one
PostgreSQL database at once, beside one `freehold up`: each answers for all, each reconciler runs in one of
them at a time, and when that one dies another goes on within 5 s.
All need the same root key: copy keys/secrets.key and token from the first one's data folder.
docs/high-availability.md says the rest.

Examples:
  freehold control run --store postgres:///freehold?host=/run/postgresql --data /srv/freehold-2 --listen 0.0.0.0:7217
  freehold control list
  freehold control tasks")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Box<Run>,
}

/// What can be asked about control planes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Runs a control plane on this machine until it is told to stop.
    Run(Box<Run>),
    /// Lists control planes: which live, and what each leads since when.
    List,
    /// Lists what the control plane that answers does in the background: runs, failures, restarts, what hangs.
    Tasks,
}

/// How to run one.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Where this control plane keeps its key, its token and its images; one folder for each.
    #[arg(long, value_name = "DIR", env = "FREEHOLD_DATA")]
    data: Option<PathBuf>,
    /// The PostgreSQL database that all share [default: SQLite within the data folder, for one alone].
    #[arg(long, value_name = "URL", env = "FREEHOLD_STORE", hide_env_values = true)]
    store: Option<StoreUrl>,
    /// Where the API and the image registry are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7117")]
    listen: SocketAddr,
    /// Where nodes that joined are served, over TLS with their certificates [default: nowhere].
    #[arg(long, value_name = "ADDR")]
    node_listen: Option<SocketAddr>,
    /// Where nodes reach --node-listen, as https://HOST:PORT: told to them, so that they find every control plane
    /// [default: that address, or this machine's].
    #[arg(long, value_name = "URL", requires = "node_listen", value_parser = node_url)]
    node_url: Option<String>,
    /// The address by which browsers and apps reach this house: the same for all control planes.
    #[arg(long, value_name = "URL", env = "FREEHOLD_PUBLIC_URL")]
    public_url: Option<PublicUrl>,
    /// The proxies in front of --listen that speak the PROXY protocol, by address or network: they say who the
    /// client is, and connections from them must begin with that.
    #[arg(long, value_name = "NETWORK", num_args = 1..)]
    trusted_proxy: Vec<Network>,
}

impl Args {
    /// Whether it runs one here.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.command, None | Some(Command::Run(_)))
    }
}

/// Runs a control plane until it is told to stop.
pub(crate) fn run_here(args: Args, globals: &Globals) -> Outcome {
    let run = match args.command {
        Some(Command::Run(run)) => run,
        // The old form, which says where to run; without that, it would start one by mistake.
        _ if args.run.store.is_some() || args.run.data.is_some() => args.run,
        _ => {
            return Err(Failure::usage(
                "which control plane?",
                "`freehold control list` shows those there are, `freehold control run` runs one here.",
            ));
        }
    };
    let options = Options {
        role: Role::Control,
        data: up::data_folder(run.data)?,
        store: run.store.as_ref().map(StoreUrl::options).transpose()?,
        listen: run.listen,
        node_listen: run.node_listen,
        node_url: run.node_url,
        public_url: run.public_url,
        trusted_proxies: up::trusted_proxies(run.trusted_proxy, run.listen)?,
        endpoints_on: vec![],
        name_servers: vec![],
        instances_range: None,
        stop_apps: false,
    };
    up::serve(options, globals)
}

/// Lists control planes, or the background tasks of the one that answers.
pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    if matches!(args.command, Some(Command::Tasks)) {
        let tasks = session.client.tasks().await?;
        return session.out.show(&tasks, |tasks| render_tasks(tasks, Timestamp::now(), session.out.paint));
    }
    let planes = session.client.controls().await?;
    session.out.show(&planes, |planes| render(planes, Timestamp::now(), session.out.paint))
}

fn render(planes: &ControlPlanes, now: Timestamp, paint: Paint) -> String {
    let mut table = Table::new(&["NAME", "STATE", "SINCE", "VERSION", "NODE", "ADDRESS", "LEADS"]);
    for plane in &planes.items {
        let (state, tone) = match plane.state {
            ControlState::Live => ("live", Tone::Good),
            ControlState::Silent => ("silent", Tone::Bad),
            ControlState::Stopped => ("stopped", Tone::Dim),
        };
        let name = if plane.answers { format!("{} (answers)", plane.name) } else { plane.name.clone() };
        let node = if plane.node { "yes" } else { "no" };
        table.row([
            name.into(),
            cell(state, tone),
            time::ago(plane.since, now).into(),
            plane.version.as_str().into(),
            node.into(),
            plane.url.as_str().into(),
            leads(plane, now).into(),
        ]);
    }
    table.render(paint, 0, "No control plane has been seen yet.")
}

fn leads(plane: &ControlPlane, now: Timestamp) -> String {
    let led = plane.leads.iter().map(|led| format!("{} (since {})", led.lease, time::ago(led.since, now)));
    let led: Vec<String> = led.collect();
    if led.is_empty() { "-".into() } else { led.join(", ") }
}

fn render_tasks(tasks: &BackgroundTasks, now: Timestamp, paint: Paint) -> String {
    let mut table =
        Table::new(&["TASK", "STATE", "EVERY", "LAST", "TOOK", "RUNS", "FAILED", "RESTARTS", "LAG"]);
    for task in &tasks.items {
        let (state, tone) = match task.state {
            TaskState::Running => ("running", Tone::Good),
            TaskState::Idle => ("idle", Tone::Good),
            TaskState::Follower => ("follower", Tone::Dim),
            TaskState::Restarting => ("restarting", Tone::Note),
            TaskState::Stuck => ("stuck", Tone::Bad),
        };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let last = task.last.as_ref();
        table.row([
            task.name.as_str().into(),
            cell(state, tone),
            or_dash(task.period.map(|seconds| format!("{seconds}s"))).into(),
            or_dash(last.map(|last| time::ago(last.ended, now))).into(),
            or_dash(last.map(|last| format!("{} ms", last.took))).into(),
            task.runs.to_string().into(),
            task.failures.to_string().into(),
            task.restarts.to_string().into(),
            or_dash(task.lag.map(|lag| lag.to_string())).into(),
        ]);
    }
    let mut text = table.render(paint, 0, "Nothing runs in the background.");
    for task in &tasks.items {
        let failed = task.last.as_ref().and_then(|last| Some((&last.reason, last.error.as_ref()?)));
        if let Some((reason, error)) = failed {
            text.push_str(&format!("\n{}: the last run ({reason}) failed: {error}", task.name));
        }
        if let Some(trouble) = &task.trouble {
            text.push_str(&format!("\n{}: {trouble}", task.name));
        }
    }
    text
}
