//! What must hold after every step, and what must hold once everything is at rest (design, §8, 1 to 3).

use crate::user::Asked;
use freehold_model::{
    Actor, AnyId, AppSpec, Code, Desired, Digest, EndpointSpec, Env, EnvSpec, Event, Instance, InstanceId,
    InstanceSpec, Kind, Link, Name, NodeSpec, Phase, ReceiptId, ReceiptSpec, ReceiptStatus, Release,
    ReleaseId, ReleaseSpec, RolloutPhase, RolloutSpec, Seq, Verdict, Volume, VolumeId, VolumeSpec,
};
use freehold_reconcile::{
    View, ViewExt,
    memory::MemoryView,
    sim::{Machine, Routing, SimLease},
};
use freehold_schedule::{Fleet, Request, place_all};
use jiff::{SignedDuration, Timestamp};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

type Check = Result<(), String>;

pub(crate) struct Invariants {
    routing: Rc<RefCell<Routing>>,
    machines: Vec<Rc<RefCell<Machine>>>,
    asked: Rc<RefCell<Vec<Asked>>>,
    chaos: bool,
    seen: Seq,
    /// The receipts that have their verdict, as they were then.
    ended: BTreeMap<ReceiptId, ReceiptStatus>,
    /// The processes that had an available instance after the step before.
    available: BTreeSet<(AnyId, Name)>,
    /// The processes that had a healthy instance after the step before, serving or not.
    healthy: BTreeSet<(AnyId, Name)>,
    /// The instances that were given up with their node.
    lost: BTreeSet<InstanceId>,
    /// Which volumes each instance has that ever was.
    volumes: BTreeMap<InstanceId, Vec<VolumeId>>,
    /// What each instance may use that ever was.
    memory: BTreeMap<InstanceId, u64>,
    /// The processes that had to make room in this step.
    displaced: BTreeSet<(AnyId, Name)>,
    /// The envs of which a port was open after the step before.
    reached: BTreeSet<AnyId>,
    /// Whether anybody who made room had to wait for some of their own.
    pub(crate) waited: bool,
}

/// Whether every receipt has its verdict.
pub(crate) fn settled(view: &MemoryView) -> bool {
    let receipts = view.resources().filter(|resource| resource.kind == Kind::Receipt);
    receipts.into_iter().all(|receipt| !receipt.status["verdict"].is_null())
}

impl Invariants {
    pub(crate) fn new(
        routing: Rc<RefCell<Routing>>,
        machines: Vec<Rc<RefCell<Machine>>>,
        asked: Rc<RefCell<Vec<Asked>>>,
        chaos: bool,
    ) -> Invariants {
        Invariants {
            routing,
            machines,
            asked,
            chaos,
            seen: 0,
            ended: BTreeMap::new(),
            available: BTreeSet::new(),
            healthy: BTreeSet::new(),
            lost: BTreeSet::new(),
            volumes: BTreeMap::new(),
            memory: BTreeMap::new(),
            displaced: BTreeSet::new(),
            reached: BTreeSet::new(),
            waited: false,
        }
    }

    pub(crate) fn after_step(&mut self, view: &MemoryView) -> Check {
        self.volumes_have_one_writer()?;
        let events = view.events(self.seen, usize::MAX, None).unwrap();
        let Some(last) = events.last() else { return Ok(()) };
        self.seen = last.seq;
        let instances = view.all::<InstanceSpec>(None).unwrap();
        self.memory.extend(instances.iter().map(|it| (it.id, it.spec.template.memory.0)));
        self.nothing_is_overcommitted(view)?;
        let soon = |at: Timestamp| at.saturating_add(SignedDuration::from_secs(5)).unwrap_or(at);
        let since =
            |it: &Instance| it.spec.placed.preempted.as_ref().map(|it| it.at).filter(|_| waits_for_room(it));
        self.waited |= instances.iter().filter_map(since).any(|at| soon(at) < last.time);
        let by_event = |what: &'static str| events.iter().filter(move |event| event.what == what);
        let displaced: BTreeSet<AnyId> = by_event("instance.preempted").map(|event| event.subject).collect();
        self.displaced = processes(instances.iter().filter(|it| displaced.contains(&it.any_id())));
        nothing_important_was_displaced(&events)?;
        let given_up = by_event("instance.lost").chain(by_event("instance.preempted"));
        self.lost.extend(given_up.filter_map(|event| InstanceId::try_from(event.subject).ok()));
        // Nodes neither claim nor create: what they report leaves the claims alone.
        if !by_nodes(&events) {
            claims_are_held(view, &instances)?;
            self.receipts_are_true(view)?;
            self.volumes_are_held(view, &instances)?;
        }
        self.no_port_goes_before_another_is_open(view)?;
        self.nobody_takes_the_last_one_away(view, &instances, &events)?;
        self.the_edge_keeps_someone_to_route_to(view, &instances, &events)
    }

