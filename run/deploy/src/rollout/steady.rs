//! No rollout is active: keeps the counts of the env's release, and tidies up.

use super::{
    create::Creator,
    scene::{Wanted, active, controller, fresh, is_healthy, matching, reap, stop, wanted},
};
use crate::lookup::current_release;
use freehold_model::{Env, Instance, InstanceSpec, Release, Txn};
use freehold_reconcile::{Decision, Ids, StoreError, View, ViewExt};
use jiff::{SignedDuration, Timestamp};

/// How soon to look again for a node that takes what none could take.
const RETRY: SignedDuration = SignedDuration::from_secs(15);

pub(super) fn decide(
    view: &dyn View,
    env: &Env,
    now: Timestamp,
    ids: &mut dyn Ids,
) -> Result<Decision, StoreError> {
    let instances = view.all::<InstanceSpec>(Some(env.id.into()))?;
    let mut txn = Txn::new(controller(), "keep what should run", env.id.to_string());
    reap(&instances, &mut txn);
    // A rollout stops its own; what is left over was made by one that ended.
    for instance in fresh(&instances) {
        stop(&mut txn, instance);
    }
    let mut placed = true;
    match current_release(view, env)? {
        Some(release) => placed = keep(view, env, &release, &instances, now, &mut txn, ids)?,
        None => active(&instances).for_each(|instance| stop(&mut txn, instance)),
    }
    let txn = Some(txn).filter(|txn| !txn.is_empty()).map(|mut txn| {
        txn.expect(env.id, env.version);
        txn
    });
    // What was reaped gives its volumes back: look again at once.
    let wait = if txn.is_some() { SignedDuration::ZERO } else { RETRY };
    let again = now.saturating_add(wait).unwrap_or(now);
    Ok(Decision { txn, wake: Some(again).filter(|_| !placed) })
}

/// Whether everything that is missing could be placed.
fn keep(
    view: &dyn View,
    env: &Env,
    release: &Release,
    instances: &[Instance],
    now: Timestamp,
    txn: &mut Txn,
    ids: &mut dyn Ids,
) -> Result<bool, StoreError> {
    let all: Vec<Wanted<'_>> = wanted(&release.spec).collect();
    for wanted in &all {
        stop_surplus(instances, wanted, txn);
    }
    let is_wanted = |it: &&Instance| all.iter().any(|wanted| *wanted.process == it.spec.process);
    for instance in active(instances).filter(|instance| !is_wanted(instance)) {
        stop(txn, instance);
    }
    let mut placed = true;
    let mut creator = None;
    for wanted in &all {
        let have = matching(active(instances), wanted).len();
        if have >= wanted.count {
            continue;
        }
        if creator.is_none() {
            creator = Some(Creator::new(view, env, release, true, now)?);
        }
        let Some(creator) = creator.as_mut() else { continue };
        let mut more = txn.clone();
        match creator.create(&mut more, wanted, wanted.count - have, ids) {
            Ok(()) => *txn = more,
            Err(_) => {
                placed = false;
                make_room(instances, wanted, txn);
            }
        }
    }
    Ok(placed)
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
fn stop_surplus(instances: &[Instance], wanted: &Wanted<'_>, txn: &mut Txn) {
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
        txn.expect(instance.id, instance.version);
    }
    for instance in leave {
        stop(txn, instance);
    }
}
