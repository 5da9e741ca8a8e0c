//! Hosts out of network namespaces on one switch, for tests and by hand (`cargo xtask lab`).
//!
//! A host is a network namespace with one card, a disk of its own and a clock that can be set; the switch is in
//! this process ([`switch`]), so frames can be cut off in one direction, lost, doubled and delayed on any
//! kernel. Needs root. Invariant: dropping a [`Lab`] leaves no namespace, no mount and no process.

mod card;
mod control;
mod host;
mod rules;
mod switch;

pub use control::{Order, ask, serve};
pub use host::{Host, Runs};
pub use rules::Line;

use anyhow::{Context, Result, bail};
use rules::Rules;
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use switch::Switch;

/// Some hosts on one switch.
pub struct Lab {
    hosts: BTreeMap<String, Host>,
    rules: Arc<Mutex<Rules>>,
    /// Ends before the hosts go.
    switch: Option<Switch>,
}

/// Why there can be no lab here; `None` when there can.
pub fn lack() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("it needs root, for network namespaces".into());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("it needs /dev/net/tun, for the hosts' network cards".into());
    }
    let ip = Command::new("ip").arg("-V").output();
    ip.is_err().then(|| "it needs the program ip: sudo apt-get install iproute2".into())
}

impl Lab {
    /// As many hosts as there are names, at 10.77.0.1 and so on; what they keep is in `dir`. `seed` decides
    /// which frames are lost.
    ///
    /// # Errors
    /// When [`lack`] has something to say, or the machine fails at it.
    pub fn new(dir: &Path, names: &[&str], seed: u64) -> Result<Lab> {
        if let Some(lack) = lack() {
            bail!("no laboratory here: {lack}");
        }
        if names.is_empty() || names.len() > 200 {
            bail!("a laboratory has 1 to 200 hosts, not {}", names.len());
        }
        let rules = Arc::new(Mutex::new(Rules::new(names.len(), seed)));
        let mut lab = Lab { hosts: BTreeMap::new(), rules, switch: None };
        let mut cards = vec![];
        for (index, name) in names.iter().enumerate() {
            let host = Host::new(dir, name, index)?;
            cards.push(host.card()?);
            if lab.hosts.insert((*name).to_owned(), host).is_some() {
                bail!("two hosts are called {name}");
            }
        }
        lab.switch = Some(Switch::start(cards, lab.rules.clone())?);
        Ok(lab)
    }

    /// The host of that name.
    ///
    /// # Errors
    /// When there is none; the message names those that there are.
    pub fn host(&self, name: &str) -> Result<&Host> {
        let names = || self.hosts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        self.hosts.get(name).with_context(|| format!("there is no host {name}; there are: {}", names()))
    }

    /// All of them, in order of names.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// From here on, what `from` sends to `to` meets this; the other direction stays as it is.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn set(&self, from: &str, to: &str, line: Line) -> Result<()> {
        let (from, to) = (self.host(from)?.index, self.host(to)?.index);
        self.rules().set(from, to, line);
        Ok(())
    }

    /// Cuts two hosts off from each other.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn part(&self, one: &str, other: &str) -> Result<()> {
        self.set(one, other, Line::cut())?;
        self.set(other, one, Line::cut())
    }

    /// Cuts a host off from all others.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn isolate(&self, name: &str) -> Result<()> {
        let all = self.hosts.keys().filter(|other| *other != name);
        all.into_iter().try_for_each(|other| self.part(name, other))
    }

    /// Makes every line whole and quick again.
    pub fn heal(&self) {
        self.rules().heal();
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in self.hosts.values_mut() {
            host.clear();
        }
        drop(self.switch.take());
    }
}

/// The address of the host with that index.
fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(index + 1).unwrap_or(u8::MAX))
}

/// The hardware address of its card; the last byte tells the switch which host it is.
fn hardware(index: usize) -> [u8; 6] {
    [0x02, 0x66, 0x68, 0, 0, u8::try_from(index + 1).unwrap_or(u8::MAX)]
}

/// Runs a program of the system to its end.
fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Waits until `condition` holds; whether it did in time.
pub fn eventually(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = std::time::Instant::now() + within;
    loop {
        if condition() {
            return true;
        }
        if std::time::Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder for a lab that is driven by hand.
pub fn folder() -> PathBuf {
    PathBuf::from("target/lab")
}
