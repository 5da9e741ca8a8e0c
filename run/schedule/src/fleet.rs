//! Nodes as placement sees them: what they have, what is promised already, and who is there.

use crate::Request;
use freehold_model::{
    AnyId, Bytes, Capacity, Desired, Instance, InstanceId, LabelKey, Millicores, Name, Node, NodeId, Phase,
    manifest::Driver,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A node that may be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its labels, `host` aside.
    pub labels: BTreeMap<String, String>,
    /// What keeps instances away that do not tolerate it.
    pub taints: BTreeSet<LabelKey>,
    /// Takes no new instances.
    pub cordoned: bool,
    /// It is being emptied.
    pub draining: bool,
    /// Nothing is heard of it.
    pub away: bool,
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

/// The nodes, and who is on them.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    pub(crate) nodes: Vec<Candidate>,
    pub(crate) residents: Vec<Resident>,
    index: HashMap<NodeId, usize>,
}

/// An instance that is on a node, or will be.
#[derive(Debug, Clone)]
pub(crate) struct Resident {
    /// `None`: it is placed in this round.
    pub(crate) id: Option<InstanceId>,
    pub(crate) env: Option<AnyId>,
    pub(crate) process: Name,
    /// The place of its node in the fleet.
    pub(crate) seat: usize,
    /// Whether it will still be there when what is placed now runs.
    pub(crate) stays: bool,
    /// It was told to stop: what it uses is free once it has.
    pub(crate) going: bool,
    pub(crate) priority: i32,
    pub(crate) memory: Bytes,
    pub(crate) healthy: bool,
    pub(crate) apart: Vec<Name>,
}

impl Fleet {
    /// The nodes with what `instances` use of each: everything that is not yet gone from its node. What
    /// `leaves` holds of is counted as use, and neither kept apart from nor spread among.
    pub fn new(nodes: &[Node], instances: &[Instance], leaves: impl Fn(&Instance) -> bool) -> Fleet {
        let candidates = nodes.iter().filter(|node| node.deleting.is_none()).map(Candidate::empty);
        let mut fleet = Fleet::of(candidates.collect());
        for instance in instances.iter().filter(|instance| instance.status.phase != Phase::Stopped) {
            let Some(&seat) = fleet.index.get(&instance.spec.node) else { continue };
            let template = &instance.spec.template;
            fleet.nodes[seat].take(template.cpu, template.memory);
            fleet.residents.push(Resident {
                id: Some(instance.id),
                env: instance.parent,
                process: instance.spec.process.clone(),
                seat,
                stays: instance.spec.desired == Desired::Running && !leaves(instance),
                going: instance.spec.desired == Desired::Stopped,
                priority: instance.spec.placed.priority,
                memory: template.memory,
                healthy: instance.status.healthy && instance.spec.serving && !fleet.nodes[seat].away,
                apart: template.rules.affinity.apart.clone(),
            });
        }
        fleet
    }

    /// Nodes with nobody on them but what they say themselves.
    pub fn of(nodes: Vec<Candidate>) -> Fleet {
        let index = nodes.iter().enumerate().map(|(seat, node)| (node.id, seat)).collect();
        Fleet { nodes, residents: vec![], index }
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Candidate] {
        &self.nodes
    }

    /// Counts an instance as placed at `seat`.
    pub(crate) fn take(&mut self, seat: usize, request: &Request) {
        self.nodes[seat].take(request.cpu, request.memory);
        self.residents.push(Resident {
            id: None,
            env: request.env,
            process: request.process.clone(),
            seat,
            stays: true,
            going: false,
            priority: request.priority,
            memory: request.memory,
            healthy: false,
            apart: request.rules.affinity.apart.clone(),
        });
    }

    /// Who of the env of `request` is there, and stays.
    pub(crate) fn family<'a>(&'a self, request: &'a Request) -> impl Iterator<Item = &'a Resident> {
        let of_it = |it: &&Resident| it.stays && it.env.is_some() && it.env == request.env;
        self.residents.iter().filter(of_it)
    }
}

impl Candidate {
    fn empty(node: &Node) -> Candidate {
        Candidate {
            id: node.id,
            name: node.name.clone(),
            labels: node.labels.clone(),
            taints: node.spec.taints.clone(),
            cordoned: node.spec.cordoned,
            draining: node.spec.draining.is_some(),
            away: node.status.away().is_some(),
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

    /// What it has for the label `key`; of `host`, its name.
    pub fn label(&self, key: &str) -> Option<&str> {
        match key {
            LabelKey::HOST => Some(&self.name),
            _ => self.labels.get(key).map(String::as_str),
        }
    }

    fn take(&mut self, cpu: Millicores, memory: Bytes) {
        self.used.cpu = Millicores(self.used.cpu.0.saturating_add(cpu.0));
        self.used.memory = Bytes(self.used.memory.0.saturating_add(memory.0));
        self.instances += 1;
    }
}
