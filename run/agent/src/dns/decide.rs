//! What becomes of a question: a pure function of who asks, for what.

use crate::residents::{Resident, Residents};
use freehold_model::manifest::{Destination, Egress, NODE};
use freehold_runtime::network::Opening;
use std::{net::Ipv4Addr, time::Duration};

/// Where the names of an env's own processes are.
const OWN: &str = "internal";
/// An address of a name stays open at least so long after the answer: programs keep addresses longer than
/// they should, and must not lose their way while Freehold itself is restarted.
const LEAST: Duration = Duration::from_secs(60);

/// What becomes of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// These are the addresses; there may be none just now.
    Here(Vec<Ipv4Addr>),
    /// There is no such name in the env.
    Unknown,
    /// The node's name servers are asked.
    Ask,
    /// No egress names it.
    Forbidden,
}

/// Decides about `name`, in lower case and without a dot at its end, asked by `asker`.
pub(crate) fn decide(name: &str, asker: &Resident, residents: &Residents, gateway: Ipv4Addr) -> Decision {
    if name == NODE {
        return Decision::Here(vec![gateway]);
    }
    let own = name.strip_suffix(OWN).and_then(|head| head.strip_suffix('.'));
    if let Some(process) = own.or_else(|| (!name.contains('.')).then_some(name)) {
        return match residents.addresses(asker.env, process) {
            Some(addresses) => Decision::Here(addresses),
            None => Decision::Unknown,
        };
    }
    // Who looks up the name of an address means no harm, and there is none.
    if name.ends_with(".in-addr.arpa") || name.ends_with(".ip6.arpa") {
        return Decision::Unknown;
    }
    let allowed = asker.spec.template.egress.iter().any(|egress| egress.names(name));
    if allowed { Decision::Ask } else { Decision::Forbidden }
}

/// Whether an outside name may stand for `address`: the node, other instances and what is special to a
/// link are reached by names of their own or by address, never by a name that somebody else controls.
pub(crate) fn is_outside(address: Ipv4Addr, gateway: Ipv4Addr, bits: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    let ours = (address.to_bits() ^ gateway.to_bits()) & mask == 0;
    !(ours
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.octets()[0] == 0)
}

