//! A small real app: a guestbook that keeps its messages in a file.
//!
//! It is what Freehold's tour deploys, and shows what an app owes the platform: it listens where
//! `PORT` says, keeps its data under `DATA_DIR`, answers `/healthz`, logs to its output, and on
//! SIGTERM finishes what it is doing and ends with 0.

mod book;
mod form;
mod http;
mod log;
mod page;
mod routes;
mod server;

use std::process::ExitCode;

const USAGE: &str = "\
guestbook: keeps the messages of its visitors

usage: guestbook [--version | --help]

environment:
  PORT      where to listen (default 8080), on every address
  DATA_DIR  where messages are kept (default /data)
  LOG       `info` logs every request
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => run(),
        ["--version"] => {
            println!("guestbook {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        ["--help"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [unknown, ..] => {
            eprintln!("guestbook: unknown argument `{unknown}`\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guestbook: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let stop = server::stop_signals().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let port = match std::env::var("PORT") {
        Ok(text) => text.parse().map_err(|_| format!("PORT is `{text}`, which is not a port"))?,
        Err(_) => 8080,
    };
    let folder = std::env::var("DATA_DIR").unwrap_or_else(|_| "/data".into());
    let book = book::Book::open(folder.as_ref());
    let listener = server::listen(port).map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    log::note(&format!("listening on {address}"));
    server::serve(&listener, &stop, book).map_err(|error| format!("cannot go on serving: {error}"))?;
    log::note("stopped");
    Ok(())
}
