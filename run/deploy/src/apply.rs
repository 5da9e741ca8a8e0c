//! Turns a plan into the one transaction that sets it going, with the receipt that will tell how it went.
//!
//! Called by the API, which commits it. Invariant: the transaction expects every resource that the plan
//! was made from, so it commits as planned or not at all.

use crate::{
    claims,
    error::PlanError,
    lookup::{Place, place},
    templates::templates,
};
use freehold_model::{
    Actor, AnyId, App, AppId, AppSpec, Env, EnvId, EnvSpec, Operation, Plan, Receipt, ReceiptId, ReceiptSpec,
    ReceiptStatus, Release, ReleaseId, ReleaseSpec, Rollout, RolloutId, RolloutPhase, RolloutSpec,
    RolloutStatus, Txn, Verdict,
};
use freehold_reconcile::{Ids, View, ViewExt};
use jiff::{SignedDuration, Timestamp};

/// A rollout fails if it is not done by then. Pulling images may take long.
pub(crate) const DEADLINE: SignedDuration = SignedDuration::from_mins(5);

/// The transaction that sets `plan` going, and the receipt it makes.
///
/// # Errors
/// When the plan has blockers, no longer fits what is there, or the view fails.
pub fn apply(
    view: &dyn View,
    plan: &Plan,
    actor: &Actor,
    request_id: &str,
    now: Timestamp,
    ids: &mut dyn Ids,
) -> Result<(Txn, ReceiptId), PlanError> {
    if !plan.blockers.is_empty() {
        return Err(PlanError::Blocked(plan.blockers.clone()));
    }
    let place = place(view, &plan.project, &plan.app, &plan.env)?;
    let txn = Txn::new(actor.clone(), reason(plan), request_id);
    let applying = Applying { view, plan, place, now, ids, txn };
    match plan.operation {
        Operation::Remove => applying.remove(),
        Operation::Deploy | Operation::Rollback => applying.release(),
    }
}

fn reason(plan: &Plan) -> String {
    let release = plan.release.map(|number| format!(" v{number}")).unwrap_or_default();
    match plan.operation {
        Operation::Deploy => format!("deploy {}/{}{release}", plan.app, plan.env),
        Operation::Rollback => format!("roll {}/{} back to{release}", plan.app, plan.env),
        Operation::Remove => format!("remove {}", plan.app),
    }
}

struct Applying<'a> {
    view: &'a dyn View,
    plan: &'a Plan,
    place: Place,
    now: Timestamp,
    ids: &'a mut dyn Ids,
    txn: Txn,
}

impl Applying<'_> {
    fn release(mut self) -> Result<(Txn, ReceiptId), PlanError> {
        if let Some(env) = self.place.env.clone().filter(|_| self.plan.is_noop()) {
            return Ok(self.nothing(&env));
        }
        let app = self.app();
        let env = self.env(&app);
        let release = match self.plan.operation {
            Operation::Rollback => self.earlier(&env)?,
            _ => self.new_release(&env)?,
        };
        let receipt = self.receipt(env.id.into(), Some(&release));
        let id = receipt.id;
        self.txn.put(&receipt);
        self.rollout(&env, &release, id);
        Ok((self.txn, id))
    }

    /// Everything runs already as wanted: a receipt says so.
    fn nothing(mut self, env: &Env) -> (Txn, ReceiptId) {
        let current = self.place.current.clone();
        let mut receipt = self.receipt(env.id.into(), current.as_ref());
        receipt.status = ReceiptStatus {
            verdict: Some(Verdict::Succeeded),
            reason: Some("nothing to change".into()),
            finished: Some(self.now),
            ..ReceiptStatus::default()
        };
        self.txn.expect(env.id, env.version).put(&receipt);
        (self.txn, receipt.id)
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
            templates: templates(&manifest, &self.plan.images, &self.plan.revisions)?,
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
        let id = ReceiptId(self.ids.ulid());
        let images = plan.images.iter().map(|(name, image)| (name.clone(), image.digest.clone()));
        let spec = ReceiptSpec {
            operation: plan.operation,
            actor: self.txn.actor.clone(),
            app: plan.app.clone(),
            env: plan.env.clone(),
            plan_hash: plan.hash.clone(),
            manifest_hash: plan.manifest_hash.clone(),
            release: release.map(|release| release.id),
            release_number: release.map(|release| release.spec.number),
            previous: current.map(|release| release.id),
            previous_number: current.map(|release| release.spec.number),
            images: images.collect(),
            accepted: self.now,
        };
        Receipt::new(id, id.to_string(), Some(parent), spec, self.now)
    }

    fn rollout(&mut self, env: &Env, release: &Release, receipt: ReceiptId) {
        let id = RolloutId(self.ids.ulid());
        let spec = RolloutSpec {
            release: release.id,
            previous: env.spec.release,
            receipt,
            deadline: self.now.saturating_add(DEADLINE).unwrap_or(Timestamp::MAX),
        };
        let mut rollout = Rollout::new(id, id.to_string(), Some(env.id.into()), spec, self.now);
        rollout.status =
            RolloutStatus { phase: RolloutPhase::Starting, since: Some(self.now), failure: None };
        self.txn.put(&rollout).claim(claims::ROLLOUT, env.id, id);
    }
}
