//! Secrets and the key that seals them. Values come in and never go out: no answer, event or error of
//! these routes holds one, and what a caller sent in the wrong shape is not repeated.

use crate::{
    error::{Answer, Failure},
    extract::{HiddenJson, Id},
    params::{FromParams, Keys, NoParams, Params},
    planning::or_default,
    routes::summaries::SummaryParams,
    scope::Scope,
    state::Api,
    who::{Caller, Who},
};
use axum::{Json, extract::State};
use freehold_identity::Action;
use freehold_model::{
    Code, SecretId,
    secrets::{HouseKey, RotatedKey, SecretRemoved, SecretSet, SecretSummary, SetSecret},
};
use freehold_secrets::{Vault, VaultError};
use utoipa::IntoParams;

/// Lists secrets: versions, who set them, which releases use them. Those whose versions were all removed
/// are there too, with `current` null.
#[utoipa::path(get, path = "/v1/secrets", operation_id = "list_secrets", tag = "secrets", params(SummaryParams),
    responses((status = 200, description = "In order of names within each env", body = Vec<SecretSummary>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    who: Who,
    Params(scope): Params<Scope>,
) -> Answer<Json<Vec<SecretSummary>>> {
    let read = move |view: &dyn freehold_reconcile::View| {
        let mut found = vec![];
        for place in scope.places(view, &who, Action::Read)? {
            found.extend(Vault::summaries(view, &place.project, &place.app, &place.env)?);
        }
        Ok(found)
    };
    api.read(read).await.map(Json)
}

/// Gives a secret a new value; makes the app and the env where they are not there yet.
#[utoipa::path(post, path = "/v1/secrets", operation_id = "set_secret", tag = "secrets", request_body = SetSecret,
    responses((status = 200, description = "The secret, and the version that holds the value", body = SecretSet)))]
pub(crate) async fn set(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    HiddenJson(wanted): HiddenJson<SetSecret>,
) -> Answer<Json<SecretSet>> {
    let project = or_default(wanted.project.clone());
    api.read(move |view| who.in_project(view, Action::SetSecret, &project)).await?;
    api.vault.set(&caller.actor, &caller.request, &wanted).await.map(Json).map_err(failure)
}

/// Which versions to remove.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Removal {
    /// This one; all when not given.
    #[param(minimum = 1)]
    version: Option<u32>,
    /// Even those that releases use. `false` when not given.
    #[param(inline)]
    force: Option<bool>,
}

impl FromParams for Removal {
    fn from_params(keys: &mut Keys) -> Self {
        let version = keys.number("version", 1..=u64::from(u32::MAX)).map(|number| number as u32);
        Removal { version, force: Some(keys.flag("force")) }
    }
}

/// Removes versions of a secret. Their numbers are never given again.
#[utoipa::path(delete, path = "/v1/secrets/{id}", operation_id = "remove_secret", tag = "secrets",
    params(("id" = String, Path, description = "Its id"), Removal),
    responses((status = 200, description = "The secret, and what was removed", body = SecretRemoved)))]
pub(crate) async fn remove(
    State(api): State<Api>,
    Id(id): Id<SecretId>,
    Params(which): Params<Removal>,
    caller: Caller,
) -> Answer<Json<SecretRemoved>> {
    let force = which.force.unwrap_or(false);
    let removed = api.vault.remove(&caller.actor, &caller.request, id, which.version, force).await;
    removed.map(Json).map_err(failure)
}

/// Says the public half of the house's key: what is sealed with it can be committed to git and set later.
#[utoipa::path(get, path = "/v1/key", operation_id = "get_key", tag = "secrets",
    responses((status = 200, description = "An age recipient", body = HouseKey)))]
pub(crate) async fn key(State(api): State<Api>, _: Params<NoParams>) -> Answer<Json<HouseKey>> {
    Ok(Json(api.vault.key()))
}

/// Replaces the root key and seals every version again under the new one. What was sealed for git before
/// cannot be set any more.
#[utoipa::path(post, path = "/v1/key/rotation", operation_id = "rotate_key", tag = "secrets",
    responses((status = 200, description = "The new key", body = RotatedKey)))]
pub(crate) async fn rotate_key(
    State(api): State<Api>,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<Json<RotatedKey>> {
    api.controls.only_this("a new root key")?;
    let api_ = api.clone();
    // On its own: a caller that goes away does not leave it half done until the next start.
    let rotation = tokio::spawn(async move { api_.vault.rotate_key(&caller.actor, &caller.request).await });
    rotation.await.map_err(Failure::internal)?.map(Json).map_err(failure)
}

pub(super) fn failure(error: VaultError) -> Failure {
    let problem = error.problem();
    match problem.code {
        Code::Internal | Code::Unavailable => Failure::internal(error),
        _ => Failure(problem),
    }
}
