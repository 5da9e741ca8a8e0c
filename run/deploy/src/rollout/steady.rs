//! No rollout is active: keeps the counts of the env's release, and tidies up.

use super::{
    away::Away,
    create::Creator,
    scene::{Wanted, active, controller, fresh, is_gone, is_healthy, matching, reap, stop, wanted},
};
use crate::{claims, lookup::current_release, templates::priority};
use freehold_model::{Digest, Env, Instance, InstanceSpec, Name, Release, Txn};
use freehold_reconcile::{Decision, Ids, StoreError, View, ViewExt};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::{cmp::Reverse, collections::BTreeMap};

/// How soon to look again for a node that takes what none could take.
const RETRY: SignedDuration = SignedDuration::from_secs(15);

pub(super) fn decide(
    view: &dyn View,
    env: &Env,
    now: Timestamp,
    ids: &mut dyn Ids,
) -> Result<Decision, StoreError> {
    let away = Away::load(view, now)?;
    let instances = away.veiled(view.all::<InstanceSpec>(Some(env.id.into()))?);
    let mut txn = Txn::new(controller(), "keep what should run", env.id.to_string());
    let (preempted, gone): (Vec<Instance>, Vec<Instance>) =
        instances.iter().filter(|it| is_gone(it)).cloned().partition(|it| it.spec.placed.preempted.is_some());
    reap(&gone, &mut txn);
    // A rollout stops its own; what is left over was made by one that ended.
    for instance in fresh(&instances) {
        stop(&mut txn, instance);
    }
    let (mut unplaced, mut lost) = (Unplaced::new(), None);
    match current_release(view, env)? {
        Some(release) => {
            let keeping = Keeping { view, env, release: &release, instances: &instances, away: &away, now };
            unplaced = keeping.keep(&mut txn, ids)?;
            lost = away.next(&instances, &release.spec);
        }
        None => active(&instances).for_each(|instance| stop(&mut txn, instance)),
    }
    keep_waiting(preempted, &unplaced, &mut txn);
    let txn = Some(txn).filter(|txn| !txn.is_empty()).map(|mut txn| {
        txn.expect(env.id, env.version);
        txn
    });
    // What was reaped gives its volumes back: look again at once.
    let wait = if txn.is_some() { SignedDuration::ZERO } else { RETRY };
    let again = now.saturating_add(wait).unwrap_or(now);
    let again = Some(again).filter(|_| !unplaced.is_empty());
    Ok(Decision { txn, wake: again.into_iter().chain(lost).min() })
}

/// What is looked at to keep what should run.
struct Keeping<'a> {
    view: &'a dyn View,
    env: &'a Env,
    release: &'a Release,
    instances: &'a [Instance],
    away: &'a Away,
    now: Timestamp,
}

