//! Who lives on this node, by env: what the order of starting and stopping, the rules of the network and
//! the resolver of names are made from.
//!
//! The supervisor notes what is assigned, each worker what it sees of its own instance. Invariant: all of
//! one assignment is noted before any worker acts on it, so nobody overtakes what it comes after.

use freehold_model::{AnyId, Instance, InstanceId, InstanceSpec, Name, manifest::Driver};
use freehold_runtime::network::Neighbourhood;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// One instance, as its neighbours need to know it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resident {
    /// Its env; `None` for what nobody knows any more.
    pub(crate) env: Option<AnyId>,
    /// The last assignment.
    pub(crate) spec: InstanceSpec,
    /// It should run.
    pub(crate) wanted: bool,
    /// Something of it runs.
    pub(crate) live: bool,
    /// It passes its check.
    pub(crate) healthy: bool,
}

/// Everybody.
#[derive(Debug, Default)]
pub(crate) struct Residents {
    all: Mutex<BTreeMap<InstanceId, Resident>>,
    changed: watch::Sender<u64>,
}

impl Residents {
    /// Changes with everything that is noted.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Notes what is assigned.
    pub(crate) fn assigned(&self, instances: &[Instance], wanted: impl Fn(&Instance) -> bool) {
        self.change(|all| {
            for instance in instances {
                note(all, instance.id, instance.parent, &instance.spec, wanted(instance));
            }
        });
    }

    /// Notes one instance that was known before.
    pub(crate) fn known(&self, id: InstanceId, env: Option<AnyId>, spec: &InstanceSpec, wanted: bool) {
        self.change(|all| note(all, id, env, spec, wanted));
    }

    /// Notes that it runs already, before its worker has looked.
    pub(crate) fn runs(&self, id: InstanceId) {
        self.change(|all| {
            if let Some(resident) = all.get_mut(&id) {
                resident.live = true;
            }
        });
    }

    /// Notes what its worker sees.
    pub(crate) fn observed(&self, id: InstanceId, wanted: bool, live: bool, healthy: bool) {
        self.change(|all| {
            if let Some(resident) = all.get_mut(&id) {
                (resident.wanted, resident.live, resident.healthy) = (wanted, live, healthy);
            }
        });
    }

    /// It is gone from the node.
    pub(crate) fn forget(&self, id: InstanceId) {
        self.change(|all| drop(all.remove(&id)));
    }

    /// The env of an instance.
    pub(crate) fn env(&self, id: InstanceId) -> Option<AnyId> {
        self.lock().get(&id)?.env
    }

    /// Who has that address.
    pub(crate) fn at(&self, address: Ipv4Addr) -> Option<(InstanceId, Resident)> {
        let all = self.lock();
        tenants(&all).remove(&address).map(|(id, resident)| (id, resident.clone()))
    }

    /// Everybody, as of now.
    pub(crate) fn all(&self) -> Vec<(InstanceId, Resident)> {
        self.lock().iter().map(|(id, resident)| (*id, resident.clone())).collect()
    }

    /// The processes that an instance still has to wait for before it starts. One that runs nowhere on
    /// this node is not waited for.
    pub(crate) fn lacks(&self, id: InstanceId) -> Vec<Name> {
        let all = self.lock();
        let Some(own) = all.get(&id) else { return vec![] };
        let lacking = |process: &&Name| {
            let mut of =
                neighbours(&all, own).filter(|it| it.wanted && it.spec.process == **process).peekable();
            of.peek().is_some() && !of.any(|it| it.live && it.healthy)
        };
        own.spec.after.iter().filter(lacking).cloned().collect()
    }

    /// The instances that make room for this one and are not gone yet: it starts after that.
    pub(crate) fn room_of(&self, id: InstanceId) -> Vec<InstanceId> {
        let all = self.lock();
        let room_of = all.get(&id).map_or(&[][..], |own| &own.spec.placed.room_of);
        let is_here = |id: &&InstanceId| all.get(*id).is_some_and(|it| it.wanted || it.live);
        room_of.iter().filter(is_here).copied().collect()
    }

