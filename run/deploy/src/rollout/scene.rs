//! Everything that one decision about a rollout looks at, and the transaction that it fills.

use super::{away::Away, steps};
use crate::{
    claims,
    lookup::current_release,
    standing,
    templates::{after, count},
    verdict::conclude,
};
use freehold_model::{
    Actor, Code, Desired, Digest, Endpoint, EndpointSpec, Env, Instance, InstanceSpec, Name, NodeSpec,
    ObservedInstance, Phase, Receipt, ReceiptSpec, Release, ReleaseSpec, Rollout, RolloutPhase, Template,
    Txn, Verdict, Waiting,
};
use freehold_reconcile::{Decision, StoreError, View, ViewExt};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// How long something is waited for before the receipt says so.
const MOMENT: SignedDuration = SignedDuration::from_secs(1);
/// How long a node may take to answer, beside what it is asked to do.
const ANSWER: SignedDuration = SignedDuration::from_secs(60);

/// Who signs the transactions of this reconciler.
pub(crate) fn controller() -> Actor {
    Actor::Controller("rollout".into())
}

pub(super) struct Scene<'a> {
    pub(super) view: &'a dyn View,
    pub(super) now: Timestamp,
    pub(super) env: Env,
    pub(super) rollout: Rollout,
    pub(super) receipt: Receipt,
    pub(super) target: Release,
    /// As far as is known: what is on a node that does not answer is not known to be healthy.
    pub(super) instances: Vec<Instance>,
    pub(super) away: Away,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) txn: Txn,
}

/// What a release wants of one process.
pub(super) struct Wanted<'a> {
    pub(super) process: &'a Name,
    pub(super) template: &'a Template,
    pub(super) hash: Digest,
    pub(super) count: usize,
    /// What it starts after.
    pub(super) after: &'a [Name],
}

/// The instances of an env that should run, sorted by what a rollout does with them.
pub(super) struct Sets<'a> {
    /// Active, made of the same as the target wants: they stay.
    pub(super) kept: Vec<&'a Instance>,
    /// Made for the target, not active yet.
    pub(super) fresh: Vec<&'a Instance>,
    /// All others: they go once the target runs.
    pub(super) old: Vec<&'a Instance>,
    /// How many are still to be made.
    pub(super) missing: Vec<(Wanted<'a>, usize)>,
}

