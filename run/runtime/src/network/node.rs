//! The rules on the node: which instances are of one env, who may leave, and that nobody comes in.
//!
//! The agent says how everything should be ([`Neighbourhood`]) and it is made so in one transaction that
//! replaces our table whole: what an agent that was killed left behind needs no tidying. Where the node did
//! not forward before, it is made to, and remembers which interfaces it had: those stay apart.

use crate::{
    installation::{self, Installation, LINKS},
    netfilter::{
        Batch, Element, Expr, Family, Hook, Key, Netfilter, Picture, Set, Verdict, all, destination,
        established, from_links, port, protocol, to_links,
    },
};
use freehold_model::manifest::Protocol;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

/// How the network of a node's instances should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbourhood {
    /// The node's address on the links of its instances.
    pub gateway: Ipv4Addr,
    /// How many bits of the gateway's address are those of all instances.
    pub bits: u8,
    /// The port at which the node's resolver answers on the gateway's address.
    pub resolver: Option<u16>,
    /// The instances of each env, which may connect to each other.
    pub envs: BTreeMap<String, BTreeSet<Ipv4Addr>>,
    /// The instances that may leave the node.
    pub outbound: BTreeSet<Ipv4Addr>,
}

const OUTBOUND: &str = "outbound";
const ENVS: &str = "envs";
const APART: &str = "apart";

/// Whose rules, and what else is to be known to set them.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    /// `None`: there is no id, as in earlier versions.
    pub(crate) installation: Option<Installation>,
    /// An earlier version was here: its table, which has no id in its name, goes in the same step.
    pub(crate) inherits: bool,
    /// The file that remembers what was changed in the node's own settings.
    pub(crate) memory: PathBuf,
}

impl Owner {
    fn table(&self) -> String {
        installation::table(self.installation.as_ref())
    }

    fn tidy(&self, batch: Batch) -> Batch {
        match self.inherits && self.installation.is_some() {
            true => batch.and(Family::Ipv4, &installation::table(None)).gone(),
            false => batch,
        }
    }
}

/// The table as it was when it was set last, and nothing else had happened since.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    table: String,
    generation: u32,
    picture: Picture,
}

/// How often rules are set again when others change the packet filter at the same moment.
const ATTEMPTS: usize = 8;

/// Makes it so.
pub(crate) fn settle(wanted: &Neighbourhood, owner: &Owner) -> io::Result<Whole> {
    let apart = forwarding(!wanted.outbound.is_empty(), &owner.memory)?;
    let (table, links) = (owner.table(), installation::links(owner.installation.as_ref()));
    let filter = Netfilter::open()?;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let before = filter.generation()?;
        filter.commit(owner.tidy(rules(wanted, &apart, &table, &links)))?;
        let Some(picture) = filter.picture(Family::Ipv4, &table)? else { continue };
        let generation = filter.generation()?;
        // One transaction was ours. With more, two equal pictures are proof enough: nobody undoes the same
        // rule in the same moment twice.
        if generation == before.wrapping_add(1) || last.as_ref() == Some(&picture) {
            return Ok(Whole { table, generation, picture });
        }
        last = Some(picture);
    }
    Err(io::Error::other("others change the packet filter all the time"))
}

impl Whole {
    /// How the table differs from what was set; `None`: not at all. Cheap while nothing in the packet filter changes.
    pub(crate) fn differs(&mut self) -> io::Result<Option<String>> {
        let filter = Netfilter::open()?;
        let generation = filter.generation()?;
        if generation == self.generation {
            return Ok(None);
        }
        let now = filter.picture(Family::Ipv4, &self.table)?;
        let difference = self.picture.difference(now.as_ref());
        if difference.is_none() {
            // What changed was not ours, and came before the picture.
            self.generation = generation;
        }
        Ok(difference.map(|how| format!("`ip {}` {how}", self.table)))
    }
}

/// Leaves the node as it was before there were instances.
pub(crate) fn leave(owner: &Owner) -> io::Result<()> {
    Netfilter::open()?.commit(owner.tidy(Batch::to(Family::Ipv4, &owner.table()).gone()))?;
    if Forwarding::read(&owner.memory).is_some() {
        fs::write(FORWARD, "0")?;
        fs::remove_file(&owner.memory)?;
    }
    Ok(())
}

/// Sets rules that use everything that ours ever use, in the network namespace of this thread.
pub(crate) fn rehearse() -> io::Result<()> {
    let (gateway, one) = (Ipv4Addr::new(10, 210, 0, 1), Ipv4Addr::new(10, 210, 0, 2));
    let envs = [("env".to_owned(), [one].into())].into();
    let all = Neighbourhood { gateway, bits: 16, resolver: Some(53), envs, outbound: [one].into() };
    Netfilter::open()?.commit(rules(&all, &["lo".to_owned()], &installation::table(None), LINKS))
}

