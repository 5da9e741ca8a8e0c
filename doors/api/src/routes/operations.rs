//! Planning operations, and doing them.
//!
//! An operation is one transaction. What was planned is planned again over the view it is applied to,
//! so nothing can change in between unseen: the plan differs (stale), or the commit conflicts and all is
//! decided once more.

use crate::{
    error::{Answer, Failure},
    extract::Json,
    idempotency::Key,
    params::{NoParams, Params},
    planning::{Prepared, may, prepare},
    redact,
    state::Api,
    veil::Veil,
    who::{Caller, Who},
};
use axum::{
    Json as Sent,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use freehold_deploy::{Asking, PlanError};
use freehold_identity::Action;
use freehold_model::{
    AnyResource, Code, Digest, Name, Plan, Problem, ReceiptId, ReceiptSpec, Txn,
    api::{Apply, Change},
};
use freehold_reconcile::SystemIds;

/// How often an operation is decided again when others commit in between.
const ATTEMPTS: usize = 8;

/// Says what an operation would change, and what stops it; changes nothing.
#[utoipa::path(post, path = "/v1/plans", operation_id = "plan_operation", tag = "run", request_body = Change,
    responses((status = 200, description = "The plan", body = Plan)))]
pub(crate) async fn plan(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
    Json(change): Json<Change>,
) -> Answer<Sent<Plan>> {
    let prepared = prepare(&api, &who, Action::Plan, change).await?;
    let plan = api.read(move |view| Ok(Veil::of(view, &who)?.plan(prepared.plan(view, &who)?))).await?;
    Ok(Sent(plan))
}

/// Does an operation, or has it wait while another one of its env is under way. Wait for its verdict on
/// the receipt.
#[utoipa::path(post, path = "/v1/operations", operation_id = "apply_operation", tag = "run", request_body = Apply,
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeating the request with the same key answers \
        as the first time and does nothing more")),
    responses(
        (status = 202, description = "Accepted: the receipt, without a verdict yet", body = AnyResource),
        (status = 200, description = "There was nothing to do, or it is done already: the receipt with its verdict",
            body = AnyResource)))]
pub(crate) async fn apply(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    headers: HeaderMap,
    Json(wanted): Json<Apply>,
) -> Answer<(StatusCode, Sent<AnyResource>)> {
    let key = Key::of(&headers, &who.principal, Digest::of_json(&wanted))?;
    // A caller who may not do it now learns nothing of what they did when they might.
    may(&api, &who, Action::Deploy, &wanted.change).await?;
    if let Some(key) = &key
        && let Some(receipt) = key.replay(&api, &caller.actor).await?
    {
        return repeated(&api, &who, receipt).await;
    }
    let prepared = prepare(&api, &who, Action::Deploy, wanted.change).await?;
    for _ in 0..ATTEMPTS {
        let (mut txn, receipt) =
            match decide(&api, &who, &prepared, wanted.plan_hash.clone(), &caller).await? {
                Decided::Apply(txn, receipt) => (*txn, receipt),
                Decided::NoClientSecret { project, app, env } => {
                    let made =
                        api.vault.make_client_secret(&caller.actor, &caller.request, (&project, &app, &env));
                    made.await.map_err(super::secrets::failure)?;
                    continue;
                }
            };
        txn.idempotency = key.as_ref().map(|key| key.keep(receipt));
        match (api.store.commit(txn).await, &key) {
            // The same request came twice at once, and the other was first.
            (Ok(freehold_model::Committed { replayed: Some(kept), .. }), Some(key)) => {
                return repeated(&api, &who, key.read(kept)?).await;
            }
            (Ok(_), _) => return answer(&api, receipt).await,
            (Err(conflict), _) if conflict.is_conflict() => tracing::debug!(%conflict, "deciding again"),
            (Err(error), _) => return Err(error.into()),
        }
    }
    Err(Problem::new(Code::Conflict, "Others keep changing the same things.")
        .hint("Nothing was changed. Try again in a moment.")
        .into())
}

