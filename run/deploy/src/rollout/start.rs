//! Starting: makes what is missing and waits until all of it is healthy, or one of it fails.

use super::{
    create::Creator,
    displace,
    judge::{self, Judgement},
    opening::{self, Opening},
    replace::{self, Held},
    restore,
    scene::{Scene, Wanted, is_healthy},
    shift, steps,
};
use crate::{cancel, claims, plan::blockers::other_owner, volumes::Home};
use freehold_model::{Code, Instance, InstanceId, Name, NodeSpec, Phase, Txn};
use freehold_reconcile::{Decision, Ids, StoreError, ViewExt};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// Why the release is given up: a sentence, and the instance that shows it.
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) instance: Option<InstanceId>,
    pub(super) code: Code,
}

impl Failure {
    pub(super) fn new(code: Code, reason: String) -> Failure {
        Failure { reason, instance: None, code }
    }
}

/// What all instances of the release together amount to.
enum Progress {
    Healthy,
    Waiting { wake: Option<Timestamp>, first: String },
    Failed(Failure),
}

pub(super) fn decide(scene: Scene<'_>, ids: &mut dyn Ids) -> Result<Decision, StoreError> {
    if let Some(by) = &scene.rollout.spec.cancelled_by {
        let failure = Failure::new(Code::Conflict, cancel::reason(by));
        return Ok(restore::begin(scene, failure));
    }
    if let Some(failure) = taken_port(&scene)? {
        return Ok(restore::begin(scene, failure));
    }
    let opening = opening::state(&scene);
    let given_up = scene.after(opening::PATIENCE);
    if let Opening::Closed(why) = &opening
        && scene.now >= given_up
    {
        let failure = Failure::new(Code::Unhealthy, why.clone());
        return Ok(restore::begin(scene, failure));
    }
    let held = replace::held(&scene)?;
    if !startable(&scene, &held).is_empty() {
        return create(scene, &held, ids);
    }
    let scene = match open(scene, ids) {
        Ok(scene) => scene,
        Err(decision) => return Ok(*decision),
    };
    Ok(match progress(&scene) {
        Progress::Failed(failure) => restore::begin(scene, failure),
        Progress::Healthy => match opening {
            Opening::Open if !held.is_empty() => replace::decide(scene, &held),
            Opening::Open => shift::decide(scene)?,
            Opening::Closed(why) => scene.wait_for(why, given_up, None),
            Opening::Unheard(on) if scene.now >= scene.rollout.spec.deadline => {
                restore::begin(scene, Failure::new(Code::Timeout, format!("{on}: its edge does not answer")))
            }
            Opening::Unheard(on) => {
                let deadline = scene.rollout.spec.deadline;
                scene.wait_for(on, deadline, None)
            }
        },
        Progress::Waiting { first, .. } if scene.now >= scene.rollout.spec.deadline => {
            let failure = late(&scene, &first);
            restore::begin(scene, failure)
        }
        Progress::Waiting { wake, first } => {
            let (closed, deadline) = (matches!(opening, Opening::Closed(_)), scene.rollout.spec.deadline);
            let wake = wake.into_iter().chain(closed.then_some(given_up)).min();
            scene.wait_for(first, deadline, wake)
        }
    })
}

/// Opens the ports that are still to be opened, where nothing is to be started with them; gives the scene back
/// if there are none.
fn open<'a>(mut scene: Scene<'a>, ids: &mut dyn Ids) -> Result<Scene<'a>, Box<Decision>> {
    let mut txn = scene.txn.clone();
    let opened = opening::open(&scene, &mut txn, ids);
    if opened.is_empty() {
        return Ok(scene);
    }
    scene.txn = txn;
    steps::open(&mut scene.receipt, "open", opened.join(", "), scene.now);
    let deadline = scene.rollout.spec.deadline;
    Err(Box::new(scene.commit(Some(deadline))))
}

fn create(mut scene: Scene<'_>, held: &Held, ids: &mut dyn Ids) -> Result<Decision, StoreError> {
    let target = scene.target.clone();
    let mut creator = Creator::new(scene.view, &scene.env, &target, false, scene.now)?;
    let mut txn = scene.txn.clone();
    match fill(&scene, held, &mut creator, &mut txn, ids) {
        Err(reason) => Ok(restore::begin(scene, Failure::new(Code::Unplaceable, reason))),
        Ok(mut detail) => {
            let opened = opening::open(&scene, &mut txn, ids);
            if !opened.is_empty() {
                detail += &format!("; opens {}", opened.join(", "));
            }
            scene.txn = txn;
            steps::open(&mut scene.receipt, "start", detail, scene.now);
            let deadline = scene.rollout.spec.deadline;
            Ok(scene.commit(Some(deadline)))
        }
    }
}

