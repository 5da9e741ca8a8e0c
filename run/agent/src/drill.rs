//! The egress drill: tries from inside an instance what should be open and what should be closed.
//!
//! Called through [`Agent::drill_egress`](crate::Agent::drill_egress); the attempts are made by threads of
//! this process that enter the instance's network, so the image needs no tool. [`targets`] decides what is
//! tried and what should come of it, [`judge`] what the outcome means: both pure.

use crate::{agent::Shared, dns, residents::Resident};
use freehold_model::{
    InstanceId,
    drill::{EgressTry, Way},
    manifest::{Destination, Egress, NODE, Protocol},
};
use freehold_runtime::network::{Attempt, InstanceNetwork};
use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket},
    sync::Arc,
    time::Duration,
};

/// A way that is open answers within this, or is not proved open.
const PATIENCE: Duration = Duration::from_millis(1500);
/// A name that everybody may know, and that an instance without egress does not.
const A_NAME: &str = "example.com";
/// Clouds keep the keys of their machines there.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// An address that most machines reach.
const A_SERVER: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);

/// Something to try.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    to: To,
    what: String,
    expected: Way,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum To {
    Address(Ipv4Addr, u16),
    /// Look the name up, and connect to the port where there is one.
    Name(String, Option<u16>),
}

/// What surrounds an instance.
struct Surroundings {
    gateway: Ipv4Addr,
    /// Ports of the node, and what they are.
    node_ports: Vec<(u16, String)>,
    /// An address of the node outside, and a server that it asks for names.
    own: Option<Ipv4Addr>,
    name_server: Option<SocketAddrV4>,
    /// Of its own env, and of another.
    neighbour: Option<Ipv4Addr>,
    stranger: Option<Ipv4Addr>,
}

/// Drills one instance; the error says why it cannot be.
pub(crate) async fn drill(
    shared: &Shared,
    id: InstanceId,
    node_ports: Vec<(u16, String)>,
) -> Result<Vec<EgressTry>, String> {
    let residents = shared.residents.all();
    let own = residents.iter().find(|(other, _)| *other == id).map(|(_, resident)| resident.clone());
    let resident = own.ok_or_else(|| format!("{id} does not run on this node"))?;
    let run = shared.live().get(&id).cloned().ok_or_else(|| format!("{id} does not run now"))?;
    let network = run.1.network().await.map_err(|error| error.to_string())?;
    let other = |same: bool| {
        let fits = |it: &&(InstanceId, Resident)| {
            it.0 != id && it.1.live && it.1.is_isolated() && (it.1.env == resident.env) == same
        };
        residents.iter().find(fits).map(|(_, resident)| resident.spec.address)
    };
    let name_server = shared.config.name_servers.as_ref().map(dns::NameServers::list).unwrap_or_default();
    let around = Surroundings {
        gateway: shared.config.gateway,
        node_ports,
        own: own_address(),
        name_server: name_server.into_iter().find_map(|server| match server {
            SocketAddr::V4(server) if !server.ip().is_loopback() => Some(server),
            _ => None,
        }),
        neighbour: other(true),
        stranger: other(false),
    };
    let tries = targets(&resident.spec.template.egress, &around).into_iter().map(|target| {
        let (network, gateway) = (Arc::clone(&network), around.gateway);
        tokio::task::spawn_blocking(move || try_one(&network, gateway, target))
    });
    let mut done = vec![];
    for tried in tries.collect::<Vec<_>>() {
        let (target, found, ok, detail) = tried.await.map_err(|error| error.to_string())?;
        let process = resident.spec.process.clone();
        let (what, expected) = (target.what, target.expected);
        let target = match target.to {
            To::Address(address, port) => format!("{address}:{port}"),
            To::Name(name, Some(port)) => format!("{name}:{port}"),
            To::Name(name, None) => format!("name {name}"),
        };
        done.push(EgressTry { instance: id, process, target, what, expected, found, ok, detail });
    }
    Ok(done)
}