    /// At most one operation waits in an env and it holds its place, a verdict is for good, and what ended
    /// while it waited has changed nothing.
    fn receipts_are_true(&mut self, view: &MemoryView) -> Check {
        let receipts = view.all::<ReceiptSpec>(None).unwrap();
        let rollouts = view.all::<RolloutSpec>(None).unwrap();
        for receipt in &receipts {
            let (id, status) = (receipt.id, &receipt.status);
            if let Some(before) = self.ended.get(&id).filter(|before| *before != status) {
                return Err(format!("{id} had the verdict {before:?}, now it says {status:?}"));
            }
            if status.verdict.is_some() {
                self.ended.insert(id, status.clone());
            }
            let env = receipt.parent.map(|parent| parent.to_string()).unwrap_or_default();
            let waits = status.behind.is_some();
            if waits != (view.claim("waiting", &env).unwrap() == Some(receipt.any_id())) {
                return Err(format!("{id} waits: {waits}, and its place in the queue says otherwise"));
            }
            let never_ran = waits || status.verdict == Some(Verdict::Superseded);
            if never_ran && (status.steps.len() != 1 || receipt.spec.release.is_some()) {
                return Err(format!("{id} never had its turn, but did {:?}", status.steps));
            }
            if never_ran && rollouts.iter().any(|rollout| rollout.spec.receipt == id) {
                return Err(format!("{id} never had its turn, but has a rollout"));
            }
        }
        Ok(())
    }

    /// What really exists on a machine is never more than it holds.
    fn nothing_is_overcommitted(&self, view: &MemoryView) -> Check {
        let mut nodes = view.all::<NodeSpec>(None).unwrap();
        nodes.sort_by_key(|node| node.id);
        for (node, machine) in nodes.iter().zip(&self.machines) {
            let machine = machine.borrow();
            let used: u64 = machine.present().filter_map(|id| self.memory.get(&id)).sum();
            if used > node.status.capacity.memory.0 {
                return Err(format!(
                    "{} holds {used} bytes: {:?}",
                    node.name,
                    machine.present().collect::<Vec<_>>()
                ));
            }
        }
        Ok(())
    }

