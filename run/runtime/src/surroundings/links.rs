//! Links of instances: seen, compared, and put back.

use super::{Damage, InstanceLink, Surroundings};
use crate::{
    first,
    launch::{InstanceDir, Launch},
    netlink::{Netlink, SeenLink, Way},
    network, shim,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::Ipv4Addr,
    path::Path,
};

/// What was seen of the node's network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) links: BTreeMap<String, SeenLink>,
    pub(crate) addresses: BTreeSet<(u32, Ipv4Addr, u8)>,
    /// Where packets to the instances' addresses would go.
    pub(crate) ways: BTreeMap<Ipv4Addr, Option<Way>>,
    /// What is written in the settings of links.
    pub(crate) settings: BTreeMap<(String, &'static str), String>,
    /// Whether the node forwards.
    pub(crate) forwards: bool,
}

/// The settings of each link.
const SETTINGS: [&str; 2] = ["rp_filter", "forwarding"];

/// Looks at what `wanted` is about; must be called in the network namespace of the links.
pub(crate) fn look(wanted: &Surroundings) -> io::Result<Seen> {
    let netlink = Netlink::open()?;
    let mut seen = Seen { forwards: network::forwards(), ..Seen::default() };
    if wanted.links.is_empty() {
        return Ok(seen);
    }
    (seen.links, seen.addresses) = (netlink.links()?, netlink.addresses()?);
    for link in &wanted.links {
        let address = link.launch.address;
        seen.ways.insert(address, netlink.way_to(address)?);
        let name = link.launch.link();
        for setting in SETTINGS {
            if let Ok(text) = fs::read_to_string(file(&name, setting)) {
                seen.settings.insert((name.clone(), setting), text.trim().to_owned());
            }
        }
    }
    Ok(seen)
}

/// How what was seen is otherwise than wanted, the packet filter aside.
pub(crate) fn damages(wanted: &Surroundings, seen: &Seen) -> Vec<Damage> {
    let needs = wanted.rules.as_ref().is_some_and(|rules| !rules.outbound.is_empty());
    let mut found = vec![];
    if needs && !seen.forwards {
        found.push(Damage::Forwarding);
    }
    // A program that switches forwarding off switches it off for each link.
    let forwards = if found.is_empty() { Some(wanted.forwards) } else { None };
    wanted.links.iter().for_each(|link| found.extend(of_link(link, forwards, seen)));
    found
}

fn of_link(wanted: &InstanceLink, forwards: Option<bool>, seen: &Seen) -> Vec<Damage> {
    let launch = &wanted.launch;
    let (id, name) = (launch.instance, launch.link());
    let Some(link) = seen.links.get(&name) else { return vec![Damage::Link(id)] };
    // A link that is set down loses its routes as well: one cause, one thing to say.
    if !link.up {
        return vec![Damage::Down(id)];
    }
    let mut found = vec![];
    if !seen.addresses.contains(&(link.index, launch.gateway, 32)) {
        found.push(Damage::Address(id));
    }
    let way = seen.ways.get(&launch.address).copied().flatten();
    if way != Some(Way { link: link.index, from: Some(launch.gateway) }) {
        let other = way.filter(|way| way.link != link.index);
        let named = |way: Way| seen.links.iter().find(|(_, it)| it.index == way.link).map(|(name, _)| name);
        found.push(Damage::Route(id, launch.address, other.and_then(named).cloned()));
    }
    for setting in SETTINGS {
        let is = seen.settings.get(&(name.clone(), setting));
        let looked_at = setting != "forwarding" || forwards.is_some();
        if looked_at && is.is_some_and(|is| is != value(setting, forwards.unwrap_or(true))) {
            found.push(Damage::Setting(id, setting));
        }
    }
    found
}

fn value(setting: &str, forwards: bool) -> &'static str {
    if setting == "forwarding" && !forwards { "0" } else { "1" }
}

fn file(link: &str, setting: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{link}/{setting}")
}

/// Puts back what is missing of one link; must be called in the network namespace of the links.
pub(crate) fn relink(
    instances: &Path,
    wanted: &InstanceLink,
    forwards: bool,
    damage: &Damage,
) -> io::Result<()> {
    let launch = &wanted.launch;
    if let Damage::Link(id) = damage {
        let dir = InstanceDir::new(instances, *id);
        return match first::belongs(&dir, *id, wanted.pid) {
            true => shim::reconnect(launch, wanted.pid),
            // It is ending, and takes its network along.
            false => Err(io::ErrorKind::NotFound.into()),
        };
    }
    put_up(launch, forwards)
}

/// Sets a link up that was renamed, with all that was on it.
pub(crate) fn up_again(launch: &Launch) -> io::Result<()> {
    put_up(launch, true)
}

