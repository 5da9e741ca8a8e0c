//! `freehold completions`.

use crate::{args::Cli, failure::Outcome};
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::{self, Write};

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  freehold completions bash > ~/.local/share/bash-completion/completions/freehold")]
pub(crate) struct Args {
    /// Whose.
    shell: Shell,
}

pub(crate) fn run(args: Args) -> Outcome {
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "freehold", &mut script);
    Ok(io::stdout().write_all(&script)?)
}
