//! The command `freehold`.
//!
//! `main` reads the command line, runs one command and turns its failure into words and an exit code.
//! Started by a node as the shim of an instance, it is that and nothing else.

mod args;
mod commands;
mod context;
mod failure;
mod help;
mod interrupt;
mod log;
mod manifest;
mod output;
mod scope;
mod session;
mod words;

use args::Cli;
use clap::FromArgMatches;
use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    // Instances are owned by this same program, started again as their shim: before any thread exists.
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(code) = freehold_runtime::shim::dispatch(&words) {
        return code;
    }
    if words[1..] == ["help", "flags"] {
        println!("{}", help::flags());
        return ExitCode::SUCCESS;
    }
    let parsed = match words::modernized(&words, Path::exists) {
        Some((line, notice)) => {
            eprintln!("note: {notice}");
            help::command().try_get_matches_from(line)
        }
        None => help::command().try_get_matches(),
    };
    let cli = match parsed.and_then(|found| Cli::from_arg_matches(&found)) {
        Ok(cli) => cli,
        Err(error) => args::refuse(error, &words),
    };
    let Some(command) = cli.command else {
        return match args::welcome() {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(cli.globals.json),
        };
    };
    let json = cli.globals.json;
    match commands::run(command, cli.globals) {
        Ok(code) => code,
        Err(failure) => failure.report(json),
    }
}