/// Everything worth trying.
fn targets(egress: &[Egress], around: &Surroundings) -> Vec<Target> {
    let mut all = vec![];
    let mut add = |to: To, what: String, expected: Way| {
        if !all.iter().any(|known: &Target| known.to == to) {
            all.push(Target { to, what, expected });
        }
    };
    for one in egress.iter().filter(|one| one.protocol != Some(Protocol::Udp)) {
        let (port, what) = (one.port.unwrap_or(443), format!("egress {one}"));
        match &one.to {
            Destination::Name(name) if name == NODE => {
                add(To::Address(around.gateway, port), what, Way::Open)
            }
            Destination::Name(name) => add(To::Name(name.clone(), Some(port)), what, Way::Open),
            Destination::Network(address, 32) => add(To::Address(*address, port), what, Way::Open),
            _ => {}
        }
    }
    let outside = |address: Ipv4Addr, port| {
        let open = egress.iter().any(|one| one.covers(address, port, Protocol::Tcp));
        if open { Way::Open } else { Way::Closed }
    };
    if let Some(server) = around.name_server {
        add(
            To::Address(*server.ip(), server.port()),
            "the node's name server".into(),
            outside(*server.ip(), server.port()),
        );
    }
    add(To::Address(A_SERVER, 443), "an address outside".into(), outside(A_SERVER, 443));
    let named = |address: Ipv4Addr, port| {
        let by_name = address == around.gateway;
        let names = |one: &&Egress| match &one.to {
            Destination::Network(own, 32) => *own == address,
            Destination::Name(name) => by_name && name == NODE,
            _ => false,
        };
        let open = egress.iter().filter(names).any(|one| one.takes(port, Protocol::Tcp));
        if open { Way::Open } else { Way::Closed }
    };
    add(To::Address(METADATA, 80), "a cloud's metadata".into(), named(METADATA, 80));
    for (port, what) in &around.node_ports {
        add(To::Address(around.gateway, *port), what.clone(), named(around.gateway, *port));
        if let Some(own) = around.own {
            add(To::Address(own, *port), format!("{what}, at another address of the node"), Way::Closed);
        }
    }
    if let Some(stranger) = around.stranger {
        add(To::Address(stranger, 80), "an instance of another env".into(), Way::Closed);
    }
    if let Some(neighbour) = around.neighbour {
        add(To::Address(neighbour, 80), "an instance of its own env".into(), Way::Open);
    }
    if !egress.iter().any(|one| one.names(A_NAME)) {
        add(To::Name(A_NAME.into(), None), "a name that egress does not allow".into(), Way::Closed);
    }
    all
}

fn try_one(network: &InstanceNetwork, gateway: Ipv4Addr, target: Target) -> (Target, Way, bool, String) {
    let (found, detail) = match &target.to {
        To::Address(address, port) => connect(network, SocketAddrV4::new(*address, *port), target.expected),
        To::Name(name, port) => match (look_up(network, gateway, name), port) {
            (Err(why), _) => (Way::Unknown, why),
            (Ok(None), _) if target.expected == Way::Open => {
                (Way::Unknown, "it has no address, or none outside the node".into())
            }
            (Ok(None), _) => (Way::Closed, "the name does not exist inside".into()),
            (Ok(Some(address)), None) => (Way::Open, format!("it is {address}")),
            (Ok(Some(address)), Some(port)) => {
                connect(network, SocketAddrV4::new(address, *port), target.expected)
            }
        },
    };
    let ok = found == target.expected || found == Way::Unknown;
    (target, found, ok, detail)
}

fn connect(network: &InstanceNetwork, to: SocketAddrV4, expected: Way) -> (Way, String) {
    match network.connect(to, PATIENCE) {
        Err(error) => (Way::Unknown, format!("it could not be tried: {error}")),
        Ok(attempt) => judge(attempt, expected, || TcpStream::connect_timeout(&to.into(), PATIENCE).is_ok()),
    }
}

/// What an attempt means. What is closed is refused at once, so silence means that nothing stopped it.
fn judge(attempt: Attempt, expected: Way, node_can: impl Fn() -> bool) -> (Way, String) {
    match (attempt, expected) {
        (Attempt::Connected, _) => (Way::Open, "connected".into()),
        (Attempt::Refused, _) => (Way::Open, "reached; nobody listens there".into()),
        (Attempt::Closed, Way::Open) if !node_can() => {
            (Way::Unknown, "unreachable, for the node as well".into())
        }
        (Attempt::Closed, _) => (Way::Closed, "refused on the way".into()),
        (Attempt::Silent, Way::Closed) => (Way::Open, "nothing stopped it, and nobody answered".into()),
        (Attempt::Silent, _) if node_can() => {
            (Way::Closed, "no answer, while the node itself has one".into())
        }
        (Attempt::Silent, _) => (Way::Unknown, "nobody answers, the node neither".into()),
    }
}

