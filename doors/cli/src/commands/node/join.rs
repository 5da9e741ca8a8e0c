//! `freehold node join`: makes this machine a node of a house.
//!
//! The key is made here and stays here. Nothing is said to a server before its certificate was found to lead
//! to the root that the token names. Interrupted, the same command with the same token goes on.

use crate::{
    args::Globals,
    commands::up::data_folder,
    failure::{Failure, Outcome},
    output::Out,
};
use freehold_client::ClientError;
use freehold_identity::{JoinTokenText, MachineKey, Membership};
use freehold_model::{
    Code, MachineKind, Name, Problem,
    join::{JoinRequest, Joined, PROTOCOL},
    secrets::Hidden,
};
use std::{error::Error, fs, io::Read as _, path::PathBuf};

/// Flags of `node join`. The token is the global `--token`: others of the machine may read arguments, so
/// rather give it in a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Make the token on the control plane: `freehold node token create`. It holds the fingerprint of the house's
root, so this machine knows the server before it says anything to it.

Examples:
  freehold node join https://home:7118 --token-file token --name nas
  FREEHOLD_TOKEN=fhj_… freehold node join https://home:7118 --enrol-only")]
pub(crate) struct Args {
    /// Where control planes answer nodes, as --node-listen says there: https://HOST:PORT, one or several. The node
    /// learns of the others by itself; these it tries always.
    #[arg(value_name = "URL[,URL]", value_delimiter = ',', required = true)]
    servers: Vec<String>,
    /// A file that holds the join token; /dev/stdin reads it from there.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// What the node is to be called [default: this machine's name].
    #[arg(long)]
    name: Option<Name>,
    /// Where the node keeps all it needs [default: as `freehold up`].
    #[arg(long, value_name = "DIR", env = "FREEHOLD_DATA")]
    data: Option<PathBuf>,
    /// Ends once it has joined, and does not run the node.
    #[arg(long)]
    enrol_only: bool,
}

pub(crate) fn run(args: Args, globals: &Globals) -> Outcome {
    let data = data_folder(args.data.clone())?;
    let enrol_only = args.enrol_only;
    enrol(args, MachineKind::Node, globals)?;
    match enrol_only {
        true => Ok(()),
        false => super::run::run(super::run::Args::of(data), globals),
    }
}

/// Makes this machine a node, a gateway or a device.
pub(crate) fn enrol(args: Args, machine: MachineKind, globals: &Globals) -> Outcome {
    let out = Out::new(globals.json);
    let data = data_folder(args.data.clone())?;
    if let Some(joined) = Membership::open(&data).map_err(failed)? {
        let about = joined.about();
        let title = format!("this machine has joined already, as {} ({})", about.name, about.machine);
        let hint = format!(
            "To join another house, remove {} first; `freehold {} revoke {}` there shuts the old key out.",
            data.join("identity").display(),
            about.machine.kind,
            about.name
        );
        return Err(Problem::new(Code::Conflict, title).hint(hint).into());
    }
    let token = token(&args, globals)?;
    let name = args.name.clone().unwrap_or_else(freehold_daemon::host_name);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local("start", error))?;
    let key = MachineKey::open(&data).map_err(failed)?;
    let request = JoinRequest {
        token: Hidden::new(token.reveal().to_string()),
        machine,
        name,
        csr: key.request(),
        protocol: PROTOCOL,
    };
    let joined = runtime.block_on(first(&args.servers, &token, &request))?;
    let servers = args.servers.iter().map(|server| server.trim_end_matches('/').to_owned()).collect();
    key.keep(&joined, servers).map_err(failed)?;
    // A node that runs says so itself.
    match machine == MachineKind::Node && !args.enrol_only {
        true => Ok(()),
        false => said(&joined, machine, &data, out),
    }
}

/// Joins through the first that can be reached: the same token with the same key may be shown to each.
async fn first(servers: &[String], token: &JoinTokenText, request: &JoinRequest) -> Outcome<Joined> {
    let mut last = None;
    for server in servers {
        match freehold_client::join(server, token, request).await {
            Ok(joined) => return Ok(joined),
            Err(error) if error.is_transient() => last = Some(unjoined(error, server)),
            Err(error) => return Err(unjoined(error, server)),
        }
    }
    Err(last.unwrap_or_else(|| Failure::usage("which control plane?", "Give its https://HOST:PORT.")))
}

fn said(joined: &Joined, machine: MachineKind, data: &std::path::Path, out: Out) -> Outcome {
    let told = serde_json::json!({
        machine.name(): joined.machine, "name": joined.name, "data": data, "not_after": joined.certificate.not_after,
    });
    out.show(&told, |_| {
        let good = out.paint.good("✓");
        let (name, id, folder) = (&joined.name, joined.machine, data.join("identity"));
        let is = format!(
            "{good} This machine is {machine} {name} ({id}). Its identity is kept in {}.",
            folder.display()
        );
        let next = match machine {
            MachineKind::Node => "runs what the house assigns to it",
            MachineKind::Gateway | MachineKind::Device => "keeps its certificate good",
        };
        format!("{is}\nNext: `freehold {machine} run --data {}` {next}.", data.display())
    })
}

/// The join token: from the file, or the global flag and its variable.
fn token(args: &Args, globals: &Globals) -> Outcome<JoinTokenText> {
    let text = match (&args.token_file, &globals.token) {
        (Some(path), _) => {
            let open = fs::File::open(path);
            let read = open.and_then(|file| {
                let mut text = String::new();
                file.take(4096).read_to_string(&mut text).map(|_| text)
            });
            read.map_err(|error| Failure::local(format!("read {}", path.display()), error))?
        }
        (None, Some(token)) => token.clone(),
        (None, None) => {
            return Err(Failure::usage(
                "which token?",
                "Give it with --token-file FILE, or as FREEHOLD_TOKEN; `freehold node token create` makes one.",
            ));
        }
    };
    text.parse().map_err(|error| Failure::usage(format!("{error}"), "Give the whole of what it printed."))
}

/// A server whose certificate does not lead to the root of the token is named as what it may be.
fn unjoined(error: ClientError, server: &str) -> Failure {
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(one) = cause {
        if one.to_string().contains("invalid peer certificate") {
            let title = format!("the server at {server} is not of the house that the token is for");
            let problem =
                Problem::new(Code::NotAllowed, title).detail(format!("{one}; nothing was sent to it"));
            return problem
                .hint("Is it the address that --node-listen says, and the token of the same house?")
                .into();
        }
        cause = one.source();
    }
    Failure::from(error)
}

fn failed(error: freehold_identity::MembershipError) -> Failure {
    Failure::Problem(Problem::new(Code::Conflict, error.to_string()))
}
