//! The reconciler of removals: an app that is marked goes, with everything in it.
//!
//! First, in one transaction, its rollouts fail, its endpoints go and its instances are told to stop;
//! when all are gone from their nodes, the rest goes too. Receipts stay: they outlive what they tell
//! of. So do volumes, which only their own deletion removes.

use crate::{claims, queue, rollout::steps, verdict::conclude};
use freehold_model::{
    Actor, AnyId, App, AppId, AppSpec, Code, Desired, EndpointSpec, Env, EnvSpec, Event, Instance,
    InstanceSpec, Kind, Operation, Phase, Receipt, ReceiptSpec, ReleaseSpec, RolloutPhase, RolloutSpec,
    SecretSpec, Spec, Txn, Verdict, VolumeSpec,
};
use freehold_reconcile::{Decision, Ids, Reconciler, StoreError, View, ViewExt};
use jiff::Timestamp;

/// Removes apps. A subject is an app that is marked for deletion.
#[derive(Debug, Clone, Copy, Default)]
pub struct TeardownReconciler;

impl Reconciler for TeardownReconciler {
    fn name(&self) -> &'static str {
        "teardown"
    }

    fn concerns(&self, event: &Event, view: &dyn View) -> Result<Vec<AnyId>, StoreError> {
        let parent = |id: AnyId| Ok::<_, StoreError>(view.get(id)?.and_then(|found| found.parent));
        let app = match event.subject.kind {
            Kind::App => Some(event.subject),
            Kind::Env => parent(event.subject)?,
            Kind::Instance => parent(event.subject)?.map(parent).transpose()?.flatten(),
            _ => None,
        };
        let marked = |id: &AnyId| Ok::<_, StoreError>(view.get(*id)?.is_some_and(|it| it.deleting.is_some()));
        match app {
            Some(app) if marked(&app)? => Ok(vec![app]),
            _ => Ok(vec![]),
        }
    }

    fn subjects(&self, view: &dyn View) -> Result<Vec<AnyId>, StoreError> {
        let apps = view.all::<AppSpec>(None)?;
        Ok(apps.iter().filter(|app| app.deleting.is_some()).map(App::any_id).collect())
    }

    fn decide(
        &self,
        subject: AnyId,
        view: &dyn View,
        now: Timestamp,
        _: &mut dyn Ids,
    ) -> Result<Decision, StoreError> {
        let Ok(id) = AppId::try_from(subject) else { return Ok(Decision::default()) };
        let app = match view.find::<AppSpec>(id)? {
            Some(app) if app.deleting.is_some() => app,
            _ => return Ok(Decision::default()),
        };
        let mut removal = Removal::load(view, app, now)?;
        let envs = view.all::<EnvSpec>(Some(id.into()))?;
        let mut left = 0;
        for env in &envs {
            left += removal.stop(env)?;
        }
        match (left, removal.begun) {
            (0, _) => removal.delete(&envs),
            (_, false) => removal.begin(left),
            (_, true) => Ok(removal.commit()),
        }
    }
}

struct Removal<'a> {
    view: &'a dyn View,
    now: Timestamp,
    app: App,
    receipt: Option<Receipt>,
    begun: bool,
    txn: Txn,
}