/// What the node's resolver says inside; `None`: no address.
fn look_up(network: &InstanceNetwork, gateway: Ipv4Addr, name: &str) -> Result<Option<Ipv4Addr>, String> {
    let question = dns::question(name).ok_or("it is no name that can be asked for")?;
    let patience = Duration::from_secs(5);
    let answer = network.exchange(SocketAddrV4::new(gateway, 53), &question, patience);
    let answer = answer.map_err(|error| format!("the resolver cannot be asked: {error}"))?;
    Ok(dns::first_address(&answer.ok_or("the resolver does not answer")?))
}

/// The address that the node would leave with; no packet is sent to find out.
fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect((A_SERVER, 53)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(own) if !own.ip().is_unspecified() => Some(*own.ip()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        Surroundings {
            gateway: Ipv4Addr::new(10, 210, 0, 1),
            node_ports: vec![(7117, "the node's API".into()), (8000, "an endpoint".into())],
            own: Some(Ipv4Addr::new(192, 168, 1, 2)),
            name_server: "192.168.1.1:53".parse().ok(),
            neighbour: Some(Ipv4Addr::new(10, 210, 0, 3)),
            stranger: Some(Ipv4Addr::new(10, 210, 0, 4)),
        }
    }

    fn expected(egress: &[&str]) -> Vec<(String, Way)> {
        let egress: Vec<Egress> = egress.iter().map(|text| text.parse().unwrap()).collect();
        let text = |target: Target| match target.to {
            To::Address(address, port) => (format!("{address}:{port}"), target.expected),
            To::Name(name, port) => (format!("{name}:{}", port.unwrap_or(0)), target.expected),
        };
        targets(&egress, &around()).into_iter().map(text).collect()
    }

    fn open(egress: &[&str]) -> Vec<String> {
        expected(egress).into_iter().filter(|(_, way)| *way == Way::Open).map(|(target, _)| target).collect()
    }

    #[test]
    fn without_egress_only_the_own_env_is_open() {
        assert_eq!(open(&[]), ["10.210.0.3:80"]);
        let all = expected(&[]);
        for closed in [
            "192.168.1.1:53",
            "1.1.1.1:443",
            "169.254.169.254:80",
            "10.210.0.1:7117",
            "192.168.1.2:7117",
            "10.210.0.4:80",
            "example.com:0",
        ] {
            assert!(all.contains(&(closed.into(), Way::Closed)), "{closed} in {all:?}");
        }
    }

    #[test]
    fn what_egress_opens_is_expected_open_and_the_node_and_others_stay_closed() {
        let everywhere = open(&["*"]);
        assert_eq!(everywhere, ["192.168.1.1:53", "1.1.1.1:443", "10.210.0.3:80"]);
        assert!(
            expected(&["*"]).iter().all(|(target, _)| target != "example.com:0"),
            "every name is allowed"
        );
        let some = open(&["api.example:80", "node.freehold:8000", "1.1.1.1:443/tcp", "1.1.1.1:53/udp"]);
        assert_eq!(some, ["api.example:80", "10.210.0.1:8000", "1.1.1.1:443", "10.210.0.3:80"]);
    }

    #[test]
    fn an_outcome_is_held_against_it_only_where_it_proves_something() {
        for (attempt, expected, node_can, found) in [
            (Attempt::Connected, Way::Closed, true, Way::Open),
            (Attempt::Refused, Way::Closed, true, Way::Open),
            (Attempt::Silent, Way::Closed, false, Way::Open),
            (Attempt::Closed, Way::Closed, true, Way::Closed),
            (Attempt::Closed, Way::Open, true, Way::Closed),
            (Attempt::Closed, Way::Open, false, Way::Unknown),
            (Attempt::Silent, Way::Open, true, Way::Closed),
            (Attempt::Silent, Way::Open, false, Way::Unknown),
        ] {
            assert_eq!(judge(attempt, expected, || node_can).0, found, "{attempt:?} {expected:?} {node_can}");
        }
    }
}
