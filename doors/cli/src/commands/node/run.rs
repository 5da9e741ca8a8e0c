//! `freehold node run`: runs what the house assigns to this machine.

use crate::{
    args::Globals,
    commands::up::{self, data_folder, name_server, write_log},
    failure::{Failure, Outcome},
    output::Out,
};
use freehold_daemon::{Ended, NodeOptions, NodeReady};
use freehold_runtime::rootless;
use std::{
    env,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// Flags of `node run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Agent and endpoints of this machine run in this one process until SIGTERM or Ctrl-C; SIGUSR2 starts the
program anew in its place. Nothing here listens for the control plane: it is dialled. While none answers, what
runs here goes on; it goes on without this process too, and is taken over again by the next start, unless
--stop-apps is given.

Examples:
  freehold node run
  freehold node run --data /srv/freehold --endpoints-on 192.168.1.9")]
pub(crate) struct Args {
    /// The data folder that this machine joined with [default: as `freehold up`].
    #[arg(long, value_name = "DIR", env = "FREEHOLD_DATA")]
    data: Option<PathBuf>,
    /// The addresses on which endpoints listen [default: all of this machine's].
    #[arg(long, value_name = "IP", num_args = 1..)]
    endpoints_on: Vec<IpAddr>,
    /// The name servers that are asked for names outside [default: those of /etc/resolv.conf].
    #[arg(long, value_name = "ADDR", num_args = 1.., value_parser = name_server)]
    dns: Vec<SocketAddr>,
    /// Stops instances too when Freehold stops.
    #[arg(long)]
    stop_apps: bool,
}

impl Args {
    /// As after joining into that folder.
    pub(crate) fn of(data: PathBuf) -> Args {
        Args { data: Some(data), endpoints_on: vec![], dns: vec![], stop_apps: false }
    }
}

pub(crate) fn run(args: Args, globals: &Globals) -> Outcome {
    write_log();
    let options = NodeOptions {
        data: data_folder(args.data)?,
        endpoints_on: args.endpoints_on,
        name_servers: args.dns,
        stop_apps: args.stop_apps,
    };
    let program = env::current_exe().map_err(|error| Failure::local("find this program's file", error))?;
    // Without root: before there is any thread.
    rootless::enter(&options.data).map_err(|error| Failure::local("start without root", error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local("start", error))?;
    let out = Out::new(globals.json);
    let served = runtime
        .block_on(freehold_daemon::run_node(options, |ready| announce(ready, out).map_err(up::as_error)));
    runtime.shutdown_background();
    match served.map_err(|error| Failure::local("run the node", format!("{error:#}")))? {
        Ended::Stopped => Ok(()),
        Ended::Renew => Err(Failure::local("start the new version", up::start_again(&program))),
    }
}

fn announce(ready: &NodeReady, out: Out) -> Outcome {
    let told = serde_json::json!({ "node": ready.node, "name": ready.name, "control": ready.urls });
    out.show(&told, |_| {
        let good = out.paint.good("✓");
        format!("{good} Node {} runs; its control planes: {}.", ready.name, ready.urls.join(", "))
    })
}
