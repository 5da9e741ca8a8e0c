//! One env moves its instances off a node: a rollout of the release that it runs already.
//!
//! The same machinery as any rollout: new instances start and become healthy, endpoints shift, connections
//! drain, the old ones stop; and if the new ones fail, the old ones go on.

use crate::{
    claims,
    lookup::current_release,
    rollout::steps,
    secrets,
    templates::{is_other, priority},
};
use freehold_model::{
    Desired, Digest, Env, Instance, InstanceSpec, Node, NodeId, NodeSpec, Operation, Receipt, ReceiptId,
    ReceiptSpec, Release, Rollout, RolloutId, RolloutPhase, RolloutSpec, RolloutStatus, Txn, Verdict,
};
use freehold_reconcile::{Ids, StoreError, View, ViewExt};
use freehold_schedule::{Fleet, Request, place_all};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;

/// A move that failed is tried again after so long.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// Why an env cannot move now.
pub(super) struct Obstacle {
    pub(super) why: String,
    /// When to look again; `None`: nothing changes by waiting.
    pub(super) again: Option<Timestamp>,
}

/// What keeps the instances of `env` on `node`, those with volumes aside.
pub(super) fn obstacle(
    view: &dyn View,
    env: &Env,
    node: &Node,
    now: Timestamp,
) -> Result<Option<Obstacle>, StoreError> {
    let soon = |why: String| Some(Obstacle { why, again: Some(now.saturating_add(AGAIN).unwrap_or(now)) });
    if claims::active_rollout(view, env.id)?.is_some() || claims::waiting(view, env.id)?.is_some() {
        return Ok(soon("another operation is under way in the env: its turn comes after that".into()));
    }
    let Some(release) = current_release(view, env)? else {
        return Ok(soon("no release has rolled out yet".into()));
    };
    if let Some(failed) = last_failure(view, env, node)? {
        let again = failed.status.finished.and_then(|at| at.saturating_add(AGAIN).ok()).unwrap_or(now);
        if now < again {
            let reason = failed.status.reason.unwrap_or_default();
            let why = format!("the last move failed: {reason} ({}); it is tried again", failed.id);
            return Ok(Some(Obstacle { why, again: Some(again) }));
        }
    }
    unplaceable(view, env, &release, node.id).map(|why| why.and_then(soon))
}

/// Why what is to move has no place elsewhere.
fn unplaceable(
    view: &dyn View,
    env: &Env,
    release: &Release,
    node: NodeId,
) -> Result<Option<String>, StoreError> {
    let instances = view.all::<InstanceSpec>(None)?;
    let parent = Some(env.any_id());
    let mut leaving: BTreeMap<_, u32> = BTreeMap::new();
    for instance in instances.iter().filter(|it| it.parent == parent && moves(it, node)) {
        *leaving.entry(instance.spec.process.clone()).or_default() += 1;
    }
    let leaves = |it: &Instance| it.parent == parent && (is_other(&release.spec, it) || moves(it, node));
    let mut fleet = Fleet::new(&view.all::<NodeSpec>(None)?, &instances, leaves);
    for (process, count) in leaving {
        let Some(template) = release.spec.templates.get(&process) else { continue };
        let request = Request::new(parent, &process, template, priority(&release.spec, &process));
        if let Err((fitting, why)) = place_all(&mut fleet, &request, count) {
            return Ok(Some(format!("{process}: {fitting} of {count} can be placed elsewhere: {why}")));
        }
    }
    Ok(None)
}

/// Whether `instance` is to leave `node`, and can.
pub(super) fn moves(instance: &Instance, node: NodeId) -> bool {
    let spec = &instance.spec;
    spec.node == node && spec.desired == Desired::Running && spec.volumes.is_empty()
}

/// The last move of `env`, if it failed since the drain began.
fn last_failure(view: &dyn View, env: &Env, node: &Node) -> Result<Option<Receipt>, StoreError> {
    let receipts = view.all::<ReceiptSpec>(Some(env.any_id()))?;
    let ours =
        |it: &&Receipt| it.spec.operation == Operation::Move && Some(it.spec.accepted) >= node.spec.draining;
    let last = receipts.iter().filter(ours).max_by_key(|it| (it.spec.accepted, it.id));
    Ok(last.filter(|it| it.status.verdict.is_some_and(|verdict| verdict != Verdict::Succeeded)).cloned())
}

/// The transaction that begins the move of `env` off `node`.
pub(super) fn begin(
    view: &dyn View,
    mut txn: Txn,
    env: &Env,
    node: &Node,
    now: Timestamp,
    ids: &mut dyn Ids,
) -> Result<Option<Txn>, StoreError> {
    let Some(release) = current_release(view, env)? else { return Ok(None) };
    let receipt = ReceiptId(ids.ulid());
    let digest =
        |(name, made): (&_, &freehold_model::Template)| (Clone::clone(name), made.image.digest.clone());
    let spec = ReceiptSpec {
        operation: Operation::Move,
        actor: txn.actor.clone(),
        app: release.spec.manifest.app.clone(),
        env: env.name.parse().unwrap_or_else(|_| release.spec.manifest.app.clone()),
        plan_hash: Digest::of_json(&json!({ "move": env.id, "off": node.id, "release": release.id })),
        manifest_hash: Some(release.spec.manifest_hash.clone()),
        release: Some(release.id),
        release_number: Some(release.spec.number),
        previous: Some(release.id),
        previous_number: Some(release.spec.number),
        images: release.spec.templates.iter().map(digest).collect(),
        secrets: secrets::pinned(&release.spec),
        accepted: now,
        queued: None,
    };
    let mut receipt = Receipt::new(receipt, receipt.to_string(), Some(env.any_id()), spec, now);
    steps::open(&mut receipt, "move", format!("off node {}, which is being drained", node.name), now);
    let id = RolloutId(ids.ulid());
    let patience = release.spec.manifest.deploy.timeout.signed();
    let spec = RolloutSpec {
        release: release.id,
        previous: Some(release.id),
        receipt: receipt.id,
        deadline: now.saturating_add(patience).unwrap_or(Timestamp::MAX),
        leaves: Some(node.id),
        cancelled_by: None,
    };
    let mut rollout = Rollout::new(id, id.to_string(), Some(env.any_id()), spec, now);
    rollout.status = RolloutStatus { phase: RolloutPhase::Starting, since: Some(now), failure: None };
    txn.expect(env.id, env.version).expect(node.id, node.version);
    txn.put(&receipt).put(&rollout).claim(claims::ROLLOUT, env.id, id);
    Ok(Some(txn))
}