    /// Whether an instance must still wait before it is stopped: others come after it, and run, and are to
    /// be stopped too (`all_stop`: as everything is).
    pub(crate) fn is_needed(&self, id: InstanceId, all_stop: bool) -> bool {
        let all = self.lock();
        let Some(own) = all.get(&id) else { return false };
        let mut later = neighbours(&all, own).filter(|it| it.spec.after.contains(&own.spec.process));
        later.any(|it| it.live && (all_stop || !it.wanted))
    }

    /// The addresses of the healthy instances of a process: of those that serve, or, where none does yet, of
    /// all. `None` if there is no such process in the env.
    pub(crate) fn addresses(&self, env: Option<AnyId>, process: &str) -> Option<Vec<Ipv4Addr>> {
        let all = self.lock();
        let of = |it: &&Resident| it.env == env && it.spec.process.as_str() == process && it.is_isolated();
        let of: Vec<&Resident> = all.values().filter(of).collect();
        if of.is_empty() || env.is_none() {
            return None;
        }
        let healthy: Vec<&Resident> =
            of.into_iter().filter(|it| it.wanted && it.live && it.healthy).collect();
        let serving: Vec<&Resident> = healthy.iter().copied().filter(|it| it.spec.serving).collect();
        let chosen = if serving.is_empty() { healthy } else { serving };
        Some(chosen.into_iter().map(|it| it.spec.address).collect())
    }

    /// How the node's rules should be; `None` where there is nobody to have rules for.
    pub(crate) fn neighbourhood(
        &self,
        gateway: Ipv4Addr,
        bits: u8,
        resolver: Option<u16>,
    ) -> Option<Neighbourhood> {
        let all = self.lock();
        let tenants = tenants(&all);
        let mut envs: BTreeMap<String, BTreeSet<Ipv4Addr>> = BTreeMap::new();
        let mut outbound = BTreeSet::new();
        for (address, (_, resident)) in &tenants {
            if let Some(env) = resident.env {
                envs.entry(env.to_string()).or_default().insert(*address);
            }
            if !resident.spec.template.egress.is_empty() {
                outbound.insert(*address);
            }
        }
        let wanted = Neighbourhood { gateway, bits, resolver, envs, outbound };
        (!tenants.is_empty()).then_some(wanted)
    }

    fn change(&self, act: impl FnOnce(&mut BTreeMap<InstanceId, Resident>)) {
        let mut all = self.lock();
        let before = all.clone();
        act(&mut all);
        if *all != before {
            drop(all);
            self.changed.send_modify(|n| *n += 1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Resident>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resident {
    /// It has a network of its own.
    pub(crate) fn is_isolated(&self) -> bool {
        self.spec.template.driver == Driver::Container
    }
}

fn note(
    all: &mut BTreeMap<InstanceId, Resident>,
    id: InstanceId,
    env: Option<AnyId>,
    spec: &InstanceSpec,
    wanted: bool,
) {
    let fresh = || Resident { env, spec: spec.clone(), wanted, live: false, healthy: false };
    let resident = all.entry(id).or_insert_with(fresh);
    (resident.spec, resident.wanted) = (spec.clone(), wanted);
    resident.env = env.or(resident.env);
}

/// Who has each address: the newest of those it was given to, as one that has ended stays for a while
/// after the control plane has given its address away.
fn tenants(all: &BTreeMap<InstanceId, Resident>) -> BTreeMap<Ipv4Addr, (InstanceId, &Resident)> {
    let isolated = all.iter().filter(|(_, it)| it.is_isolated());
    isolated.map(|(id, it)| (it.spec.address, (*id, it))).collect()
}

fn neighbours<'a>(
    all: &'a BTreeMap<InstanceId, Resident>,
    own: &'a Resident,
) -> impl Iterator<Item = &'a Resident> {
    all.values().filter(|it| it.env.is_some() && it.env == own.env)
}

#[cfg(test)]
pub(crate) mod tests;