    /// No two processes that really exist, on whatever machine, have one volume.
    fn volumes_have_one_writer(&self) -> Check {
        let mut writers = BTreeMap::new();
        for machine in &self.machines {
            for id in machine.borrow().present() {
                for volume in self.volumes.get(&id).into_iter().flatten() {
                    if let Some(other) = writers.insert(*volume, id) {
                        return Err(format!("{volume} is written by {other} and {id}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Who has a volume holds it, and is where it is.
    fn volumes_are_held(&mut self, view: &MemoryView, instances: &[Instance]) -> Check {
        for instance in instances.iter().filter(|it| !it.spec.volumes.is_empty()) {
            let ids: Vec<VolumeId> = instance.spec.volumes.values().copied().collect();
            for id in &ids {
                if view.claim("volume", &id.to_string()).unwrap() != Some(instance.any_id()) {
                    return Err(format!("{} has {id} and does not hold it", instance.id));
                }
                let volume = view.find::<VolumeSpec>(*id).unwrap();
                if volume.is_none_or(|volume| volume.spec.node != instance.spec.node) {
                    return Err(format!("{} is not where {id} is", instance.id));
                }
            }
            self.volumes.insert(instance.id, ids);
        }
        Ok(())
    }

    /// Invariant 3: a process that should go on and had an available instance has one still, unless the
    /// instances failed by themselves, which only nodes report.
    fn nobody_takes_the_last_one_away(
        &mut self,
        view: &MemoryView,
        instances: &[Instance],
        events: &[Event],
    ) -> Check {
        // What is on a node that does not answer is not known to be healthy.
        let nodes = view.all::<NodeSpec>(None).unwrap();
        let away: BTreeSet<_> =
            nodes.iter().filter(|node| node.status.away().is_some()).map(|node| node.id).collect();
        let known = |it: &&Instance| !away.contains(&it.spec.node);
        let available = processes(instances.iter().filter(known).filter(|it| is_available(it)));
        let healthy = processes(instances.iter().filter(known).filter(|it| is_healthy(it)));
        let had_available = std::mem::replace(&mut self.available, available);
        let had_healthy = std::mem::replace(&mut self.healthy, healthy);
        if by_nodes(events) {
            return Ok(());
        }
        for (env, process) in had_available.difference(&self.available) {
            let excused =
                makes_room(view, *env, process) || self.displaced.contains(&(*env, process.clone()));
            if goes_on(view, *env, process) && !excused {
                return Err(format!("{process} of {env} lost its last healthy instance"));
            }
        }
        let now = events.last().map(|event| event.time);
        for (env, process) in had_healthy.difference(&self.healthy) {
            let displaced = self.displaced.contains(&(*env, process.clone()));
            let excused = displaced || gives_up(view, *env, now) || makes_room(view, *env, process);
            if goes_on(view, *env, process) && !excused {
                return Err(format!("{process} of {env} was stopped before its replacement was healthy"));
            }
        }
        Ok(())
    }

    /// An env that is reached stays so, as long as its release, or the one that it moves to, wants a port.
    fn no_port_goes_before_another_is_open(&mut self, view: &MemoryView) -> Check {
        let endpoints = view.all::<EndpointSpec>(None).unwrap();
        let open = endpoints.iter().filter(|it| it.status.listening && it.deleting.is_none());
        let reached: BTreeSet<AnyId> = open.filter_map(|it| it.parent).collect();
        let before = std::mem::replace(&mut self.reached, reached);
        for env in before.difference(&self.reached) {
            let Some(found) = view.get(*env).unwrap() else { continue };
            let env = found.typed::<EnvSpec>().unwrap();
            let rollouts = view.all::<RolloutSpec>(Some(env.any_id())).unwrap();
            // Before the shift, and when it is taken back, the env is still its release's.
            let shifted = |phase| matches!(phase, RolloutPhase::Draining | RolloutPhase::Stopping);
            let target = rollouts.iter().find(|it| shifted(it.status.phase)).map(|it| it.spec.release);
            let wants = |id: ReleaseId| view.find::<ReleaseSpec>(id).unwrap().map(|it| it.spec.manifest);
            let wanted = target.or(env.spec.release).and_then(wants);
            if env.deleting.is_none() && wanted.is_some_and(|it| !it.endpoint.is_empty()) {
                return Err(format!("{} lost its last open port", env.id));
            }
        }
        Ok(())
    }

    /// What the edge really routes to is never all told to stop.
    fn the_edge_keeps_someone_to_route_to(
        &self,
        view: &MemoryView,
        instances: &[Instance],
        events: &[Event],
    ) -> Check {
        if !events.iter().any(|event| event.actor == Actor::Controller("rollout".into())) {
            return Ok(());
        }
        let runs =
            |id: &InstanceId| instances.iter().any(|it| it.id == *id && it.spec.desired == Desired::Running);
        for (id, backends) in self.routing.borrow().iter() {
            let Some(endpoint) = view.find::<EndpointSpec>(*id).unwrap() else { continue };
            let (env, process) = (endpoint.parent.unwrap(), &endpoint.spec.process);
            let wanted = goes_on(view, env, process) && !makes_room(view, env, process);
            let mut left = backends.iter().filter(|id| !self.lost.contains(*id)).peekable();
            if wanted && left.peek().is_some() && !left.any(runs) {
                return Err(format!("{} routes only to what was told to stop", endpoint.name));
            }
        }
        Ok(())
    }

    pub(crate) fn at_rest(&self, view: &MemoryView) -> Check {
        history_is_whole(view)?;
        self.requests_have_their_verdicts(view)?;
        let instances = view.all::<InstanceSpec>(None).unwrap();
        for env in view.all::<EnvSpec>(None).unwrap() {
            runs_its_release(view, &env, &instances)?;
            is_reached_at_its_ports(view, &env)?;
        }
        let stored: BTreeSet<_> = instances.iter().filter(|it| !waits_for_room(it)).map(|it| it.id).collect();
        let real: Vec<_> =
            self.machines.iter().flat_map(|it| it.borrow().present().collect::<Vec<_>>()).collect();
        let distinct: BTreeSet<_> = real.iter().copied().collect();
        if distinct != stored || distinct.len() != real.len() {
            return Err(format!("nodes run {real:?}, but {stored:?} are wanted"));
        }
        nothing_is_left_over(view, &instances)
    }

    /// Invariant 1, as far as it shows here: what was acknowledged is there, with a verdict that is true.
    fn requests_have_their_verdicts(&self, view: &MemoryView) -> Check {
        for asked in self.asked.borrow().iter() {
            let Some(id) = asked.receipt else { continue };
            let receipt = view.find::<ReceiptSpec>(id).unwrap().ok_or(format!("{id} was lost"))?;
            let (verdict, reason) = (receipt.status.verdict, receipt.status.reason.unwrap_or_default());
            let removed = reason == "the app was removed";
            let stale = asked.pinned && receipt.status.code == Some(Code::StalePlan);
            let taken = ["was taken by", "the port is taken", "cannot be placed"];
            let taken = taken.iter().any(|why| reason.contains(why));
            match verdict {
                None => return Err(format!("{id} has no verdict")),
                Some(Verdict::Succeeded) if asked.broken => return Err(format!("{id} succeeded: {reason}")),
                Some(Verdict::Failed) if !asked.broken && !self.chaos && !removed && !taken && !stale => {
                    return Err(format!("{id} failed: {reason}"));
                }
                Some(_) => {}
            }
            if receipt.status.steps.iter().any(|step| step.finished.is_none()) {
                return Err(format!("{id} has an open step"));
            }
        }
        Ok(())
    }
}

/// Whoever has to make room is less important than who takes it.
fn nothing_important_was_displaced(events: &[Event]) -> Check {
    let rank = |event: &Event, key: &str| event.data[key].as_i64().unwrap();
    let mut displaced = events.iter().filter(|event| event.what == "instance.preempted");
    match displaced.find(|event| rank(event, "own_priority") >= rank(event, "priority")) {
        Some(event) => Err(format!("{} was displaced: {}", event.subject, event.data)),
        None => Ok(()),
    }
}

/// Whether it made room and is gone, and there is none in its place.
fn waits_for_room(instance: &Instance) -> bool {
    instance.spec.placed.preempted.is_some() && instance.status.phase == Phase::Stopped
}

fn by_nodes(events: &[Event]) -> bool {
    let lease = Actor::Controller(SimLease::NAME.into());
    events.iter().all(|event| matches!(event.actor, Actor::Node(_)) || event.actor == lease)
}

/// Invariant 2, and that nothing holds a claim which is not there.
fn claims_are_held(view: &MemoryView, instances: &[Instance]) -> Check {
    let mut addresses = BTreeSet::new();
    for instance in instances {
        let key = instance.spec.address.to_string();
        if view.claim("address", &key).unwrap() != Some(instance.any_id()) || !addresses.insert(key) {
            return Err(format!("{} does not hold its address", instance.id));
        }
    }
    for claim in view.every_claim() {
        if view.get(claim.owner).unwrap().is_none() {
            return Err(format!("{} holds {} {} and is gone", claim.owner, claim.scope, claim.key));
        }
    }
    for endpoint in view.all::<EndpointSpec>(None).unwrap() {
        if view.claim("port", &endpoint.name).unwrap() != Some(endpoint.any_id()) {
            return Err(format!("{} does not hold its port", endpoint.id));
        }
    }
    let rollouts = view.all::<RolloutSpec>(None).unwrap();
    for rollout in rollouts.iter().filter(|rollout| !rollout.status.phase.is_final()) {
        let env = rollout.parent.unwrap().to_string();
        if view.claim("rollout", &env).unwrap() != Some(rollout.any_id()) {
            return Err(format!("{} is active and does not hold its env", rollout.id));
        }
    }
    Ok(())
}

fn processes<'a>(instances: impl Iterator<Item = &'a Instance>) -> BTreeSet<(AnyId, Name)> {
    instances.map(|it| (it.parent.unwrap(), it.spec.process.clone())).collect()
}

fn is_available(instance: &Instance) -> bool {
    instance.spec.serving && is_healthy(instance)
}

fn is_healthy(instance: &Instance) -> bool {
    let (spec, status) = (&instance.spec, &instance.status);
    spec.desired == Desired::Running && status.healthy && status.phase == Phase::Running
}

/// Whether the rollout of `env` is taken back, or has run out of time: then what is healthy may go.
fn gives_up(view: &MemoryView, env: AnyId, now: Option<Timestamp>) -> bool {
    view.all::<RolloutSpec>(Some(env)).unwrap().iter().any(|rollout| match rollout.status.phase {
        RolloutPhase::Restoring => true,
        phase => !phase.is_final() && now >= Some(rollout.spec.deadline),
    })
}

/// The one exception from invariant 3: during a rollout, what has a volume stops before the next writer of
/// it starts.
fn makes_room(view: &MemoryView, env: AnyId, process: &Name) -> bool {
    let rollouts = view.all::<RolloutSpec>(Some(env)).unwrap();
    let has_volume = |release: ReleaseId| {
        let release = view.find::<ReleaseSpec>(release).unwrap();
        release.is_some_and(|it| it.spec.templates.get(process).is_some_and(|it| !it.mounts.is_empty()))
    };
    let active = rollouts.iter().find(|rollout| !rollout.status.phase.is_final());
    active.is_some_and(|it| it.spec.previous.is_some_and(has_volume))
}

/// Whether instances of `process` are still wanted in `env`.
fn goes_on(view: &MemoryView, env: AnyId, process: &Name) -> bool {
    let Some(env) = view.get(env).unwrap().and_then(|env| env.typed::<EnvSpec>().ok()) else { return false };
    let wants = |release: ReleaseId| {
        let release = view.find::<ReleaseSpec>(release).unwrap();
        release.and_then(|it| it.spec.manifest.process.get(process).map(|it| it.count)).unwrap_or(0) > 0
    };
    let rollouts = view.all::<RolloutSpec>(Some(env.id.into())).unwrap();
    let target = rollouts.iter().find(|it| !it.status.phase.is_final()).map(|it| it.spec.release);
    env.deleting.is_none() && target.or(env.spec.release).is_some_and(wants)
}

fn history_is_whole(view: &MemoryView) -> Check {
    let mut last = view.anchor().unwrap().map_or_else(Link::genesis, |anchor| anchor.link());
    for event in view.events(last.seq, usize::MAX, None).unwrap() {
        last = last.follow(&event).map_err(|broken| broken.to_string())?;
    }
    Ok(())
}

fn runs_its_release(view: &MemoryView, env: &Env, instances: &[Instance]) -> Check {
    let release = env.spec.release.and_then(|id| view.find::<ReleaseSpec>(id).unwrap());
    let mut wanted = BTreeMap::new();
    for (process, template) in release.iter().flat_map(|release| &release.spec.templates) {
        let count = release.as_ref().map_or(0, |it| it.spec.manifest.process[process].count);
        if count > 0 {
            wanted.insert((process.clone(), template.hash()), count);
        }
    }
    let mut there = BTreeMap::new();
    let ours = |it: &&Instance| it.parent == Some(env.any_id()) && !waits_for_room(it);
    for instance in instances.iter().filter(ours) {
        if instance.spec.desired != Desired::Running || !instance.spec.serving {
            return Err(format!("{} is left over", instance.id));
        }
        let key = (instance.spec.process.clone(), instance.spec.template_hash.clone());
        *there.entry(key).or_insert(0) += 1;
    }
    if wanted == there || lacks_only_room(view, env, release.as_ref(), &there, instances) {
        Ok(())
    } else {
        Err(format!("{} wants {wanted:?}, has {there:?}", env.id))
    }
}

/// The ports of the release that runs are open, and no others are there.
fn is_reached_at_its_ports(view: &MemoryView, env: &Env) -> Check {
    let release = env.spec.release.and_then(|id| view.find::<ReleaseSpec>(id).unwrap());
    let wanted: BTreeSet<u16> =
        release.iter().flat_map(|it| &it.spec.manifest.endpoint).map(|it| it.listen).collect();
    let endpoints = view.all::<EndpointSpec>(Some(env.any_id())).unwrap();
    let open: BTreeSet<u16> =
        endpoints.iter().filter(|it| it.status.listening).map(|it| it.spec.listen).collect();
    match open == wanted && endpoints.len() == open.len() {
        true => Ok(()),
        false => Err(format!("{} wants the ports {wanted:?}, has {open:?} of {}", env.id, endpoints.len())),
    }
}

/// Whether there is too little of some, for which no node has room, and nothing else is amiss.
fn lacks_only_room(
    view: &MemoryView,
    env: &Env,
    release: Option<&Release>,
    there: &BTreeMap<(Name, Digest), u32>,
    instances: &[Instance],
) -> bool {
    let Some(release) = release else { return false };
    let mut known = 0;
    let lacking = release.spec.templates.iter().all(|(process, template)| {
        let wanted = &release.spec.manifest.process[process];
        let there = there.get(&(process.clone(), template.hash())).copied().unwrap_or(0);
        known += there;
        let volume = |it: &&Volume| {
            template.mounts.iter().any(|mount| it.name.ends_with(&format!("/{}", mount.volume)))
        };
        let volumes = view.all::<VolumeSpec>(None).unwrap();
        let pin = volumes
            .iter()
            .filter(|it| Some(it.spec.app.as_str()) == Some(release.spec.manifest.app.as_str()));
        let request = Request::new(Some(env.any_id()), process, template, wanted.priority);
        let request = Request { pin: pin.filter(|it| volume(it)).map(|it| it.spec.node).next(), ..request };
        let mut fleet = Fleet::new(&view.all::<NodeSpec>(None).unwrap(), instances, |_| false);
        there == wanted.count || there < wanted.count && place_all(&mut fleet, &request, 1).is_err()
    });
    lacking && known == there.values().sum::<u32>()
}

fn nothing_is_left_over(view: &MemoryView, instances: &[Instance]) -> Check {
    if view.claims("address").unwrap().len() != instances.len() {
        return Err("an address is held by nobody's instance".into());
    }
    if !view.claims("waiting").unwrap().is_empty() {
        return Err("an operation still waits".into());
    }
    if !view.claims("rollout").unwrap().is_empty() {
        return Err("a rollout is still active".into());
    }
    if let Some(app) = view.all::<AppSpec>(None).unwrap().iter().find(|app| app.deleting.is_some()) {
        return Err(format!("{} was to be removed", app.id));
    }
    for resource in view.resources().filter(|resource| resource.kind != Kind::Receipt) {
        if resource.parent.is_some_and(|parent| view.get(parent).unwrap().is_none()) {
            return Err(format!("{} has no parent any more", resource.id));
        }
    }
    Ok(())
}