impl<'a> Removal<'a> {
    fn load(view: &'a dyn View, app: App, now: Timestamp) -> Result<Removal<'a>, StoreError> {
        let receipts = view.all::<ReceiptSpec>(app.parent)?;
        let ours = |receipt: &Receipt| {
            receipt.spec.operation == Operation::Remove
                && receipt.spec.app.as_str() == app.name
                && receipt.status.verdict.is_none()
        };
        let receipt = receipts.into_iter().find(ours);
        let begun = receipt.as_ref().is_none_or(|receipt| !receipt.status.steps.is_empty());
        let request = receipt.as_ref().map_or_else(|| app.id.to_string(), |it| it.id.to_string());
        let actor = Actor::Controller("teardown".into());
        let txn = Txn::new(actor, format!("remove {}", app.name), request);
        Ok(Removal { view, now, app, receipt, begun, txn })
    }

    /// Stops everything in `env` that still runs; says how many instances are not gone yet.
    fn stop(&mut self, env: &Env) -> Result<usize, StoreError> {
        let parent = Some(env.any_id());
        if env.deleting.is_none() {
            // Whatever was decided about the env before expects its version, and is refused from now on.
            self.txn.expect(env.id, env.version).deleting(env.id);
        }
        self.cancel(env)?;
        for endpoint in self.view.all::<EndpointSpec>(parent)? {
            self.txn.delete(endpoint.id);
        }
        let mut left = 0;
        for instance in self.view.all::<InstanceSpec>(parent)? {
            match (instance.spec.desired, instance.status.phase) {
                (Desired::Stopped, Phase::Stopped) => {
                    self.txn.delete(instance.id);
                    continue;
                }
                (Desired::Running, _) => {
                    let spec =
                        InstanceSpec { desired: Desired::Stopped, serving: false, ..instance.spec.clone() };
                    self.txn.put_spec(&Instance { spec, ..instance });
                }
                _ => {}
            }
            left += 1;
        }
        Ok(left)
    }

    /// Ends what waits, and the rollout that is under way.
    fn cancel(&mut self, env: &Env) -> Result<(), StoreError> {
        if let Some(mut waiting) = claims::waiting(self.view, env.id)? {
            queue::call_off(&mut self.txn, &mut waiting, "the app was removed", self.now);
        }
        let Some(mut rollout) = claims::active_rollout(self.view, env.id)? else { return Ok(()) };
        let reason = "the app was removed";
        rollout.status.phase = RolloutPhase::Failed;
        rollout.status.since = Some(self.now);
        rollout.status.failure = Some(reason.into());
        self.txn.put_status(&rollout).release(claims::ROLLOUT, env.id);
        if let Some(mut receipt) = self.view.find::<ReceiptSpec>(rollout.spec.receipt)? {
            conclude(&mut receipt, Verdict::Failed, Some(Code::Conflict), reason, self.now);
            self.txn.put_status(&receipt);
        }
        Ok(())
    }

    fn begin(mut self, left: usize) -> Result<Decision, StoreError> {
        if let Some(receipt) = &mut self.receipt {
            steps::open(receipt, "stop", steps::instances(left), self.now);
            self.txn.put_status(receipt);
        }
        Ok(self.commit())
    }

    /// Nothing runs any more: the rest goes.
    fn delete(mut self, envs: &[Env]) -> Result<Decision, StoreError> {
        for env in envs {
            self.delete_all::<RolloutSpec>(env.any_id())?;
            self.delete_all::<ReleaseSpec>(env.any_id())?;
            self.delete_all::<SecretSpec>(env.any_id())?;
            self.txn.delete(env.id);
        }
        self.txn.delete(self.app.id);
        let left = self.left()?;
        if let Some(receipt) = &mut self.receipt {
            steps::open(receipt, "delete", format!("{} and all of it", self.app.name), self.now);
            conclude(receipt, Verdict::Succeeded, None, &left, self.now);
            self.txn.put_status(receipt);
        }
        Ok(self.commit())
    }

    /// What is left of the app, and how it goes too.
    fn left(&self) -> Result<String, StoreError> {
        let all = self.view.all::<VolumeSpec>(self.app.parent)?;
        let ours = all.iter().filter(|it| it.spec.app.as_str() == self.app.name && it.deleting.is_none());
        let names: Vec<&str> = ours.map(|volume| volume.name.as_str()).collect();
        Ok(match names[..] {
            [] => "nothing of it is left".into(),
            [one] => format!("kept: volume {one}; `freehold volume delete {one} --yes` removes it"),
            _ => {
                format!("kept: volumes {}; `freehold volume delete NAME --yes` removes one", names.join(", "))
            }
        })
    }

    fn delete_all<S: Spec>(&mut self, parent: AnyId) -> Result<(), StoreError> {
        for resource in self.view.all::<S>(Some(parent))? {
            self.txn.delete(resource.id);
        }
        Ok(())
    }

    fn commit(self) -> Decision {
        Decision { txn: Some(self.txn).filter(|txn| !txn.is_empty()), wake: None }
    }
}
