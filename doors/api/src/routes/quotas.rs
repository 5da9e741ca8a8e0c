//! Quotas of orgs and projects: what they are, what is used of them, and other ones.
//!
//! Invariant: nobody gives themselves more: a project's quota is its org's to set, an org's the house's.

use super::resources::missing;
use crate::{
    commit::commit,
    error::Answer,
    extract::{Id, Json},
    params::{NoParams, Params},
    state::Api,
    who::{Caller, Who, not_allowed},
};
use axum::{Json as Sent, extract::State};
use freehold_deploy::{
    Asker,
    quota::{of_org, of_project, set_quota},
};
use freehold_identity::{Action, Place, house};
use freehold_model::{AnyId, Code, OrgSpec, Problem, ProjectSpec, Quota, QuotaReport};
use freehold_reconcile::{View, ViewExt as _};

/// Lists orgs, then projects, with what they may use and what they use.
#[utoipa::path(get, path = "/v1/quotas", operation_id = "list_quotas", tag = "people",
    responses((status = 200, description = "Those that one sees, in order of names", body = Vec<QuotaReport>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
) -> Answer<Sent<Vec<QuotaReport>>> {
    let read = move |view: &dyn View| {
        let mut sight = who.sight();
        let mut reports = vec![];
        let mut orgs = view.all::<OrgSpec>(None)?;
        orgs.sort_by(|one, other| one.name.cmp(&other.name));
        for org in orgs {
            if sight.sees(view, org.any_id())? {
                let used = of_org(view, &org)?;
                reports.push(QuotaReport { id: org.any_id(), name: org.name, quota: org.spec.quota, used });
            }
        }
        let mut projects = view.all::<ProjectSpec>(None)?;
        projects.sort_by(|one, other| one.name.cmp(&other.name));
        for project in projects {
            if sight.sees(view, project.any_id())? {
                let (id, used) = (project.any_id(), of_project(view, &project)?);
                reports.push(QuotaReport { id, name: project.name, quota: project.spec.quota, used });
            }
        }
        Ok(reports)
    };
    api.read(read).await.map(Sent)
}

/// Gives an org or a project another quota; what is left out is not limited. What runs stays, even if that is
/// more.
#[utoipa::path(put, path = "/v1/quotas/{id}", operation_id = "set_quota", tag = "people",
    params(("id" = String, Path, description = "The id of the org or the project")), request_body = Quota,
    responses((status = 200, description = "The quota that counts from now on", body = Quota)))]
pub(crate) async fn set(
    State(api): State<Api>,
    Id(id): Id<AnyId>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    Json(quota): Json<Quota>,
) -> Answer<Sent<Quota>> {
    let asker = Asker { actor: caller.actor, request: caller.request, now: api.clock.now() };
    let decide = move |view: &dyn View| {
        let above = match Place::of(view, id)? {
            Some(Place::Project { org, project }) if id == project.into() => Place::Org(org),
            Some(Place::Org(org)) if id == org.into() => Place::House,
            _ => return Err(missing(id)),
        };
        if !who.may(Action::SetQuota, above) {
            return Err(not_allowed(Action::SetQuota).into());
        }
        if quota.rate.is_some() && house(view)?.is_none_or(|house| id != house.into()) {
            let hint =
                "Give it to the org `home`: it counts for everybody. A token gets its own when it is made.";
            let title = "Only the house has a rate of requests.";
            return Err(Problem::new(Code::Invalid, title).hint(hint).into());
        }
        Ok((set_quota(view, id, quota, &asker)?, quota))
    };
    commit(&api, decide).await.map(Sent)
}
