//! Pre-emption: instances of lower priority are told to stop, for one that has no room otherwise.
//!
//! Called where instances are made, within the transaction that makes the newcomer: its promise of room and their
//! leave are one. Invariants: the newcomer names everybody it waits for (`placed.room_of`), so its node starts it
//! only when they are gone; each of them names it (`placed.preempted`), until there is another in its place; of
//! another org's apps neither is told more than that it is one.

use crate::nodes::{env, title};
use freehold_model::{
    AnyId, Desired, Displaced, Instance, InstanceId, InstanceSpec, Kind, Name, Preempted, Txn,
};
use freehold_reconcile::{StoreError, View};
use freehold_schedule::Chosen;
use jiff::Timestamp;
use serde_json::json;

/// What people of one org read of an instance of another.
const ANOTHER: &str = "an app of another org";

/// The victims of `chosen`, as people of `org` know them.
pub(crate) fn displaced(
    view: &dyn View,
    instances: &[Instance],
    chosen: &Chosen,
    org: Option<AnyId>,
) -> Result<Vec<Displaced>, StoreError> {
    if chosen.displaces.is_empty() {
        return Ok(vec![]);
    }
    let victims = instances.iter().filter(|it| chosen.displaces.contains(&it.id));
    let told = victims.map(|it| {
        let of = match org_of(view, it.parent)? == org {
            true => {
                let env = it.parent.map(|id| env(view, id)).transpose()?.flatten();
                let title = env.map(|env| title(view, &env)).transpose()?.unwrap_or_default();
                format!("{title} {}", it.spec.process)
            }
            false => ANOTHER.into(),
        };
        Ok(Displaced { instance: it.id, of, priority: it.spec.placed.priority })
    });
    told.collect()
}

/// The org of what has this parent.
pub(crate) fn org_of(view: &dyn View, parent: Option<AnyId>) -> Result<Option<AnyId>, StoreError> {
    let mut at = parent;
    while let Some(id) = at.filter(|id| id.kind != Kind::Org) {
        at = view.get(id)?.and_then(|it| it.parent);
    }
    Ok(at)
}

/// Tells the victims of `by` to stop.
pub(super) fn stop(
    view: &dyn View,
    txn: &mut Txn,
    instances: &[Instance],
    victims: &[Displaced],
    by: &Newcomer<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    for victim in victims {
        let Some(instance) = instances.iter().find(|it| it.id == victim.instance) else { continue };
        let mut spec = InstanceSpec { desired: Desired::Stopped, serving: false, ..instance.spec.clone() };
        let of = match org_of(view, instance.parent)? == by.org {
            true => format!("{} {}", by.title, by.process),
            false => ANOTHER.into(),
        };
        spec.placed.preempted = Some(Preempted { by: by.id, of: of.clone(), priority: by.priority, at: now });
        txn.put_spec(&Instance { spec, ..instance.clone() });
        let data = json!({
            "by": by.id, "of": of, "priority": by.priority, "own_priority": victim.priority,
            "node": instance.spec.node, "process": instance.spec.process,
        });
        txn.event(instance.id, "instance.preempted", data);
    }
    Ok(())
}

/// Who has their room.
pub(super) struct Newcomer<'a> {
    pub(super) id: InstanceId,
    pub(super) org: Option<AnyId>,
    pub(super) title: &'a str,
    pub(super) process: &'a Name,
    pub(super) priority: i32,
}

/// `; pre-empts shop/prod web (ins_…, priority 0)`, for a receipt; nothing where nobody has to go.
pub(super) fn told(displaced: &[Displaced]) -> String {
    let all: Vec<String> = displaced.iter().map(ToString::to_string).collect();
    if all.is_empty() { String::new() } else { format!("; pre-empts {}", all.join(", ")) }
}
