//! `freehold man`: writes manual pages, for packages.

use crate::{
    args::Cli,
    failure::{Failure, Outcome},
};
use clap::CommandFactory;
use std::path::PathBuf;

/// Flags of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  freehold man ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// The folder to write to: one page for each command.
    dir: PathBuf,
}

pub(crate) fn run(args: Args) -> Outcome {
    let written =
        std::fs::create_dir_all(&args.dir).and_then(|()| clap_mangen::generate_to(Cli::command(), &args.dir));
    written.map_err(|error| Failure::local(format!("write manual pages to {}", args.dir.display()), error))
}
