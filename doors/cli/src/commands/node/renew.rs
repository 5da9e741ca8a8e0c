//! `freehold node renew`: the next certificate of this machine, now.

use crate::{
    args::Globals,
    commands::up::data_folder,
    failure::{Failure, Outcome},
    output::Out,
};
use freehold_identity::Membership;
use freehold_model::{Code, Problem};
use std::path::PathBuf;

/// Flags of `node renew`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A running node renews its certificate at two thirds of its life, and within a minute after a rotation of the
authority. This is for a node that does not run, or for those who do not want to wait. A certificate that has
ended is renewed as well, unless the node was revoked.")]
pub(crate) struct Args {
    /// The node's data folder [default: as `freehold up`].
    #[arg(long, value_name = "DIR", env = "FREEHOLD_DATA")]
    data: Option<PathBuf>,
}

pub(crate) fn run(args: Args, globals: &Globals) -> Outcome {
    let out = Out::new(globals.json);
    let data = data_folder(args.data)?;
    let membership = Membership::open(&data)
        .map_err(|error| Failure::Problem(Problem::new(Code::Conflict, error.to_string())))?
        .ok_or_else(|| {
            let title = format!("{} is not the data folder of a node that joined", data.display());
            Failure::not_found(title, "Name it with --data, or join first: `freehold node join`.")
        })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local("start", error))?;
    runtime.block_on(freehold_client::renew(&membership))?;
    let about = membership.about();
    out.show(&about, |about| {
        format!("{} {} is certified until {}.", out.paint.good("✓"), about.name, about.not_after)
    })
}
