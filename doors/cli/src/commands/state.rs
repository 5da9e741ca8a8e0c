//! `freehold state`: what the control plane remembers, as one file and back, or moved to another store. Works
//! on this machine's data folder or on a database, and asks no server.

use super::up::{self, StoreUrl};
use crate::{
    args::Globals,
    failure::{Failure, Outcome},
    output::{Out, Paint},
};
use freehold_daemon::{Copied, PostgresOptions};
use freehold_model::{Code, Inventory, Problem};
use serde_json::json;
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// The subcommands of `state`.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  freehold state backup /mnt/usb/home-2026-11-21.db     while Freehold runs
  freehold state restore /mnt/usb/home-2026-11-21.db    into a data folder that holds no state
  freehold state copy /var/lib/freehold postgres:///freehold?host=/run/postgresql
  freehold state copy postgres:///freehold?host=/run/postgresql /srv/freehold
  freehold state import household.json                  machines that another system knew, into an empty store

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
    /// Copies a whole installation's state from one store to another, SQLite or PostgreSQL, and proves the copy.
    /// Freehold must be stopped. Given once more, it goes on where it was interrupted.
    Copy {
        /// The store to copy from: a data folder, a SQLite file, or postgres://…
        #[arg(value_name = "FROM")]
        from: StoreUrl,
        /// The store to copy to, which holds nothing yet.
        #[arg(value_name = "TO")]
        to: StoreUrl,
    },
    /// Begins an empty store with nodes, devices, addresses and audit entries of another system: all or nothing.
    Import {
        /// A JSON document as docs/inventory.schema.json describes it.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Prints such a document of what the store knows. Freehold must be stopped.
    Export {
        #[command(flatten)]
        place: Place,
    },
}

/// Which state is meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The data folder; default: that of `freehold up`.
    #[arg(long, value_name = "DIR", env = "FREEHOLD_DATA")]
    data: Option<PathBuf>,
    /// The database, where the state is in PostgreSQL.
    #[arg(long, value_name = "URL", env = "FREEHOLD_STORE", hide_env_values = true)]
    store: Option<StoreUrl>,
}

impl Place {
    fn store(&self) -> Outcome<Option<PostgresOptions>> {
        self.store.as_ref().map(StoreUrl::options).transpose()
    }
}

pub(crate) fn run(command: Command, globals: &Globals) -> Outcome {
    let out = Out::new(globals.json);
    match command {
        Command::Backup { file, place } => {
            let store = place.store()?;
            let data = up::data_folder(place.data)?;
            let events =
                freehold_daemon::backup(&data, store.as_ref(), &file).map_err(|error| failed(&error))?;
            out.show(&json!({ "file": file, "events": events }), |_| {
                let file = file.display();
                format!("{} {file}: {events} events, read back.", out.paint.good("✓"))
            })
        }
        Command::Restore { file, place } => {
            let store = place.store()?;
            let data = up::data_folder(place.data)?;
            let restored = freehold_daemon::restore(&file, &data, store.as_ref());
            let events = restored.map_err(|error| failed(&error))?;
            let place = store.map_or_else(|| data.display().to_string(), |store| store.place().to_owned());
            out.show(&json!({ "place": place, "events": events }), |_| {
                format!(
                    "{} {place} remembers {events} events. `freehold up` goes on from there; its secrets need the \
                     keys/secrets.key of the Freehold that was backed up.",
                    out.paint.good("✓")
                )
            })
        }
        Command::Import { file, place } => import(&file, place, out),
        Command::Export { place } => {
            let store = place.store()?;
            let data = up::data_folder(place.data)?;
            let inventory = on_runtime(freehold_daemon::export(&data, store))?;
            out.show(&inventory, |inventory| serde_json::to_string_pretty(inventory).unwrap_or_default())
        }
        Command::Copy { from, to } => {
            let mut last = "";
            let copied = freehold_daemon::copy(from.reveal(), to.reveal(), |table, rows| {
                if table != last || rows % 50_000 == 0 {
                    eprintln!("{table}: {rows} rows");
                }
                last = table;
            });
            out.show(&copied.map_err(|error| failed(&error))?, |copied| told(copied, out.paint))
        }
    }
}

/// A document that is read; larger ones are refused.
const LARGEST: u64 = 256 << 20;

fn import(file: &Path, place: Place, out: Out) -> Outcome {
    let wrong = |error| Failure::local(format!("read {}", file.display()), error);
    let mut text = vec![];
    File::open(file).map_err(wrong)?.take(LARGEST + 1).read_to_end(&mut text).map_err(wrong)?;
    if text.len() as u64 > LARGEST {
        let title = format!("{} is larger than {LARGEST} bytes", file.display());
        return Err(Failure::usage(title, "Import less of the past: `audit` may be empty."));
    }
    let inventory = Inventory::parse(&text).map_err(|faults| {
        let lines: Vec<String> = faults.iter().take(20).map(ToString::to_string).collect();
        let title = format!("{} cannot be imported: {} faults", file.display(), faults.len());
        Failure::Problem(Problem::new(Code::Invalid, title).detail(lines.join("\n")))
    })?;
    let store = place.store()?;
    let data = up::data_folder(place.data)?;
    let events = on_runtime(freehold_daemon::import(&inventory, &data, store))?;
    let told = json!({
        "nodes": inventory.nodes.len(),
        "devices": inventory.devices.len(),
        "addresses": inventory.addresses.len(),
        "audit": inventory.audit.len(),
        "events": events,
    });
    out.show(&told, |told| {
        format!(
            "{} {} nodes, {} devices, {} addresses, {} audit entries. `freehold up` goes on from there.",
            out.paint.good("✓"),
            told["nodes"],
            told["devices"],
            told["addresses"],
            told["audit"]
        )
    })
}

/// Waits for what a store does.
fn on_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::local("start", error))?;
    runtime.block_on(work).map_err(|error| failed(&error))
}

/// Tables and rows, then what proves them.
fn told(copied: &Copied, paint: Paint) -> String {
    let rows: Vec<String> = copied.rows.iter().map(|(table, rows)| format!("{rows} {table}")).collect();
    format!(
        "{} {}: equal on both sides, the log walked from event {} to {}.\nsha256 {}\n{}",
        paint.good("✓"),
        rows.join(", "),
        copied.first,
        copied.events,
        copied.hash,
        paint.dim(
            "Images, volumes and keys stay in the data folder. Move state.db (or store.json) out of it before it \
             goes on with the other store."
        )
    )
}

fn failed(error: &anyhow::Error) -> Failure {
    Failure::Problem(Problem::new(Code::Invalid, format!("{error:#}")))
}
