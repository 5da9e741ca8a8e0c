//! Why a resource is not yet as wanted, in a sentence for people; `None` when it is.
//!
//! Called by descriptions. One function per kind; each reads only what it must of the view.

use freehold_deploy::{Surroundings, ailment as instance, standing};
use freehold_model::{
    AnyResource, AppSpec, Endpoint, EndpointSpec, Env, EnvSpec, Instance, InstanceSpec, Kind, Node, NodeSpec,
    Receipt, ReceiptSpec, Rollout, RolloutId, RolloutPhase, RolloutSpec, TaskState, Verdict, Volume,
    VolumeSpec,
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use jiff::Timestamp;

/// Why `resource` is not yet as wanted.
///
/// # Errors
/// When the view fails, or the resource's JSON does not fit its kind.
pub(crate) fn reason(view: &dyn View, resource: &AnyResource) -> Result<Option<String>, StoreError> {
    let any = resource.clone();
    let specific = match resource.kind {
        Kind::App => app(view, &any.typed::<AppSpec>()?)?,
        Kind::Env => env(view, &any.typed::<EnvSpec>()?)?,
        Kind::Rollout => rollout(view, &any.typed::<RolloutSpec>()?)?,
        Kind::Receipt => receipt(&any.typed::<ReceiptSpec>()?),
        Kind::Instance => located(view, &any.typed::<InstanceSpec>()?)?,
        Kind::Endpoint => endpoint(&any.typed::<EndpointSpec>()?),
        Kind::Node => node(&any.typed::<NodeSpec>()?),
        Kind::Volume => volume(&any.typed::<VolumeSpec>()?),
        Kind::Authority | Kind::Identity | Kind::JoinToken | Kind::Token | Kind::User | Kind::Session => None,
        Kind::Org
        | Kind::Gateway
        | Kind::Device
        | Kind::Image
        | Kind::Project
        | Kind::Release
        | Kind::Secret
        | Kind::Grant
        | Kind::Issuer
        | Kind::IdentityProvider => None,
    };
    let removed = resource.deleting.map(|since| format!("It is being removed, since {since}."));
    Ok(removed.or(specific))
}

fn app(view: &dyn View, app: &freehold_model::App) -> Result<Option<String>, StoreError> {
    let envs = view.all::<EnvSpec>(Some(app.any_id()))?;
    if envs.is_empty() {
        return Ok(Some("Nothing of it is deployed.".into()));
    }
    for one in &envs {
        if let Some(why) = env(view, one)? {
            return Ok(Some(format!("Env {}: {why}", one.name)));
        }
    }
    Ok(None)
}

fn env(view: &dyn View, env: &Env) -> Result<Option<String>, StoreError> {
    if let Some(active) = active_rollout(view, env)? {
        return rollout(view, &active);
    }
    if env.spec.release.is_none() {
        return Ok(Some("No release has rolled out yet.".into()));
    }
    let found = standing(view, env, &Surroundings::load(view, Timestamp::now())?)?;
    let (wanted, healthy) = found.counts();
    Ok(found.first_trouble().map(|first| format!("{healthy} of {wanted} instances are healthy. {first}")))
}

/// The rollout under way, which holds the env's claim.
pub(crate) fn active_rollout(view: &dyn View, env: &Env) -> Result<Option<Rollout>, StoreError> {
    let holder = view.claim("rollout", &env.id.to_string())?;
    let Some(id) = holder.and_then(|id| RolloutId::try_from(id).ok()) else { return Ok(None) };
    view.find::<RolloutSpec>(id)
}

fn rollout(view: &dyn View, rollout: &Rollout) -> Result<Option<String>, StoreError> {
    let failure = || rollout.status.failure.as_deref().unwrap_or("it did not become healthy");
    Ok(match rollout.status.phase {
        RolloutPhase::Starting => Some(starting(view, rollout)?),
        RolloutPhase::Draining => {
            Some("The new instances serve; the old ones finish their connections.".into())
        }
        RolloutPhase::Stopping => Some("The new instances serve; the old ones stop.".into()),
        RolloutPhase::Restoring => Some(format!("It failed and is being undone: {}.", trimmed(failure()))),
        RolloutPhase::Failed => Some(format!("It failed; what ran before was kept: {}.", trimmed(failure()))),
        RolloutPhase::Succeeded => None,
    })
}

fn starting(view: &dyn View, rollout: &Rollout) -> Result<String, StoreError> {
    let all = view.all::<InstanceSpec>(rollout.parent)?;
    let new: Vec<_> = all.iter().filter(|one| one.spec.release == rollout.spec.release).collect();
    let healthy = new.iter().filter(|one| one.status.healthy).count();
    let waits = format!("Its instances start: {healthy} of {} are healthy.", new.len());
    let first = new.iter().find_map(|one| Some((one, instance(one)?)));
    Ok(match first {
        Some((one, why)) => format!("{waits} {} ({}): {why}", one.spec.process, one.id),
        None => waits,
    })
}

fn receipt(receipt: &Receipt) -> Option<String> {
    let why = receipt.status.reason.as_deref();
    match receipt.status.verdict {
        Some(Verdict::Succeeded) => None,
        Some(Verdict::Failed) => Some(why.unwrap_or("The operation failed.").to_owned()),
        Some(Verdict::Superseded | Verdict::Cancelled) => {
            Some(why.unwrap_or("The operation did not go on.").to_owned())
        }
        None if receipt.status.behind.is_some() => receipt
            .status
            .behind
            .map(|front| format!("It waits for its turn: {front} is under way in the same env.")),
        None => Some(why.unwrap_or("The operation is under way.").to_owned()),
    }
}

/// Why an instance is not as wanted.
fn located(view: &dyn View, one: &Instance) -> Result<Option<String>, StoreError> {
    Ok(Surroundings::load(view, Timestamp::now())?.ailment(one))
}

fn endpoint(endpoint: &Endpoint) -> Option<String> {
    let status = &endpoint.status;
    let said = status.message.as_deref();
    if !status.listening {
        return Some(said.unwrap_or("The edge has not opened its port yet.").to_owned());
    }
    let nobody = || format!("No healthy instance of {} answers.", endpoint.spec.process);
    (status.backends == 0).then(|| said.map_or_else(nobody, str::to_owned))
}

fn node(node: &Node) -> Option<String> {
    if let Some(since) = node.spec.draining {
        let name = &node.name;
        return Some(format!("It is being drained, since {since}: `freehold node drain {name}` follows it."));
    }
    if node.spec.cordoned {
        return Some("It is cordoned: it takes no new instances.".into());
    }
    let unmet = node.status.conditions.iter().find(|condition| !condition.state);
    let unknown = || node.status.started.is_none().then(|| "Its agent has not reported yet.".to_owned());
    unmet.map(|condition| condition.message.clone()).or_else(unknown)
}

/// Why a volume is not as wanted.
fn volume(volume: &Volume) -> Option<String> {
    let status = &volume.status;
    if status.conditions.is_empty() {
        return Some("Its node has not reported it yet.".into());
    }
    let failed = status.task.as_ref().filter(|task| task.state != TaskState::Done);
    let task = volume.spec.task.as_ref().and_then(|task| {
        failed.map(|now| match now.state {
            TaskState::Failed => format!("The {} failed: {}.", task.action, trimmed(&now.message)),
            _ => format!("The {} is under way.", task.action),
        })
    });
    let unmet = status.conditions.iter().find(|condition| !condition.state);
    unmet.map(|condition| format!("{}: {}.", condition.reason, trimmed(&condition.message))).or(task)
}

fn trimmed(sentence: &str) -> &str {
    sentence.trim_end().trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::{Desired, Digest, Exit, InstanceStatus, Phase};
    use serde_json::json;

    fn sample(status: InstanceStatus) -> Instance {
        let template = json!({
            "image": {"reference": "web:1", "digest": Digest::of(b"")}, "driver": "container",
            "cpu": "100m", "memory": "64MiB", "stop_timeout": "10s",
        });
        let spec = json!({
            "node": "nod_00000000000000000000000001", "process": "web",
            "release": "rel_00000000000000000000000001", "template": template,
            "template_hash": Digest::of(b""), "address": "10.210.0.2", "desired": "running", "serving": true,
        });
        let spec: InstanceSpec = serde_json::from_value(spec).unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut instance =
            Instance::new(freehold_model::InstanceId(Default::default()), "i", None, spec, now);
        instance.status = status;
        instance
    }

    #[test]
    fn what_was_preempted_says_by_whom_until_it_is_back() {
        let mut victim = sample(InstanceStatus { phase: Phase::Stopping, ..Default::default() });
        victim.spec.desired = Desired::Stopped;
        victim.spec.placed.preempted = Some(freehold_model::Preempted {
            by: freehold_model::InstanceId(Default::default()),
            of: "shop/prod web".into(),
            priority: 100,
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
        });
        let who = "pre-empted by shop/prod web (ins_00000000000000000000000000, priority 100) at 2026-01-01T00:00:00Z.";
        assert_eq!(instance(&victim).unwrap(), format!("It is being stopped: {who}"));
        victim.status.phase = Phase::Stopped;
        let waits = format!("Pending: {who} It comes back where and when there is room.");
        assert_eq!(instance(&victim).unwrap(), waits);
    }

    #[test]
    fn an_instance_says_why_unless_it_is_as_wanted() {
        let healthy = InstanceStatus { phase: Phase::Running, healthy: true, ..Default::default() };
        assert_eq!(instance(&sample(healthy.clone())), None);

        let mut stopping = sample(healthy);
        stopping.spec.desired = Desired::Stopped;
        assert!(instance(&stopping).unwrap().contains("being stopped"));

        let exit = Exit {
            code: Some(3),
            signal: None,
            oom: false,
            disk: None,
            unhealthy: None,
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
        };
        let backoff = InstanceStatus { phase: Phase::Backoff, last_exit: Some(exit), ..Default::default() };
        assert!(instance(&sample(backoff)).unwrap().contains("exited with code 3"));

        let failed = InstanceStatus {
            phase: Phase::Failed,
            message: Some("no such command: /web".into()),
            ..Default::default()
        };
        assert_eq!(instance(&sample(failed)).unwrap(), "no such command: /web");
    }
}
