//! Replacing what has a volume: a volume has one writer, so its old instance goes before the new one comes.
//!
//! This is the one exception from "no healthy instance goes before its replacement is healthy". It is done
//! last, when everything else of the release is healthy; and when the release fails after all, the old one
//! is made again (`restore`).

use super::{
    restore,
    scene::{Scene, stop},
    start::Failure,
    steps,
};
use crate::volumes::{Home, holder};
use freehold_model::{Code, Desired, Instance, Name, Phase};
use freehold_reconcile::{Decision, StoreError};
use serde_json::json;
use std::collections::BTreeMap;

/// The processes that wait for a volume, and who of this env has it.
pub(super) type Held = BTreeMap<Name, Vec<Instance>>;

/// Who has the volumes of what is still to be made.
pub(super) fn held(scene: &Scene<'_>) -> Result<Held, StoreError> {
    let mut held = Held::new();
    let Some(home) = Home::of(scene.view, &scene.env)? else { return Ok(held) };
    for (wanted, _) in &scene.sets().missing {
        for volume in home.existing(scene.view, wanted.template)? {
            let id = holder(scene.view, volume.id)?;
            if let Some(instance) = scene.instances.iter().find(|instance| Some(instance.id) == id) {
                held.entry(wanted.process.clone()).or_default().push(instance.clone());
            }
        }
    }
    Ok(held)
}

/// Has the holders stopped, and deletes those that are gone; then their volumes are free.
pub(super) fn decide(mut scene: Scene<'_>, held: &Held) -> Decision {
    let holders: BTreeMap<_, _> = held.values().flatten().map(|instance| (instance.id, instance)).collect();
    let (mut stopped, mut reaped) = (0, false);
    for instance in holders.values() {
        match (instance.spec.desired, instance.status.phase) {
            (Desired::Running, _) => {
                stop(&mut scene.txn, instance);
                stopped += 1;
            }
            (Desired::Stopped, Phase::Stopped) => {
                scene.txn.delete(instance.id);
                reaped = true;
            }
            _ => {}
        }
    }
    if stopped > 0 {
        let names: Vec<&str> = held.keys().map(Name::as_str).collect();
        let detail = format!("stop {} first: a volume has one writer", names.join(", "));
        scene.txn.event(scene.rollout.id, "rollout.replacing", json!({ "processes": names }));
        steps::open(&mut scene.receipt, "replace", detail, scene.now);
        let deadline = scene.rollout.spec.deadline;
        return scene.commit(Some(deadline));
    }
    if reaped {
        let now = scene.now;
        return scene.wait(Some(now));
    }
    let deadline = scene.rollout.spec.deadline;
    if scene.now >= deadline {
        let going: Vec<String> = holders.keys().map(ToString::to_string).collect();
        let reason =
            format!("{} did not stop in time, and has the volume: does its node answer?", going.join(", "));
        return restore::begin(scene, Failure::new(Code::Timeout, reason));
    }
    let on = scene.stopping();
    scene.wait_for(on, deadline, None)
}
