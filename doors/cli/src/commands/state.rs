//! `freehold state`: what the control plane remembers, as one file and back. Works on this machine's data
//! folder, with or without a Freehold that runs over it.

use super::up;
use crate::{
    args::Globals,
    failure::{Failure, Outcome},
    output::Out,
};
use freehold_model::{Code, Problem};
use serde_json::json;
use std::path::PathBuf;

/// The subcommands of `state`.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  freehold state backup /mnt/usb/home-2026-11-21.db     while Freehold runs
  freehold state restore /mnt/usb/home-2026-11-21.db    into a data folder that holds no state

The file holds apps, releases, receipts and the whole event log. Not in it: images, volumes, and the root key
of secrets, keys/secrets.key in the data folder, without which the secrets in it cannot be opened.")]
pub(crate) enum Command {
    /// Copies the state to a new file, as of one moment, and reads the copy through.
    Backup {
        /// The file; nothing is written over.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Checks a backup and begins a data folder with it.
    Restore {
        /// What `state backup` wrote.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
}

/// Which state is meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The data folder; default: that of `freehold up`.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub(crate) fn run(command: Command, globals: &Globals) -> Outcome {
    let out = Out::new(globals.json);
    match command {
        Command::Backup { file, place } => {
            let data = up::data_folder(place.data)?;
            let events = freehold_daemon::backup(&data, &file).map_err(|error| failed(&error))?;
            out.show(&json!({ "file": file, "events": events }), |_| {
                let file = file.display();
                format!("{} {file}: {events} events, read back.", out.paint.good("✓"))
            })
        }
        Command::Restore { file, place } => {
            let data = up::data_folder(place.data)?;
            let events = freehold_daemon::restore(&file, &data).map_err(|error| failed(&error))?;
            out.show(&json!({ "data": data, "events": events }), |_| {
                let data = data.display();
                format!(
                    "{} {data} remembers {events} events. `freehold up --data {data}` goes on from there; its \
                     secrets need the keys/secrets.key of the Freehold that was backed up.",
                    out.paint.good("✓")
                )
            })
        }
    }
}

fn failed(error: &anyhow::Error) -> Failure {
    Failure::Problem(Problem::new(Code::Invalid, format!("{error:#}")))
}
