//! A lab driven by hand: `cargo xtask lab up` keeps it, later commands tell it what to do through a socket. An
//! order is one line of JSON, and so is its answer.

use crate::{Host, Lab, Line, Runs};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Mutex, PoisonError},
};

/// What a lab can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// To say how its hosts are.
    Status,
    /// To start a host's program with these arguments.
    Start(String, Vec<String>),
    /// To end it, as SIGTERM does.
    Stop(String),
    /// To kill it.
    Kill(String),
    /// To stop it where it is.
    Pause(String),
    /// To let it go on.
    Resume(String),
    /// To cut two hosts off from each other.
    Part(String, String),
    /// To cut one off from all.
    Isolate(String),
    /// To change one direction.
    Set(String, String, Line),
    /// To make every line whole again.
    Heal,
    /// To set a host's clock, by seconds from the machine's.
    Clock(String, i64),
    /// To fill a host's disk.
    Fill(String),
    /// To make room on it.
    Free(String),
}

/// A host as its lab describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    host: String,
    address: String,
    netns: String,
    runs: Runs,
}

/// What came of an order.
#[derive(Serialize, Deserialize)]
enum Answer {
    Done(String),
    Failed(String),
}

/// Carries out orders, one at a time, as long as there is a lab; programs are started from `program`.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(lab: &Mutex<Option<Lab>>, socket: &Path, program: &Path) -> Result<()> {
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).with_context(|| socket.display().to_string())?;
    for caller in listener.incoming() {
        let lab = lab.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lab) = &*lab else { return Ok(()) };
        if let Err(error) = caller.map_err(Into::into).and_then(|caller| answer(lab, program, &caller)) {
            eprintln!("a caller was not answered: {error:#}");
        }
    }
    Ok(())
}

/// Has the lab that listens at `socket` carry out an order; what it says.
///
/// # Errors
/// When there is no lab, or the order could not be carried out.
pub fn ask(socket: &Path, order: &Order) -> Result<String> {
    let none = || format!("no laboratory at {}: start one with `cargo xtask lab up`", socket.display());
    let mut stream = UnixStream::connect(socket).with_context(none)?;
    writeln!(stream, "{}", serde_json::to_string(order)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match serde_json::from_str(&line)? {
        Answer::Done(said) => Ok(said),
        Answer::Failed(why) => bail!(why),
    }
}

fn answer(lab: &Lab, program: &Path, caller: &UnixStream) -> Result<()> {
    let mut line = String::new();
    BufReader::new(caller).read_line(&mut line)?;
    let done = serde_json::from_str(&line).map_err(Into::into).and_then(|order| obey(lab, program, order));
    let answer = done.map_or_else(|error| Answer::Failed(format!("{error:#}")), Answer::Done);
    let mut caller = caller;
    Ok(writeln!(caller, "{}", serde_json::to_string(&answer)?)?)
}

fn obey(lab: &Lab, program: &Path, order: Order) -> Result<String> {
    match order {
        Order::Status => {
            let seen: Vec<Seen> = lab.hosts().map(see).collect();
            return Ok(serde_json::to_string(&seen)?);
        }
        Order::Start(host, args) => {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            lab.host(&host)?.start(program, &args)
        }
        Order::Stop(host) => lab.host(&host)?.stop(),
        Order::Kill(host) => lab.host(&host)?.kill(),
        Order::Pause(host) => lab.host(&host)?.pause(),
        Order::Resume(host) => lab.host(&host)?.resume(),
        Order::Part(one, other) => lab.part(&one, &other),
        Order::Isolate(host) => lab.isolate(&host),
        Order::Set(from, to, line) => lab.set(&from, &to, line),
        Order::Heal => {
            lab.heal();
            Ok(())
        }
        Order::Clock(host, seconds) => lab.host(&host)?.set_clock(seconds),
        Order::Fill(host) => lab.host(&host)?.fill(),
        Order::Free(host) => lab.host(&host)?.free(),
    }
    .map(|()| "done".to_owned())
}

fn see(host: &Host) -> Seen {
    Seen {
        host: host.name().to_owned(),
        address: host.address().to_string(),
        netns: host.netns().to_owned(),
        runs: host.runs(),
    }
}