/// The rules, about the links whose names begin with `links` and no other.
fn rules(wanted: &Neighbourhood, apart: &[String], table: &str, links: &str) -> Batch {
    let mut batch = Batch::to(Family::Ipv4, table).anew();
    let set = Set { name: OUTBOUND, key: Key::ADDRESS, expires: false, verdicts: false };
    batch.set(set);
    batch.set(Set { name: APART, key: Key::LINK, ..set });
    batch.set(Set { name: ENVS, verdicts: true, ..set });
    let octets = |address: &Ipv4Addr| address.octets().to_vec();
    batch.add(OUTBOUND, &wanted.outbound.iter().map(|it| Element::of(octets(it))).collect::<Vec<_>>());
    batch.add(APART, &apart.iter().map(|name| Element::of(link_key(name))).collect::<Vec<_>>());
    let accept = || vec![Expr::Then(Verdict::Accept)];
    let reject = || vec![Expr::Count, Expr::Reject];
    for (env, members) in &wanted.envs {
        batch.set(Set { name: env, ..set });
        batch.add(env, &members.iter().map(|it| Element::of(octets(it))).collect::<Vec<_>>());
        batch.chain(env);
        batch.rule(env, &all([Expr::destination_in(env), accept()]));
        let to_env = |it: &Ipv4Addr| Element { verdict: Some(Verdict::Jump(env)), ..Element::of(octets(it)) };
        batch.add(ENVS, &members.iter().map(to_env).collect::<Vec<_>>());
    }
    batch.base_chain("forward", Hook::FORWARD);
    batch.base_chain("input", Hook::INPUT);
    batch.base_chain("prerouting", Hook::PREROUTING);
    batch.base_chain("postrouting", Hook::POSTROUTING);
    let node = wanted.gateway;
    let mut rule = |chain: &str, parts: Vec<Expr<'_>>| batch.rule(chain, &parts);
    rule("forward", all([from_links(links), established(), accept()]));
    rule("forward", all([from_links(links), to_links(true, links), Expr::verdict_of_source(ENVS)]));
    rule("forward", all([from_links(links), to_links(true, links), reject()]));
    rule("forward", all([from_links(links), destination(true, node, wanted.bits), reject()]));
    rule("forward", all([from_links(links), Expr::source_in(OUTBOUND), accept()]));
    rule("forward", all([from_links(links), reject()]));
    rule("forward", all([to_links(true, links), established(), accept()]));
    rule("forward", all([to_links(true, links), reject()]));
    rule("forward", all([Expr::links_in(APART), vec![Expr::Count, Expr::Then(Verdict::Drop)]]));
    // At the gateway's address an instance's own rules decide; the node's other addresses are closed.
    rule("input", all([from_links(links), established(), accept()]));
    rule("input", all([from_links(links), destination(false, node, 32), reject()]));
    if let Some(resolver) = wanted.resolver {
        for one in [Protocol::Tcp, Protocol::Udp] {
            let question = all([from_links(links), destination(true, node, 32), protocol(one), port(53)]);
            rule("prerouting", all([question, Expr::redirect(resolver)]));
        }
    }
    let leaving =
        all([Expr::source_in(OUTBOUND), to_links(false, links), destination(false, node, wanted.bits)]);
    rule("postrouting", all([leaving, vec![Expr::Masquerade]]));
    batch
}

/// As the kernel compares interfaces: their name and zeros.
fn link_key(name: &str) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.resize(16, 0);
    key
}

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// What is remembered of a node that was made to forward.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Forwarding {
    /// A restart of the machine forgets the setting, and with it this.
    boot: String,
    /// The interfaces that it had, which were not connected with one another and shall not be.
    apart: Vec<String>,
}

impl Forwarding {
    fn read(memory: &Path) -> Option<Forwarding> {
        let known: Forwarding = serde_json::from_slice(&fs::read(memory).ok()?).ok()?;
        (known.boot == boot()).then_some(known)
    }
}

/// Whether the node forwards.
pub(crate) fn forwards() -> bool {
    fs::read_to_string(FORWARD).is_ok_and(|text| text.trim() == "1")
}

/// Makes the node forward when it must; answers with the interfaces between which it does not.
fn forwarding(needed: bool, memory: &Path) -> io::Result<Vec<String>> {
    let on = forwards();
    let known = Forwarding::read(memory);
    if on || !needed {
        return Ok(known.map(|known| known.apart).unwrap_or_default());
    }
    let now = Forwarding { boot: boot(), apart: links()? };
    fs::write(memory, serde_json::to_vec(&now)?)?;
    fs::write(FORWARD, "1")?;
    Ok(now.apart)
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The interfaces of the node, those of instances of any installation aside.
fn links() -> io::Result<Vec<String>> {
    let table = fs::read_to_string("/proc/thread-self/net/dev")?;
    let names = table.lines().skip(2).filter_map(|line| line.split_once(':').map(|(name, _)| name.trim()));
    Ok(names.filter(|name| *name != "lo" && !name.starts_with(LINKS)).map(str::to_owned).collect())
}
