//! Turns a plan into the one transaction that sets it going, with the receipt that will tell how it went.
//!
//! Called by the API, which commits it, and by the queue when the turn of a waiting operation has come.
//! Invariant: the transaction expects every resource that the plan
//! was made from, so it commits as planned or not at all.

use crate::{
    claims,
    error::PlanError,
    lookup::{Place, place},
    queue, quota,
    rollout::steps,
    secrets,
    templates::templates,
    verdict::conclude,
};
use freehold_model::{
    Actor, AnyId, App, AppId, AppSpec, Env, EnvId, EnvSpec, Operation, Plan, Receipt, ReceiptId, ReceiptSpec,
    Release, ReleaseId, ReleaseSpec, Rollout, RolloutId, RolloutPhase, RolloutSpec, RolloutStatus, Txn,
    Verdict,
};
use freehold_reconcile::{Ids, View, ViewExt};
use jiff::Timestamp;

/// Who asks for an operation.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// By which request.
    pub request: &'a str,
    /// When.
    pub now: Timestamp,
    /// Whether exactly this plan is wanted: if it waits, its hash must still be the same when its turn
    /// comes.
    pub pinned: bool,
}

/// The transaction that sets `plan` going, or makes it wait for what is under way, and the receipt it makes.
///
/// # Errors
/// When the plan has blockers, no longer fits what is there, or the view fails.
pub fn apply(
    view: &dyn View,
    plan: &Plan,
    asking: &Asking<'_>,
    ids: &mut dyn Ids,
) -> Result<(Txn, ReceiptId), PlanError> {
    if !plan.blockers.is_empty() {
        return Err(PlanError::Blocked(plan.blockers.clone()));
    }
    let place = place(view, &plan.project, &plan.app, &plan.env)?;
    has_client_secret(view, plan, &place)?;
    let txn = Txn::new(asking.actor.clone(), reason(plan), asking.request);
    let waited = None;
    let applying = Applying { view, plan, place, now: asking.now, ids, txn, waited };
    match (plan.operation, applying.place.rollout.as_ref().map(|rollout| rollout.spec.receipt)) {
        (Operation::Remove, _) => applying.remove(),
        (_, Some(front)) => applying.wait(front, asking.pinned),
        (_, None) => applying.release(),
    }
}

/// The transaction that sets the plan of the waiting `receipt` going, added to `txn`.
pub(crate) fn resume(
    view: &dyn View,
    plan: &Plan,
    receipt: Receipt,
    now: Timestamp,
    ids: &mut dyn Ids,
    mut txn: Txn,
) -> Result<Txn, PlanError> {
    if !plan.blockers.is_empty() {
        return Err(PlanError::Blocked(plan.blockers.clone()));
    }
    let mut place = place(view, &plan.project, &plan.app, &plan.env)?;
    place.waiting = None;
    has_client_secret(view, plan, &place)?;
    txn.reason = reason(plan);
    let applying = Applying { view, plan, place, now, ids, txn, waited: Some(receipt) };
    applying.release().map(|(txn, _)| txn)
}

/// Refuses a plan with a client secret that is still to be made.
fn has_client_secret(view: &dyn View, plan: &Plan, place: &Place) -> Result<(), PlanError> {
    let Some(manifest) = &plan.manifest else { return Ok(()) };
    match secrets::lacks_client_secret(view, place.env.as_ref(), manifest, &plan.secrets)? {
        true => Err(PlanError::NoClientSecret { app: plan.app.clone(), env: plan.env.clone() }),
        false => Ok(()),
    }
}

fn reason(plan: &Plan) -> String {
    let release = plan.release.map(|number| format!(" v{number}")).unwrap_or_default();
    match plan.operation {
        Operation::Deploy => format!("deploy {}/{}{release}", plan.app, plan.env),
        Operation::Rollback => format!("roll {}/{} back to{release}", plan.app, plan.env),
        Operation::Remove => format!("remove {}", plan.app),
        Operation::Move => format!("move {}/{}{release}", plan.app, plan.env),
    }
}

struct Applying<'a> {
    view: &'a dyn View,
    plan: &'a Plan,
    place: Place,
    now: Timestamp,
    ids: &'a mut dyn Ids,
    txn: Txn,
    /// The receipt, if the operation waited until now.
    waited: Option<Receipt>,
}