/// What must be open before `asker` is told that `name` stands for `addresses` for `time`.
pub(crate) fn openings(name: &str, asker: &Resident, addresses: &[Ipv4Addr], time: Duration) -> Vec<Opening> {
    let by_name = |egress: &&Egress| egress.to != Destination::Anywhere && egress.names(name);
    let time = time.max(LEAST);
    let egress = asker.spec.template.egress.iter().filter(by_name);
    let of_one = |one: &Egress| {
        let (port, protocol) = (one.port, one.protocol);
        addresses
            .iter()
            .map(move |address| Opening { address: *address, port, protocol, time })
            .collect::<Vec<_>>()
    };
    egress.flat_map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::{
        AnyId, Bytes, Desired, Digest, EnvId, ImageRef, InstanceId, InstanceSpec, Millicores, Millis, NodeId,
        ReleaseId, Template, manifest::Driver,
    };
    use ulid::Ulid;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 210, 0, 1);

    fn spec(process: &str, n: u8, egress: &[&str]) -> InstanceSpec {
        let template = Template {
            image: ImageRef { reference: "web:1".into(), digest: Digest::of(b"web") },
            driver: Driver::Container,
            command: None,
            args: None,
            env: Default::default(),
            secrets: vec![],
            cpu: Millicores(100),
            memory: Bytes(1 << 20),
            pids: 512,
            egress: egress.iter().map(|text| text.parse().unwrap()).collect(),
            check: None,
            stop_timeout: Millis(1),
            revision: 0,
        };
        InstanceSpec {
            node: NodeId(Ulid::nil()),
            process: process.parse().unwrap(),
            release: ReleaseId(Ulid::nil()),
            template_hash: template.hash(),
            template,
            address: Ipv4Addr::new(10, 210, 0, n),
            desired: Desired::Running,
            serving: true,
            after: vec![],
        }
    }

    /// `web` twice (the second not healthy) and `db` in env 1, another `db` in env 2.
    fn house(egress: &[&str]) -> (Residents, Resident) {
        let residents = Residents::default();
        let all = [("web", 2, 1, true), ("web", 3, 1, false), ("db", 4, 1, true), ("db", 5, 2, true)];
        for (process, n, env, healthy) in all {
            let id = InstanceId(Ulid::from_parts(1, n.into()));
            let env = AnyId::from(EnvId(Ulid::from_parts(1, env)));
            residents.known(id, Some(env), &spec(process, n, egress), true);
            residents.observed(id, true, true, healthy);
        }
        let (_, asker) = residents.at(Ipv4Addr::new(10, 210, 0, 2)).unwrap();
        (residents, asker)
    }

    fn here(last: &[u8]) -> Decision {
        Decision::Here(last.iter().map(|n| Ipv4Addr::new(10, 210, 0, *n)).collect())
    }

    #[test]
    fn names_of_the_env_are_its_healthy_instances() {
        let (residents, asker) = house(&[]);
        for (name, expected) in [
            ("web", here(&[2])),
            ("web.internal", here(&[2])),
            ("db.internal", here(&[4])),
            ("nothing", Decision::Unknown),
            ("nothing.internal", Decision::Unknown),
            ("internal", Decision::Unknown),
            ("node.freehold", Decision::Here(vec![GATEWAY])),
            ("1.0.0.10.in-addr.arpa", Decision::Unknown),
            ("db.internal.example", Decision::Forbidden),
            ("example.com", Decision::Forbidden),
        ] {
            assert_eq!(decide(name, &asker, &residents, GATEWAY), expected, "{name}");
        }
        let db = residents.at(Ipv4Addr::new(10, 210, 0, 4)).unwrap().1;
        let id = InstanceId(Ulid::from_parts(1, 4));
        residents.observed(id, true, true, false);
        assert_eq!(decide("db", &db, &residents, GATEWAY), here(&[]), "a name without anybody just now");
    }

    #[test]
    fn those_that_serve_come_before_those_that_do_not_yet() {
        let (residents, asker) = house(&[]);
        let second = InstanceId(Ulid::from_parts(1, 3));
        residents.known(second, None, &InstanceSpec { serving: false, ..spec("web", 3, &[]) }, true);
        residents.observed(second, true, true, true);
        assert_eq!(decide("web", &asker, &residents, GATEWAY), here(&[2]));
        let first = InstanceId(Ulid::from_parts(1, 2));
        residents.forget(first);
        assert_eq!(decide("web", &asker, &residents, GATEWAY), here(&[3]), "none serves");
    }

    #[test]
    fn outside_names_are_asked_for_where_egress_allows_them() {
        let (residents, asker) = house(&["api.example:443", "*.deep.example", "10.0.0.0/8"]);
        for (name, expected) in [
            ("api.example", Decision::Ask),
            ("other.example", Decision::Forbidden),
            ("a.deep.example", Decision::Ask),
            ("deep.example", Decision::Forbidden),
        ] {
            assert_eq!(decide(name, &asker, &residents, GATEWAY), expected, "{name}");
        }
        let (residents, asker) = house(&["*:443"]);
        assert_eq!(decide("anything.example", &asker, &residents, GATEWAY), Decision::Ask);
    }

    #[test]
    fn openings_are_those_of_the_name_and_last_a_minute_at_least() {
        let (_, asker) = house(&["api.example:443/tcp", "*.example", "*:80", "10.0.0.0/8"]);
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let opened = openings("api.example", &asker, &[address], Duration::from_secs(5));
        let ports: Vec<_> = opened.iter().map(|it| it.port).collect();
        assert_eq!(ports, [Some(443), None]);
        assert!(opened.iter().all(|it| it.time == LEAST && it.address == address));
        assert_eq!(openings("b.org", &asker, &[address], LEAST), [], "open by address already");
    }

    #[test]
    fn no_name_of_somebody_elses_leads_to_the_node_or_to_other_instances() {
        for inside in [
            "10.210.0.1",
            "10.210.3.4",
            "127.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!is_outside(inside.parse().unwrap(), GATEWAY, 16), "{inside}");
        }
        for outside in ["192.168.1.5", "10.211.0.1", "1.1.1.1"] {
            assert!(is_outside(outside.parse().unwrap(), GATEWAY, 16), "{outside}");
        }
    }
}
