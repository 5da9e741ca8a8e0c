//! Pre-emption: instances of lower priority are told to stop, for one that has no room otherwise.
//!
//! Called where instances are made, within the transaction that makes the newcomer: its promise of room and their
//! leave are one. Invariant: the newcomer names everybody it waits for (`placed.room_of`), so its node starts it
//! only when they are gone; each of them names it (`placed.preempted`), until there is another in its place.

use crate::nodes::{env, title};
use freehold_model::{Desired, Displaced, Instance, InstanceId, InstanceSpec, Name, Preempted, Txn};
use freehold_reconcile::{StoreError, View};
use freehold_schedule::Chosen;
use jiff::Timestamp;
use serde_json::json;

/// The victims of `chosen`, as people know them.
pub(crate) fn displaced(
    view: &dyn View,
    instances: &[Instance],
    chosen: &Chosen,
) -> Result<Vec<Displaced>, StoreError> {
    let victims = instances.iter().filter(|it| chosen.displaces.contains(&it.id));
    let told = victims.map(|it| {
        let env = it.parent.map(|id| env(view, id)).transpose()?.flatten();
        let title = env.map(|env| title(view, &env)).transpose()?.unwrap_or_default();
        let (of, priority) = (format!("{title} {}", it.spec.process), it.spec.placed.priority);
        Ok(Displaced { instance: it.id, of, priority })
    });
    told.collect()
}

/// Tells the victims of `by` to stop.
pub(super) fn stop(
    txn: &mut Txn,
    instances: &[Instance],
    victims: &[Displaced],
    by: &Newcomer<'_>,
    now: Timestamp,
) {
    for victim in victims {
        let Some(instance) = instances.iter().find(|it| it.id == victim.instance) else { continue };
        let mut spec = InstanceSpec { desired: Desired::Stopped, serving: false, ..instance.spec.clone() };
        let of = format!("{} {}", by.title, by.process);
        spec.placed.preempted = Some(Preempted { by: by.id, of: of.clone(), priority: by.priority, at: now });
        txn.put_spec(&Instance { spec, ..instance.clone() });
        let data = json!({
            "by": by.id, "of": of, "priority": by.priority, "own_priority": victim.priority,
            "node": instance.spec.node, "process": instance.spec.process,
        });
        txn.event(instance.id, "instance.preempted", data);
    }
}

/// Who has their room.
pub(super) struct Newcomer<'a> {
    pub(super) id: InstanceId,
    pub(super) title: &'a str,
    pub(super) process: &'a Name,
    pub(super) priority: i32,
}

/// `; pre-empts shop/prod web (ins_…, priority 0)`, for a receipt; nothing where nobody has to go.
pub(super) fn told(displaced: &[Displaced]) -> String {
    let all: Vec<String> = displaced.iter().map(ToString::to_string).collect();
    if all.is_empty() { String::new() } else { format!("; pre-empts {}", all.join(", ")) }
}
