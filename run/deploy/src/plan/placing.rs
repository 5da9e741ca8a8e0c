//! Where the new instances of a plan would run.

use crate::{
    lookup::Place,
    rollout::displace,
    templates::{is_other, priority},
    together,
    volumes::{Home, pin},
};
use freehold_model::{
    AnyId, Code, Instance, InstanceSpec, Name, NodeSpec, Problem, ReleaseSpec,
    plan::{Change, Placement},
};
use freehold_reconcile::{StoreError, View, ViewExt};
use freehold_schedule::{Chosen, Fleet, Request, place_all};

/// The placement of everything that `changes` would start, and what cannot be placed.
pub(super) fn placement(
    view: &dyn View,
    place: &Place,
    home: &Home,
    wanted: &ReleaseSpec,
    changes: &[Change],
) -> Result<(Vec<Placement>, Vec<Problem>), StoreError> {
    let mut instances = view.all::<InstanceSpec>(None)?;
    if place.rollout.is_some() {
        instances.retain(|instance| stays(place, instance));
    }
    // What has a volume is stopped before it is replaced: what it uses is free by then.
    instances.retain(|instance| !goes_first(place, changes, instance));
    let env = place.env.as_ref().map(|env| env.any_id());
    let leaves = |instance: &Instance| instance.parent == env && is_other(wanted, instance);
    let mut fleet = Fleet::new(&view.all::<NodeSpec>(None)?, &instances, leaves);
    let together = together::home(&fleet, env, wanted, &home.of_release(view, wanted)?, &instances);
    let (mut placed, mut problems) = (vec![], vec![]);
    for (process, template) in &wanted.templates {
        let is_it = |change: &&Change| change.kind == "process" && change.name == process.as_str();
        let start = changes.iter().find(is_it).map_or(0, |change| change.start);
        let volumes = home.existing(view, template)?;
        // Why there is no place with the volumes is told by the blockers.
        let Ok(node) = pin(view, &volumes)? else { continue };
        let priority = priority(wanted, process);
        let request = Request { pin: node, home: together, ..Request::new(env, process, template, priority) };
        match place_all(&mut fleet, &request, start) {
            Ok(mut chosen) => {
                if let Some(volume) = volumes.first() {
                    chosen.iter_mut().for_each(|one| one.reason = format!("volume {} is there", volume.name));
                }
                placed.extend(by_node(view, &instances, process, chosen, place.project.parent)?);
            }
            Err((fitting, why)) => {
                let title = format!("{process}: {fitting} of {start} new instances can be placed");
                let problem = Problem::new(Code::Unplaceable, title).detail(why.to_string());
                // Otherwise what each node said is the way out.
                problems.push(match why.is_want_of_room() {
                    true => problem.hint("ask for less (count, cpu, memory), or free or add a node"),
                    false => problem,
                });
            }
        }
    }
    Ok((placed, problems))
}

/// Whether an instance will still be there once the rollout under way has ended.
fn stays(place: &Place, instance: &Instance) -> bool {
    let is_ours = place.env.as_ref().is_some_and(|env| instance.parent == Some(env.any_id()));
    let template =
        place.current.as_ref().and_then(|release| release.spec.templates.get(&instance.spec.process));
    !is_ours || template.is_some_and(|template| template.hash() == instance.spec.template_hash)
}

fn goes_first(place: &Place, changes: &[Change], instance: &Instance) -> bool {
    let ours = place.env.as_ref().is_some_and(|env| instance.parent == Some(env.id.into()));
    let process = instance.spec.process.as_str();
    let replaced = |change: &Change| change.kind == "process" && change.name == process && change.stop > 0;
    ours && !instance.spec.volumes.is_empty() && changes.iter().any(replaced)
}

/// One line per node, in the order in which they were chosen.
fn by_node(
    view: &dyn View,
    instances: &[Instance],
    process: &Name,
    chosen: Vec<Chosen>,
    org: Option<AnyId>,
) -> Result<Vec<Placement>, StoreError> {
    let mut lines: Vec<Placement> = vec![];
    for one in chosen {
        let displaces = displace::displaced(view, instances, &one, org)?;
        let is_like = |line: &&mut Placement| {
            line.node == one.node && line.displaces.is_empty() == displaces.is_empty()
        };
        match lines.iter_mut().find(is_like) {
            Some(line) => {
                line.count += 1;
                line.displaces.extend(displaces);
            }
            None => lines.push(Placement {
                process: process.clone(),
                node: one.node,
                node_name: one.name,
                count: 1,
                reason: one.reason,
                elsewhere: one.elsewhere,
                displaces,
            }),
        }
    }
    Ok(lines)
}
