//! Nodes as placement sees them: what they have and what is promised already.

use crate::Request;
use freehold_model::{Bytes, Capacity, Instance, Millicores, Node, NodeId, Phase, manifest::Driver};

/// A node that may be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Takes no new instances.
    pub cordoned: bool,
    /// The drivers that work on it.
    pub drivers: Vec<Driver>,
    /// Why its instances reach nothing outside, if they do not.
    pub closed: Option<String>,
    /// What it has.
    pub capacity: Capacity,
    /// What its instances may use together.
    pub used: Capacity,
    /// How many instances it has.
    pub instances: u32,
}

/// The nodes with what `instances` use of each: everything that is not yet gone from its node.
pub fn candidates(nodes: &[Node], instances: &[Instance]) -> Vec<Candidate> {
    let with_usage = |node: &Node| {
        let mut candidate = Candidate::empty(node);
        for instance in instances.iter().filter(|instance| instance.spec.node == node.id) {
            if instance.status.phase != Phase::Stopped {
                candidate.take(&Request::of(instance));
            }
        }
        candidate
    };
    nodes.iter().filter(|node| node.deleting.is_none()).map(with_usage).collect()
}

impl Candidate {
    fn empty(node: &Node) -> Candidate {
        Candidate {
            id: node.id,
            name: node.name.clone(),
            cordoned: node.spec.cordoned,
            drivers: node.status.drivers.clone(),
            closed: node.status.closed().map(str::to_owned),
            capacity: node.status.capacity,
            used: Capacity::default(),
            instances: 0,
        }
    }

    /// The memory that is promised to nobody.
    pub fn free_memory(&self) -> Bytes {
        Bytes(self.capacity.memory.0.saturating_sub(self.used.memory.0))
    }

    /// Counts an instance as placed here.
    pub fn take(&mut self, request: &Request) {
        self.used.cpu = Millicores(self.used.cpu.0.saturating_add(request.cpu.0));
        self.used.memory = Bytes(self.used.memory.0.saturating_add(request.memory.0));
        self.instances += 1;
    }
}

impl Request {
    /// What a running instance needs.
    pub fn of(instance: &Instance) -> Request {
        Request::from(&instance.spec.template)
    }
}

impl From<&freehold_model::Template> for Request {
    fn from(template: &freehold_model::Template) -> Request {
        let egress = !template.egress.is_empty();
        Request { driver: template.driver, egress, cpu: template.cpu, memory: template.memory, pin: None }
    }
}