impl<'a> Scene<'a> {
    /// What there is; `None` if the rollout's receipt or release has gone, which a removal alone does.
    pub(super) fn load(
        view: &'a dyn View,
        env: Env,
        rollout: Rollout,
        now: Timestamp,
    ) -> Result<Option<Scene<'a>>, StoreError> {
        let parent = Some(env.id.into());
        let Some(receipt) = view.find::<ReceiptSpec>(rollout.spec.receipt)? else { return Ok(None) };
        let Some(target) = view.find::<ReleaseSpec>(rollout.spec.release)? else { return Ok(None) };
        let away = Away::load(view, now)?;
        let instances = away.veiled(view.all::<InstanceSpec>(parent)?);
        let endpoints = view.all::<EndpointSpec>(parent)?;
        let reason = format!("rollout of v{}", target.spec.number);
        let mut txn = Txn::new(controller(), reason, receipt.id.to_string());
        // A removal marks the env, so that nothing decided before it can be committed after it.
        txn.expect(env.id, env.version);
        Ok(Some(Scene { view, now, env, rollout, receipt, target, instances, away, endpoints, txn }))
    }

    /// When the present phase began.
    pub(super) fn since(&self) -> Timestamp {
        self.rollout.status.since.unwrap_or(self.rollout.created)
    }

    /// A time so long after the present phase began.
    pub(super) fn after(&self, wait: SignedDuration) -> Timestamp {
        self.since().saturating_add(wait).unwrap_or(Timestamp::MAX)
    }

    /// Enters `phase` now.
    pub(super) fn enter(&mut self, phase: RolloutPhase) {
        self.rollout.status.phase = phase;
        self.rollout.status.since = Some(self.now);
    }

    /// Commits the transaction as it stands, with rollout and receipt as they are by now.
    pub(super) fn commit(mut self, wake: Option<Timestamp>) -> Decision {
        self.txn.put_status(&self.rollout).put_status(&self.receipt);
        Decision { txn: Some(self.txn), wake }
    }

    /// Changes nothing, unless something was written already; looks again at `wake`.
    pub(super) fn wait(self, wake: Option<Timestamp>) -> Decision {
        let lost = self.away.next(&self.instances, &self.target.spec);
        let txn = Some(self.txn).filter(|txn| !txn.is_empty());
        Decision { txn, wake: wake.into_iter().chain(lost).min() }
    }

    /// The same, and has the receipt say what it waits for, once that has taken a moment: most waits are
    /// over before anybody could read it. At most one write a second, however often the cause changes.
    pub(super) fn wait_for(mut self, on: String, deadline: Timestamp, wake: Option<Timestamp>) -> Decision {
        let wake = wake.map_or(deadline, |wake| wake.min(deadline));
        let open = self.receipt.status.steps.last().filter(|step| step.finished.is_none());
        let Some(step) = open else { return self.wait(Some(wake)) };
        let known = step.waiting.as_ref();
        if known.is_some_and(|known| known.on == on) {
            return self.wait(Some(wake));
        }
        let before = known.map_or(step.started, |known| known.since);
        let since = if known.is_some() { self.now } else { step.started };
        let due = before.saturating_add(MOMENT).unwrap_or(Timestamp::MAX);
        if self.now < due {
            return self.wait(Some(wake.min(due)));
        }
        steps::waits(&mut self.receipt, Waiting { on, since, deadline: Some(deadline) });
        self.commit(Some(wake))
    }

    /// What is not gone from its node yet, for people.
    pub(super) fn stopping(&self) -> String {
        let going: Vec<&Instance> = self.instances.iter().filter(|it| is_stopping(it)).collect();
        let one = going.first().map(|one| {
            let node = self.view.find::<NodeSpec>(one.spec.node).ok().flatten();
            let node = node.map_or_else(|| one.spec.node.to_string(), |node| node.name);
            format!("{} of {} on node {node}", one.id, one.spec.process)
        });
        match (going.len(), one) {
            (0, _) | (_, None) => "nothing stops any more".into(),
            (1, Some(one)) => format!("{one} is stopping"),
            (many, Some(one)) => format!("{} are stopping, first {one}", steps::instances(many)),
        }
    }

    /// Until when what is told to stop may take: the longest `stop_timeout` of them, and a while for
    /// their node to say so. A node that is away longer stops them whenever it is back.
    pub(super) fn stopped_by(&self) -> Timestamp {
        let going = self.instances.iter().filter(|it| is_stopping(it));
        let longest = going.map(|it| it.spec.template.stop_timeout.signed()).max().unwrap_or_default();
        self.after(longest.saturating_add(ANSWER))
    }

    /// Deletes the instances that are gone from their nodes; says how many are still going.
    pub(super) fn reap(&mut self) -> usize {
        reap(&self.instances, &mut self.txn)
    }

    /// Ends the rollout, with the verdict that its receipt will bear for good.
    pub(super) fn finish(mut self, verdict: Verdict, code: Option<Code>, reason: String) -> Decision {
        let well = verdict == Verdict::Succeeded;
        self.enter(if well { RolloutPhase::Succeeded } else { RolloutPhase::Failed });
        conclude(&mut self.receipt, verdict, code, &reason, self.now);
        self.receipt.status.instances = active(&self.instances).map(observed).collect();
        self.receipt.status.serves = self.serves();
        let what = format!("rollout.{}", verdict.word());
        self.txn.event(self.rollout.id, &what, json!({ "reason": reason, "receipt": self.receipt.id }));
        // A move says nothing of the release.
        if self.rollout.spec.leaves.is_none() {
            self.target.status.verdict = Some(verdict);
            self.target.status.receipt = Some(self.receipt.id);
            self.txn.put_status(&self.target);
        }
        self.txn.release(claims::ROLLOUT, self.env.id);
        self.commit(None)
    }

    /// What serves now, by looking.
    fn serves(&self) -> Option<String> {
        let release = current_release(self.view, &self.env).ok()?;
        let running = self.instances.iter().filter(|it| !is_gone(it)).cloned().collect();
        let around = standing::Surroundings::load(self.view, self.now).ok()?;
        let found = standing::of(self.view, &self.env, release, running, &self.endpoints, &around).ok()?;
        Some(found.serves())
    }

    /// Gives back a claim that a finished rollout still holds.
    pub(super) fn release_claim(mut self) -> Decision {
        self.txn.release(claims::ROLLOUT, self.env.id);
        self.wait(None)
    }

    /// Whether `instance` cannot stay where it is: its node is lost, or is what the rollout moves off.
    fn leaves(&self, instance: &Instance) -> bool {
        let leaves = self.rollout.spec.leaves == Some(instance.spec.node) && instance.spec.volumes.is_empty();
        leaves || self.away.is_lost(instance, &self.target.spec)
    }

    /// What becomes of each instance that should run.
    pub(super) fn sets(&self) -> Sets<'_> {
        let mut sets = Sets { kept: vec![], fresh: vec![], old: vec![], missing: vec![] };
        for wanted in wanted(&self.target.spec) {
            let mut kept = matching(active(&self.instances).filter(|it| !self.leaves(it)), &wanted);
            kept.sort_by_key(|instance| (!is_healthy(instance), instance.id));
            kept.truncate(wanted.count);
            let mut new = matching(fresh(&self.instances).filter(|it| !self.leaves(it)), &wanted);
            new.truncate(wanted.count - kept.len());
            let missing = wanted.count - kept.len() - new.len();
            sets.kept.append(&mut kept);
            sets.fresh.append(&mut new);
            if missing > 0 {
                sets.missing.push((wanted, missing));
            }
        }
        let stays =
            |instance: &Instance| sets.kept.iter().chain(&sets.fresh).any(|other| other.id == instance.id);
        sets.old = running(&self.instances).filter(|instance| !stays(instance)).collect();
        sets
    }
}