impl Applying<'_> {
    fn release(mut self) -> Result<(Txn, ReceiptId), PlanError> {
        if let Some(env) = self.place.env.clone().filter(|_| self.plan.is_noop()) {
            return Ok(self.nothing(env));
        }
        quota::admit(&mut self.txn, self.view, &self.place.project, self.now)?;
        let app = self.app();
        let env = self.env(&app);
        // A version that is removed meanwhile refuses this.
        for secret in secrets::resources(self.view, Some(&env), self.plan.secrets.keys())? {
            self.txn.expect(secret.id, secret.version);
        }
        let release = match self.plan.operation {
            Operation::Rollback => self.earlier(&env)?,
            _ => self.new_release(&env)?,
        };
        let mut receipt = self.receipt(env.id.into(), Some(&release));
        let id = receipt.id;
        self.supersede(&env, &mut receipt);
        self.write(&receipt);
        self.rollout(&env, &release, id);
        Ok((self.txn, id))
    }

    /// Everything runs already as wanted: a receipt says so.
    fn nothing(mut self, env: Env) -> (Txn, ReceiptId) {
        let current = self.place.current.clone();
        let mut receipt = self.receipt(env.id.into(), current.as_ref());
        self.supersede(&env, &mut receipt);
        conclude(&mut receipt, Verdict::Succeeded, None, "nothing to change", self.now);
        self.txn.expect(env.id, env.version);
        self.write(&receipt);
        (self.txn, receipt.id)
    }

    /// Another rollout is under way: a receipt waits until it has ended.
    fn wait(mut self, front: ReceiptId, pinned: bool) -> Result<(Txn, ReceiptId), PlanError> {
        let (Some(app), Some(env)) = (self.place.app.clone(), self.place.env.clone()) else {
            return Err(PlanError::Stale);
        };
        let mut receipt = self.receipt(env.id.into(), None);
        queue::enter(&mut receipt, self.plan, front, pinned, self.now)?;
        self.txn.expect(app.id, app.version).expect(env.id, env.version);
        self.supersede(&env, &mut receipt);
        self.write(&receipt);
        self.txn.claim(claims::WAITING, env.id, receipt.id);
        Ok((self.txn, receipt.id))
    }

    /// Takes the place of what waits.
    fn supersede(&mut self, env: &Env, receipt: &mut Receipt) {
        if let Some(old) = self.place.waiting.take() {
            self.txn.expect(env.id, env.version);
            queue::supersede(&mut self.txn, old, receipt, self.now);
        }
    }

    /// Creates the receipt, or replaces what was known of it while it waited.
    fn write(&mut self, receipt: &Receipt) {
        match self.waited {
            Some(_) => self.txn.put_spec(receipt).put_status(receipt),
            None => self.txn.put(receipt),
        };
    }

    fn remove(mut self) -> Result<(Txn, ReceiptId), PlanError> {
        let app = self.place.app.clone().ok_or(PlanError::Stale)?;
        let receipt = self.receipt(self.place.project.id.into(), None);
        self.txn.expect(app.id, app.version).deleting(app.id).put(&receipt);
        Ok((self.txn, receipt.id))
    }

    fn app(&mut self) -> App {
        if let Some(app) = &self.place.app {
            self.txn.expect(app.id, app.version);
            return app.clone();
        }
        let id = AppId(self.ids.ulid());
        let parent = Some(self.place.project.id.into());
        let app = App::new(id, self.plan.app.as_str(), parent, AppSpec {}, self.now);
        self.txn.put(&app);
        app
    }

    fn env(&mut self, app: &App) -> Env {
        let number = self.plan.release.unwrap_or(0);
        if let Some(mut env) = self.place.env.clone() {
            env.spec.last_number = env.spec.last_number.max(number);
            self.txn.expect(env.id, env.version).put_spec(&env);
            return env;
        }
        let id = EnvId(self.ids.ulid());
        let spec = EnvSpec { release: None, last_number: number };
        let env = Env::new(id, self.plan.env.as_str(), Some(app.id.into()), spec, self.now);
        self.txn.put(&env);
        env
    }

    fn new_release(&mut self, env: &Env) -> Result<Release, PlanError> {
        let manifest = self.plan.manifest.clone().ok_or(PlanError::Stale)?;
        let number = self.plan.release.ok_or(PlanError::Stale)?;
        let spec = ReleaseSpec {
            number,
            manifest_hash: manifest.hash(),
            templates: templates(&manifest, &self.plan.images, &self.plan.revisions, &self.plan.secrets)?,
            manifest,
        };
        let id = ReleaseId(self.ids.ulid());
        let release = Release::new(id, format!("v{number}"), Some(env.id.into()), spec, self.now);
        self.txn.put(&release);
        Ok(release)
    }

    fn earlier(&self, env: &Env) -> Result<Release, PlanError> {
        let name = format!("v{}", self.plan.release.ok_or(PlanError::Stale)?);
        self.view.named::<ReleaseSpec>(Some(env.id.into()), &name)?.ok_or(PlanError::Stale)
    }

    fn receipt(&mut self, parent: AnyId, release: Option<&Release>) -> Receipt {
        let (plan, current) = (self.plan, self.place.current.as_ref());
        let waited = self.waited.clone();
        let id = waited.as_ref().map_or_else(|| ReceiptId(self.ids.ulid()), |receipt| receipt.id);
        let images = plan.images.iter().map(|(name, image)| (name.clone(), image.digest.clone()));
        let spec = ReceiptSpec {
            operation: plan.operation,
            actor: waited.as_ref().map_or(&self.txn.actor, |receipt| &receipt.spec.actor).clone(),
            app: plan.app.clone(),
            env: plan.env.clone(),
            plan_hash: plan.hash.clone(),
            manifest_hash: plan.manifest_hash.clone(),
            release: release.map(|release| release.id),
            release_number: release.map(|release| release.spec.number),
            previous: current.map(|release| release.id),
            previous_number: current.map(|release| release.spec.number),
            images: images.collect(),
            secrets: plan.secrets.clone(),
            accepted: waited.as_ref().map_or(self.now, |receipt| receipt.spec.accepted),
            queued: None,
        };
        if let Some(mut receipt) = waited {
            receipt.spec = spec;
            receipt.status.behind = None;
            steps::close(&mut receipt, self.now);
            return receipt;
        }
        Receipt::new(id, id.to_string(), Some(parent), spec, self.now)
    }

    fn rollout(&mut self, env: &Env, release: &Release, receipt: ReceiptId) {
        let id = RolloutId(self.ids.ulid());
        let patience = release.spec.manifest.deploy.timeout.signed();
        let spec = RolloutSpec {
            release: release.id,
            previous: env.spec.release,
            receipt,
            deadline: self.now.saturating_add(patience).unwrap_or(Timestamp::MAX),
            leaves: None,
            cancelled_by: None,
        };
        let mut rollout = Rollout::new(id, id.to_string(), Some(env.id.into()), spec, self.now);
        rollout.status =
            RolloutStatus { phase: RolloutPhase::Starting, since: Some(self.now), failure: None };
        self.txn.put(&rollout).claim(claims::ROLLOUT, env.id, id);
    }
}
