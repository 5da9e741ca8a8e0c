//! The reconciler of envs: moves an env from one release to another, and keeps what it should run.
//!
//! Each phase of a rollout is a file; each decision is one transaction. Instances that should run are
//! either *active* (`serving`: they belong to what runs) or *fresh* (not yet). A rollout makes fresh
//! ones, and when all are healthy one transaction swaps the two sets. Invariant: an active healthy
//! instance is never taken away before another of its process is active and healthy, save one that has a
//! volume (`replace`), and every transaction that relies on an instance's health expects the version it was read at.

mod away;
mod create;
pub(crate) mod displace;
mod drain;
mod judge;
mod opening;
mod replace;
mod restore;
mod scene;
mod shift;
mod start;
mod steady;
pub(crate) mod steps;
mod stop;

use crate::{claims, queue};
use freehold_model::{
    AnyId, AnyResource, Env, EnvId, EnvSpec, Event, InstanceSpec, Kind, Rollout, RolloutPhase,
};
use freehold_reconcile::{Decision, Ids, Reconciler, StoreError, View, ViewExt};
use jiff::Timestamp;
use scene::Scene;
pub(crate) use scene::{active, controller, is_healthy};
use std::collections::BTreeSet;
pub(crate) use stop::closed;

/// Makes each env run its release. A subject is an env.
#[derive(Debug, Clone, Copy, Default)]
pub struct RolloutReconciler;

impl Reconciler for RolloutReconciler {
    fn name(&self) -> &'static str {
        "rollout"
    }

    fn concerns(&self, event: &Event, view: &dyn View) -> Result<Vec<AnyId>, StoreError> {
        let subject = event.subject;
        let parent = |found: Option<AnyResource>| found.and_then(|found| found.parent);
        let env = match subject.kind {
            Kind::Env => Some(subject),
            Kind::Instance | Kind::Rollout | Kind::Endpoint | Kind::Receipt => parent(view.get(subject)?),
            // What is on it may be lost, or known again.
            Kind::Node => return of_node(view, subject),
            _ => None,
        };
        // A removal's receipt belongs to a project.
        Ok(env.into_iter().filter(|id| id.kind == Kind::Env).collect())
    }

    fn subjects(&self, view: &dyn View) -> Result<Vec<AnyId>, StoreError> {
        Ok(view.all::<EnvSpec>(None)?.iter().map(|env| env.id.into()).collect())
    }

    fn decide(
        &self,
        subject: AnyId,
        view: &dyn View,
        now: Timestamp,
        ids: &mut dyn Ids,
    ) -> Result<Decision, StoreError> {
        let Ok(id) = EnvId::try_from(subject) else { return Ok(Decision::default()) };
        let env = match view.find::<EnvSpec>(id)? {
            // A removal is the teardown's to carry out.
            Some(env) if env.deleting.is_none() => env,
            _ => return Ok(Decision::default()),
        };
        let waiting = claims::waiting(view, id)?;
        match (claims::active_rollout(view, id)?, waiting) {
            (Some(rollout), None) => under_way(view, env, rollout, now, ids),
            (Some(rollout), Some(receipt)) => match queue::while_waiting(&env, receipt, now) {
                Ok(decision) => Ok(decision),
                Err(late) => {
                    let decision = under_way(view, env, rollout, now, ids)?;
                    let wake = decision.wake.into_iter().chain(late).min();
                    Ok(Decision { wake, ..decision })
                }
            },
            (None, Some(receipt)) => queue::turn(view, &env, receipt, now, ids),
            (None, None) => steady::decide(view, &env, now, ids),
        }
    }
}

/// The envs that have instances on a node.
fn of_node(view: &dyn View, node: AnyId) -> Result<Vec<AnyId>, StoreError> {
    let instances = view.all::<InstanceSpec>(None)?;
    let there = instances.iter().filter(|instance| AnyId::from(instance.spec.node) == node);
    let envs: BTreeSet<AnyId> = there.filter_map(|instance| instance.parent).collect();
    Ok(envs.into_iter().collect())
}

fn under_way(
    view: &dyn View,
    env: Env,
    rollout: Rollout,
    now: Timestamp,
    ids: &mut dyn Ids,
) -> Result<Decision, StoreError> {
    let Some(scene) = Scene::load(view, env, rollout, now)? else { return Ok(Decision::default()) };
    match scene.rollout.status.phase {
        RolloutPhase::Starting => start::decide(scene, ids),
        RolloutPhase::Draining => Ok(drain::decide(scene)),
        RolloutPhase::Stopping => Ok(stop::decide(scene)),
        RolloutPhase::Restoring => restore::decide(scene, ids),
        RolloutPhase::Succeeded | RolloutPhase::Failed => Ok(scene.release_claim()),
    }
}
