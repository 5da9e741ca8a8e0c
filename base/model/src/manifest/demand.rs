//! What a release asks of the node beyond the walls of its project: to run without walls, to reach what trusts
//! the node itself, to listen where the machine's own services do.
//!
//! Pure and alone in saying so: every door that leads to such a release asks here, and asks for the right.

use super::{Destination, Driver, Egress, Manifest, Protocol};
use crate::{ReleaseSpec, Template};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// Ports below this one are those of the machine's own services: name server, SSH, mail.
pub const FIRST_FREE_PORT: u16 = 1024;

/// One such thing. Whoever brings it about needs a right for it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// Processes of the node's user: whoever decides what they do is that user.
    BareProcess,
    /// A way to a link-local address, where clouds tell machines their credentials.
    LinkLocal,
    /// A port of the machine's services.
    LowPort {
        /// By which protocol.
        protocol: Protocol,
        /// Which.
        port: u16,
    },
}

impl fmt::Display for Demand {
    /// Completes the sentence "It needs …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Demand::BareProcess => f.write_str("a process of the node's user (`driver = \"process\"`)"),
            Demand::LinkLocal => f.write_str("link-local addresses (`egress`), such as a cloud's metadata"),
            Demand::LowPort { protocol: Protocol::Tcp, port } => write!(f, "the system port tcp/{port}"),
            Demand::LowPort { protocol: Protocol::Udp, port } => write!(f, "the system port udp/{port}"),
        }
    }
}

impl Manifest {
    /// Everything that it asks of the node beyond its project.
    pub fn demands(&self) -> BTreeSet<Demand> {
        let processes = self.process.values().flat_map(|it| isolation(it.driver, &it.egress));
        let low = self.endpoint.iter().filter(|it| it.listen < FIRST_FREE_PORT);
        let ports = low.map(|it| Demand::LowPort { protocol: it.protocol, port: it.listen });
        processes.chain(ports).collect()
    }
}

impl ReleaseSpec {
    /// The same of a release: of its manifest, and of the templates that really run.
    pub fn demands(&self) -> BTreeSet<Demand> {
        let mut demands = self.manifest.demands();
        demands.extend(self.templates.values().flat_map(Template::demands));
        demands
    }
}

impl Template {
    /// The same of one instance: who runs a command in it has what it has.
    pub fn demands(&self) -> BTreeSet<Demand> {
        isolation(self.driver, &self.egress).collect()
    }
}

fn isolation(driver: Driver, egress: &[Egress]) -> impl Iterator<Item = Demand> + use<> {
    let bare = (driver == Driver::Process).then_some(Demand::BareProcess);
    let near = egress.iter().any(|one| leads_to_link(&one.to)).then_some(Demand::LinkLocal);
    bare.into_iter().chain(near)
}

/// Whether it opens link-local addresses. Wide networks do not: the node keeps those out of them.
fn leads_to_link(to: &Destination) -> bool {
    matches!(to, Destination::Network(address, bits) if *bits == 32 && address.is_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_walls_is_a_demand() {
        let demands = |process: &str, endpoint: &str| {
            let text = format!(
                "schema = 1\napp = \"a\"\n[process.web]\nimage = \"web:1\"\n{process}\n[[endpoint]]\nprocess = \"web\"\ntarget = 80\n{endpoint}"
            );
            let env = "prod".parse().unwrap();
            Manifest::parse("freehold.toml", &text, &env).unwrap().demands().into_iter().collect::<Vec<_>>()
        };
        let low = |protocol, port| Demand::LowPort { protocol, port };
        for (process, endpoint, expected) in [
            ("", "listen = 1024", vec![]),
            (
                "egress = [\"*\", \"169.254.0.0/16\", \"10.0.0.0/8\", \"node.freehold:22\"]",
                "listen = 8000",
                vec![],
            ),
            ("driver = \"process\"", "listen = 8000", vec![Demand::BareProcess]),
            ("egress = [\"*\", \"169.254.169.254:80\"]", "listen = 8000", vec![Demand::LinkLocal]),
            ("", "listen = 22", vec![low(Protocol::Tcp, 22)]),
            ("", "listen = 53\nprotocol = \"udp\"", vec![low(Protocol::Udp, 53)]),
            ("driver = \"process\"", "listen = 1023", vec![Demand::BareProcess, low(Protocol::Tcp, 1023)]),
        ] {
            assert_eq!(demands(process, endpoint), expected, "{process} {endpoint}");
        }
    }
}
