//! Planning, pure: what a request would change, what stops it, and the hash that names all of that.
//!
//! Called by the API, for a preview and again before it applies. Invariant: the same request over the
//! same state has the same plan, to the byte.

pub(crate) mod blockers;
mod deploy;
pub(crate) mod diff;
mod notes;
mod places;
mod placing;
mod remove;
mod renew;
mod rollback;
mod volumes;

pub(crate) use blockers::port_owner;
pub use deploy::{Request, plan_deploy};
pub use remove::plan_remove;
pub use renew::plan_renewal;
pub use rollback::plan_rollback;

use freehold_model::{Bytes, Digest, Millicores, Plan, Problem, ReleaseSpec, plan::Cost};

/// The plan with what stops it beside what its view shows.
pub fn blocked_by(mut plan: Plan, problems: impl IntoIterator<Item = Problem>) -> Plan {
    plan.blockers.extend(problems);
    seal(plan)
}

/// Gives a plan its hash: over everything else in it but what it waits for, which says when and not what.
fn seal(plan: Plan) -> Plan {
    let mut body = serde_json::to_value(&plan).unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        for key in ["hash", "behind", "supersedes", "notes"] {
            body.remove(key);
        }
        // Why not elsewhere is told with figures that come and go; where, and why there, is what counts. A node's
        // name is not for everybody who sees the hash; its id says the same.
        let placed = body.get_mut("placement").and_then(|it| it.as_array_mut()).into_iter().flatten();
        for placement in placed.filter_map(|it| it.as_object_mut()) {
            placement.remove("elsewhere");
            placement.remove("node_name");
        }
    }
    Plan { hash: Digest::of_json(&body), ..plan }
}

/// What all instances of a release may use together.
fn usage(release: Option<&ReleaseSpec>) -> (Millicores, Bytes, Bytes) {
    let processes = release.into_iter().flat_map(|release| release.manifest.process.values());
    processes.fold((Millicores(0), Bytes(0), Bytes(0)), |(cpu, memory, disk), process| {
        let all = |one: Bytes| one.0.saturating_mul(process.count.into());
        let all_cpu = process.cpu.0.saturating_mul(process.count);
        (
            Millicores(cpu.0.saturating_add(all_cpu)),
            Bytes(memory.0.saturating_add(all(process.memory))),
            Bytes(disk.0.saturating_add(all(process.disk))),
        )
    })
}

fn cost(before: Option<&ReleaseSpec>, after: Option<&ReleaseSpec>) -> Cost {
    let (cpu_before, memory_before, disk_before) = usage(before);
    let (cpu, memory, disk) = usage(after);
    Cost { cpu, memory, cpu_before, memory_before, disk, disk_before }
}
