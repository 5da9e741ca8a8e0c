//! `cargo xtask lab`: hosts to try Freehold on by hand, and faults for them.

use anyhow::{Context, Result, bail};
use freehold_lab::{Lab, Order, ask, folder, serve};
use nix::sys::signal::{SigSet, Signal};
use std::{
    os::unix::process::CommandExt,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

const USAGE: &str = "usage: cargo xtask lab …
  up HOST…                    makes hosts and keeps them until Ctrl-C; the others speak to it:
  status                      the hosts, their addresses, what runs
  start HOST ARGS…            starts `freehold ARGS…` there, as in: start a up --listen 10.77.0.1:7117 --data DISK
                              (DISK stands for the host's own disk)
  stop|kill|pause|resume HOST
  sh HOST COMMAND…            a command on the host's network
  part HOST HOST              cuts two off from each other;  isolate HOST  from all
  line FROM TO WHAT           one direction: cut, or delay=50ms,loss=5%,duplicate=1%
  heal                        every line is whole again
  clock HOST SECONDS          sets its clock off by so much (libfaketime), as in +3600
  fill|free HOST              fills its disk, and makes room";

pub(crate) fn run(args: &[String]) -> Result<()> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let own = |text: &&str| (*text).to_owned();
    let order = match args.as_slice() {
        ["up", hosts @ ..] => return up(hosts),
        ["sh", host, program, rest @ ..] => return shell(host, program, rest),
        ["status"] => Order::Status,
        ["start", host, rest @ ..] => {
            let disk = folder().canonicalize()?.join(host).join("data");
            let args = rest.iter().map(|arg| arg.replace("DISK", &disk.to_string_lossy()));
            Order::Start(own(host), args.collect())
        }
        ["stop", host] => Order::Stop(own(host)),
        ["kill", host] => Order::Kill(own(host)),
        ["pause", host] => Order::Pause(own(host)),
        ["resume", host] => Order::Resume(own(host)),
        ["part", one, other] => Order::Part(own(one), own(other)),
        ["isolate", host] => Order::Isolate(own(host)),
        ["line", from, to, line] => Order::Set(own(from), own(to), line.parse().map_err(anyhow::Error::msg)?),
        ["heal"] => Order::Heal,
        ["clock", host, seconds] => {
            let seconds = seconds.parse().with_context(|| format!("`{seconds}` is no number of seconds"))?;
            Order::Clock(own(host), seconds)
        }
        ["fill", host] => Order::Fill(own(host)),
        ["free", host] => Order::Free(own(host)),
        _ => bail!(USAGE),
    };
    println!("{}", ask(&socket(), &order)?);
    Ok(())
}

fn socket() -> PathBuf {
    folder().join("control.sock")
}

fn up(hosts: &[&str]) -> Result<()> {
    if let Some(lack) = freehold_lab::lack() {
        println!("no laboratory here: {lack}");
        return Ok(());
    }
    // Before there is any thread, so that none of them takes the signal.
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGINT);
    ends.add(Signal::SIGTERM);
    ends.thread_block()?;
    std::fs::create_dir_all(folder())?;
    let dir = folder().canonicalize()?;
    let program = std::env::var_os("FREEHOLD").map_or_else(|| "target/debug/freehold".into(), PathBuf::from);
    let program = program.canonicalize().with_context(|| {
        format!("{} is not built: cargo build, or name another in FREEHOLD", program.display())
    })?;
    let lab = Lab::new(&dir, if hosts.is_empty() { &["a", "b", "c"] } else { hosts }, 1)?;
    for host in lab.hosts() {
        println!("{} {}  cargo xtask lab sh {} bash", host.name(), host.address(), host.name());
    }
    let lab = Arc::new(Mutex::new(Some(lab)));
    let serving = lab.clone();
    std::thread::spawn(move || {
        if let Err(error) = serve(&serving, &socket(), &program) {
            eprintln!("{error:#}");
        }
    });
    ends.wait()?;
    println!("removing the hosts");
    let _ = std::fs::remove_file(socket());
    lab.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(())
}

/// Becomes a command on a host's network.
fn shell(host: &str, program: &str, args: &[&str]) -> Result<()> {
    let hosts: Vec<serde_json::Value> = serde_json::from_str(&ask(&socket(), &Order::Status)?)?;
    let netns = hosts.iter().find(|one| one["host"] == host).and_then(|one| one["netns"].as_str());
    let netns = netns.with_context(|| format!("there is no host {host}"))?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{netns}")).arg("--").arg(program).args(args);
    command.env("FREEHOLD_HOME", folder().canonicalize()?.join(host).join("home"));
    Err(command.exec().into())
}