impl Keeping<'_> {
    /// Makes what is missing, the most important first; says what could not be placed.
    fn keep(&self, txn: &mut Txn, ids: &mut dyn Ids) -> Result<Unplaced, StoreError> {
        let mut all: Vec<Wanted<'_>> = wanted(&self.release.spec).collect();
        all.sort_by_key(|wanted| Reverse(priority(&self.release.spec, wanted.process)));
        for wanted in &all {
            stop_surplus(self.instances, wanted, self.away, txn);
        }
        let is_wanted = |it: &&Instance| all.iter().any(|wanted| *wanted.process == it.spec.process);
        for instance in active(self.instances).filter(|instance| !is_wanted(instance)) {
            stop(txn, instance);
        }
        let (mut unplaced, mut creator) = (Unplaced::new(), None);
        for wanted in &all {
            let mut have = matching(active(self.instances), wanted);
            have.sort_by_key(|instance| (!is_healthy(instance), instance.id));
            have.truncate(wanted.count);
            let lost: Vec<&Instance> =
                have.iter().filter(|it| self.away.is_lost(it, &self.release.spec)).copied().collect();
            let missing = wanted.count - (have.len() - lost.len());
            if missing == 0 {
                continue;
            }
            if creator.is_none() {
                creator = Some(Creator::new(self.view, self.env, self.release, true, self.now)?);
            }
            let Some(creator) = creator.as_mut() else { continue };
            let mut more = txn.clone();
            match creator.create_some(&mut more, wanted, missing, ids) {
                Ok((made, why)) => {
                    *txn = more;
                    self.replaced(&lost, made, missing, txn);
                    if why.is_some() {
                        unplaced.insert((wanted.process.clone(), wanted.hash.clone()), missing - made);
                        make_room(self.instances, wanted, txn);
                    }
                }
                Err(_) => {
                    unplaced.insert((wanted.process.clone(), wanted.hash.clone()), missing);
                    make_room(self.instances, wanted, txn);
                }
            }
        }
        Ok(unplaced)
    }

    /// Of the lost ones, as many are told to stop as there are others in their place, in the same transaction:
    /// when their node is back, they do not run twice. The rest go on being wanted where they are. One whose
    /// node is back by now is not lost.
    fn replaced(&self, lost: &[&Instance], made: usize, missing: usize, txn: &mut Txn) {
        let stay = (missing - made).min(lost.len());
        for instance in &lost[..lost.len() - stay] {
            self.away.rely_on(txn, instance);
            stop(txn, instance);
            let data = json!({ "node": instance.spec.node, "process": instance.spec.process });
            txn.event(instance.id, "instance.lost", data);
        }
    }
}

/// How many of each process, made of that, have no place.
type Unplaced = BTreeMap<(Name, Digest), usize>;

/// An instance that was pre-empted and is gone from its node stays, to say so, as long as there is none in its
/// place: the last that were. It gives back its volumes at once, for it will not be the one to come back.
fn keep_waiting(mut preempted: Vec<Instance>, unplaced: &Unplaced, txn: &mut Txn) {
    let mut left = unplaced.clone();
    preempted.sort_by_key(|it| Reverse((it.spec.placed.preempted.as_ref().map(|it| it.at), it.id)));
    for mut instance in preempted {
        let key = (instance.spec.process.clone(), instance.spec.template_hash.clone());
        match left.get_mut(&key).filter(|left| **left > 0) {
            None => drop(txn.delete(instance.id)),
            Some(left) => {
                *left -= 1;
                let volumes = std::mem::take(&mut instance.spec.volumes);
                if !volumes.is_empty() {
                    txn.put_spec(&instance);
                }
                for volume in volumes.values() {
                    txn.release(claims::VOLUME, volume);
                }
            }
        }
    }
}

/// What is made of something else and has the volumes goes first: a volume has one writer.
fn make_room(instances: &[Instance], wanted: &Wanted<'_>, txn: &mut Txn) {
    let has_them =
        |it: &&Instance| wanted.template.mounts.iter().any(|m| it.spec.volumes.contains_key(&m.volume));
    let others = active(instances).filter(|it| it.spec.template_hash != wanted.hash);
    others.filter(has_them).for_each(|instance| stop(txn, instance));
}

/// Stops what there is too much of, the unhealthy and the newest first; what is made of something else
/// goes too, once there are enough healthy ones without it.
fn stop_surplus(instances: &[Instance], wanted: &Wanted<'_>, away: &Away, txn: &mut Txn) {
    let mut same = matching(active(instances), wanted);
    same.sort_by_key(|instance| (!is_healthy(instance), instance.id));
    let surplus = same.split_off(same.len().min(wanted.count));
    let others = active(instances).filter(|instance| {
        instance.spec.process == *wanted.process && instance.spec.template_hash != wanted.hash
    });
    let replaced = same.len() == wanted.count && same.iter().all(|instance| is_healthy(instance));
    let leave: Vec<&Instance> = surplus.into_iter().chain(others.filter(|_| replaced)).collect();
    if leave.is_empty() {
        return;
    }
    for instance in same {
        away.rely_on(txn, instance);
    }
    for instance in leave {
        // Once its node is back it may be the healthy one.
        if away.is_away(instance) {
            away.rely_on(txn, instance);
        }
        stop(txn, instance);
    }
}