/// Adds everything that is missing to `txn` and says what that was, or why it cannot be.
fn fill(
    scene: &Scene<'_>,
    held: &Held,
    creator: &mut Creator<'_>,
    txn: &mut Txn,
    ids: &mut dyn Ids,
) -> Result<String, String> {
    let sets = scene.sets();
    let mut made = vec![];
    for (wanted, count) in &startable(scene, held) {
        let refused =
            |why| format!("{}: {} cannot be placed: {why}", wanted.process, steps::instances(*count));
        creator.create(txn, wanted, *count, ids).map_err(refused)?;
        made.push(format!("{count} × {}", wanted.process));
    }
    let displaced = displace::told(&creator.displaced);
    if !sets.kept.is_empty() {
        made.push(format!("{} kept", steps::instances(sets.kept.len())));
    }
    Ok(made.join(", ") + &displaced)
}

/// What is missing, comes after nothing that is not healthy yet, and needs no volume that another one has.
fn startable<'a>(scene: &'a Scene<'_>, held: &Held) -> Vec<(Wanted<'a>, usize)> {
    let sets = scene.sets();
    let lacking: BTreeSet<&Name> = sets.missing.iter().map(|(wanted, _)| wanted.process).collect();
    let ready = |process: &Name| {
        let mut all = sets.kept.iter().chain(&sets.fresh).filter(|it| it.spec.process == *process);
        !lacking.contains(process) && all.all(|instance| is_healthy(instance))
    };
    sets.missing
        .into_iter()
        .filter(|(wanted, _)| wanted.after.iter().all(ready) && !held.contains_key(wanted.process))
        .collect()
}

/// A port may have been taken by another app since the plan.
fn taken_port(scene: &Scene<'_>) -> Result<Option<Failure>, StoreError> {
    let Some(home) = Home::of(scene.view, &scene.env)? else { return Ok(None) };
    for endpoint in &scene.target.spec.manifest.endpoint {
        let key = claims::port(endpoint.protocol, endpoint.listen);
        if let Some(owner) = other_owner(scene.view, &key, home.project, Some(scene.env.id))? {
            let reason = format!("port {key} was taken by {owner} meanwhile");
            return Ok(Some(Failure::new(Code::Conflict, reason)));
        }
    }
    Ok(None)
}

fn progress(scene: &Scene<'_>) -> Progress {
    let sets = scene.sets();
    let fresh = sets.fresh.iter().map(|instance| (*instance, judge::fresh(instance, scene.now)));
    let since = scene.since();
    // What stays where it is while others move is none of the move's business.
    let judged = sets.kept.iter().filter(|_| scene.rollout.spec.leaves.is_none());
    let kept = judged.map(|instance| (*instance, judge::kept(instance, since, scene.now)));
    let mut waiting: Vec<(&Instance, Option<Timestamp>)> = vec![];
    for (instance, judgement) in fresh.chain(kept) {
        match judgement {
            Judgement::Healthy => {}
            Judgement::Waiting(wake) => waiting.push((instance, wake)),
            Judgement::Failed(reason) => {
                let instance = Some(instance.id);
                return Progress::Failed(Failure { reason, instance, code: Code::Unhealthy });
            }
        }
    }
    match waiting.first() {
        None => Progress::Healthy,
        Some((instance, _)) => Progress::Waiting {
            wake: waiting.iter().filter_map(|(_, wake)| *wake).min(),
            first: said(scene, instance, waiting.len()),
        },
    }
}

/// What one of the instances that are not healthy is at, and how many others are not.
fn said(scene: &Scene<'_>, instance: &Instance, waiting: usize) -> String {
    let node = scene.view.find::<NodeSpec>(instance.spec.node).ok().flatten();
    let unmet = node.iter().flat_map(|node| &node.status.conditions).find(|condition| !condition.state);
    let mut said = judge::pending(instance);
    if let (Phase::Pending, Some(unmet), Some(node)) = (instance.status.phase, unmet, &node) {
        said += &format!(": node {}: {}", node.name, unmet.message);
    }
    match waiting {
        0 | 1 => said,
        many => format!("{said} (and {} more)", many - 1),
    }
}

fn late(scene: &Scene<'_>, first: &str) -> Failure {
    let allowed: SignedDuration = scene.rollout.spec.deadline.duration_since(scene.rollout.created);
    let sets = scene.sets();
    let waits = |instance: &&&Instance| !is_healthy(instance);
    let instance = sets.fresh.iter().chain(&sets.kept).find(waits).map(|instance| instance.id);
    Failure { reason: format!("not healthy within {allowed:#}: {first}"), instance, code: Code::Unhealthy }
}