fn put_up(launch: &Launch, forwards: bool) -> io::Result<()> {
    let (netlink, name) = (Netlink::open()?, launch.link());
    let index = netlink.index_of(&name)?;
    netlink.add_address(index, launch.gateway)?;
    netlink.set_up(index)?;
    netlink.add_host_route(index, launch.address, launch.gateway)?;
    SETTINGS.iter().try_for_each(|setting| fs::write(file(&name, setting), value(setting, forwards)))
}

/// Lets packets from these instances be forwarded, or not.
pub(crate) fn let_forward(links: &[InstanceLink], forwards: bool) {
    for link in links {
        let name = link.launch.link();
        // One that is gone forwards nothing.
        let _ = fs::write(file(&name, "forwarding"), value("forwarding", forwards));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::network::Neighbourhood;
    use freehold_model::{InstanceId, manifest::Driver};

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 210, 0, 1);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 210, 0, 2);

    pub(crate) fn launch() -> Launch {
        let launch = serde_json::json!({
            "instance": "ins_01jd0000000000000000000000", "process": "web", "hostname": "web",
            "driver": Driver::Container, "layers": [], "args": [], "env": [], "workdir": "", "user": null,
            "cpu": freehold_model::Millicores(0), "memory": freehold_model::Bytes(0), "address": ADDRESS, "gateway": GATEWAY, "image": format!("sha256:{:064}", 0),
            "stop_signal": 15, "log_dir": "/",
        });
        serde_json::from_value(launch).unwrap()
    }

    fn wanted() -> Surroundings {
        let link = InstanceLink { launch: launch(), pid: 1 };
        let rules = Neighbourhood {
            gateway: GATEWAY,
            bits: 16,
            resolver: None,
            envs: BTreeMap::new(),
            outbound: [ADDRESS].into(),
        };
        Surroundings { rules: Some(rules), links: vec![link], forwards: true }
    }

    fn id() -> InstanceId {
        "ins_01jd0000000000000000000000".parse().unwrap()
    }

    /// As it is when nothing is amiss.
    fn whole() -> Seen {
        let name = wanted().links[0].launch.link();
        let settings = SETTINGS.map(|setting| ((name.clone(), setting), "1".to_owned()));
        Seen {
            links: [("lo".into(), SeenLink { index: 1, up: true }), (name, SeenLink { index: 7, up: true })]
                .into(),
            addresses: [(7, GATEWAY, 32)].into(),
            ways: [(ADDRESS, Some(Way { link: 7, from: Some(GATEWAY) }))].into(),
            settings: settings.into(),
            forwards: true,
        }
    }

    #[test]
    fn each_thing_that_is_taken_away_is_seen_as_what_it_is() {
        let (name, lo) = (wanted().links[0].launch.link(), Some(Way { link: 1, from: Some(GATEWAY) }));
        type Change = Box<dyn Fn(&mut Seen)>;
        let set = |setting| {
            let name = name.clone();
            Box::new(move |seen: &mut Seen| drop(seen.settings.insert((name.clone(), setting), "0".into())))
        };
        let (gone, down) = (name.clone(), name.clone());
        let table: Vec<(Change, Vec<Damage>)> = vec![
            (Box::new(|_| {}), vec![]),
            (Box::new(|seen| seen.forwards = false), vec![Damage::Forwarding]),
            (
                Box::new(move |seen| {
                    let _ = seen.links.remove(&gone);
                }),
                vec![Damage::Link(id())],
            ),
            (Box::new(move |seen| seen.links.get_mut(&down).unwrap().up = false), vec![Damage::Down(id())]),
            (Box::new(|seen| seen.addresses.clear()), vec![Damage::Address(id())]),
            (
                Box::new(|seen| {
                    let _ = seen.ways.insert(ADDRESS, None);
                }),
                vec![Damage::Route(id(), ADDRESS, None)],
            ),
            (
                Box::new(move |seen| {
                    let _ = seen.ways.insert(ADDRESS, lo);
                }),
                vec![Damage::Route(id(), ADDRESS, Some("lo".into()))],
            ),
            (set("rp_filter"), vec![Damage::Setting(id(), "rp_filter")]),
            (set("forwarding"), vec![Damage::Setting(id(), "forwarding")]),
        ];
        for (change, expected) in table {
            let mut seen = whole();
            change(&mut seen);
            assert_eq!(damages(&wanted(), &seen), expected);
        }
    }

    #[test]
    fn while_nothing_guards_them_links_must_not_forward() {
        let unguarded = Surroundings { forwards: false, ..wanted() };
        assert_eq!(damages(&unguarded, &whole()), [Damage::Setting(id(), "forwarding")]);
        // Nobody needs the node to forward.
        let mut inward = wanted();
        inward.rules.as_mut().unwrap().outbound.clear();
        assert_eq!(damages(&inward, &Seen { forwards: false, ..whole() }), []);
    }
}