/// What `release` wants, process by process.
pub(super) fn wanted(release: &ReleaseSpec) -> impl Iterator<Item = Wanted<'_>> {
    release.templates.iter().map(|(process, template)| Wanted {
        process,
        template,
        hash: template.hash(),
        count: count(release, process) as usize,
        after: after(release, process),
    })
}

pub(super) fn matching<'a>(
    all: impl Iterator<Item = &'a Instance>,
    wanted: &Wanted<'_>,
) -> Vec<&'a Instance> {
    let same = |spec: &InstanceSpec| spec.process == *wanted.process && spec.template_hash == wanted.hash;
    all.filter(|instance| same(&instance.spec)).collect()
}

fn running(all: &[Instance]) -> impl Iterator<Item = &Instance> {
    all.iter().filter(|instance| is_running(instance))
}

/// Whether it should run.
pub(super) fn is_running(instance: &Instance) -> bool {
    instance.spec.desired == Desired::Running
}

/// The instances that belong to what runs.
pub(crate) fn active(all: &[Instance]) -> impl Iterator<Item = &Instance> {
    running(all).filter(|instance| instance.spec.serving)
}

/// The instances that should run and are not active.
pub(super) fn fresh(all: &[Instance]) -> impl Iterator<Item = &Instance> {
    running(all).filter(|instance| !instance.spec.serving)
}

pub(crate) fn is_healthy(instance: &Instance) -> bool {
    instance.status.healthy && instance.status.phase == Phase::Running
}

/// Deletes the stopped instances that are gone from their nodes; says how many are still going.
pub(super) fn reap(instances: &[Instance], txn: &mut Txn) -> usize {
    for gone in instances.iter().filter(|instance| is_gone(instance)) {
        txn.delete(gone.id);
    }
    instances.iter().filter(|instance| is_stopping(instance)).count()
}

/// Whether it was told to stop, and has.
pub(super) fn is_gone(instance: &Instance) -> bool {
    instance.spec.desired == Desired::Stopped && instance.status.phase == Phase::Stopped
}

/// Whether it was told to stop and is not gone yet.
fn is_stopping(instance: &Instance) -> bool {
    instance.spec.desired == Desired::Stopped && instance.status.phase != Phase::Stopped
}

/// Tells the node to stop `instance`, and the edge to give it nothing more.
pub(super) fn stop(txn: &mut Txn, instance: &Instance) {
    let spec = InstanceSpec { desired: Desired::Stopped, serving: false, ..instance.spec.clone() };
    txn.put_spec(&Instance { spec, ..instance.clone() });
}

fn observed(instance: &Instance) -> ObservedInstance {
    ObservedInstance {
        id: instance.id,
        process: instance.spec.process.clone(),
        node: instance.spec.node,
        image: instance.status.image.clone(),
        healthy: is_healthy(instance),
    }
}