/// What comes of an operation that may be done.
enum Decided {
    /// It is done by this.
    Apply(Box<Txn>, ReceiptId),
    /// The secret by which the app proves itself is to be made first.
    NoClientSecret { project: Name, app: Name, env: Name },
}

/// The transaction that does what is planned now, if that is what the caller looked at.
async fn decide(
    api: &Api,
    who: &Who,
    prepared: &Prepared,
    seen: Option<Digest>,
    caller: &Caller,
) -> Answer<Decided> {
    let (who, prepared, now) = (who.clone(), prepared.clone(), api.clock.now());
    let (actor, request) = (caller.actor.clone(), caller.request.clone());
    let pinned = seen.is_some();
    api.read(move |view| {
        let (plan, veil) = (prepared.plan(view, &who)?, Veil::of(view, &who)?);
        if seen.is_some_and(|seen| seen != plan.hash) {
            return Err(stale(&veil.plan(plan)).into());
        }
        let asking = Asking { actor: &actor, request: &request, now, pinned };
        match freehold_deploy::apply(view, &plan, &asking, &mut SystemIds) {
            Ok((txn, receipt)) => Ok(Decided::Apply(Box::new(txn), receipt)),
            Err(PlanError::NoClientSecret { app, env }) => {
                Ok(Decided::NoClientSecret { project: plan.project, app, env })
            }
            Err(error) => Err(Failure(veil.problem(failure(error).0))),
        }
    })
    .await
}

/// What the same request was answered with, if it is still theirs to see.
async fn repeated(api: &Api, who: &Who, id: ReceiptId) -> Answer<(StatusCode, Sent<AnyResource>)> {
    let mut sight = who.sight();
    match api.read(move |view| Ok(sight.sees(view, id.into())?)).await? {
        true => answer(api, id).await,
        false => Err(super::resources::missing(id)),
    }
}

/// The receipt: 202 while it has no verdict.
pub(crate) async fn answer(api: &Api, id: ReceiptId) -> Answer<(StatusCode, Sent<AnyResource>)> {
    let found = api.read(move |view| Ok(view.get(id.into())?)).await?;
    let receipt = found.ok_or_else(|| super::resources::missing(id))?;
    let status = receipt.clone().typed::<ReceiptSpec>().map_err(Failure::internal)?.status;
    let code = if status.verdict.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((code, Sent(redact::public(receipt))))
}

pub(crate) fn failure(error: PlanError) -> Failure {
    let problem = error.problem();
    if problem.code == Code::Internal { Failure::internal(error) } else { Failure(problem) }
}

/// Only the hash of what the caller looked at is known, so it is told how the plan is now.
fn stale(plan: &Plan) -> Problem {
    Problem::new(Code::StalePlan, "The plan is stale: something changed since it was made.")
        .detail(format!("The plan is now: {}.", sentence(plan)))
        .hint("Look at the plan again; nothing was changed.")
}

fn sentence(plan: &Plan) -> String {
    let number = |number: Option<u32>| number.map_or("none".to_owned(), |number| format!("v{number}"));
    let mut parts = vec![format!("release {} after {}", number(plan.release), number(plan.current))];
    for change in &plan.changes {
        let action = serde_json::to_value(change.action).unwrap_or_default();
        let action = action.as_str().unwrap_or_default();
        let mut part = format!("{action} {} {}", change.kind, change.name);
        let counts = [("start", change.start), ("keep", change.keep), ("stop", change.stop)];
        let counts: Vec<_> = counts.iter().filter(|count| count.1 > 0).collect();
        if !counts.is_empty() {
            let counts: Vec<String> = counts.iter().map(|(what, many)| format!("{what} {many}")).collect();
            part += &format!(" ({})", counts.join(", "));
        }
        parts.push(part);
    }
    parts.extend(plan.blockers.iter().map(|blocker| format!("stopped by: {}", blocker.title)));
    parts.join("; ")
}
