//! The identity providers that people sign in with: set, shown, removed and looked at by the owner of the house.
//!
//! Invariant: a client's secret comes in and never goes out.

use crate::{
    commit::commit,
    error::{Answer, Failure},
    extract::{HiddenJson, Id},
    params::{FromParams, Keys, NoParams, Params},
    state::Api,
    who::{Caller, Who},
};
use axum::{Json, extract::State, http::StatusCode};
use freehold_identity::sso::{self, remove_provider, set_provider};
use freehold_model::{
    Code, IdentityProvider, IdentityProviderId, IdentityProviderSpec, Name, Problem,
    secrets::Hidden,
    sso::{CheckedProvider, IdentityProviderSummary, SetIdentityProvider},
};
use freehold_reconcile::{Ids as _, SystemIds, View, ViewExt as _};
use freehold_secrets::{Plaintext, client_secret};
use utoipa::IntoParams;

/// Lists the identity providers that people sign in to this house with.
#[utoipa::path(get, path = "/v1/sso", operation_id = "list_identity_providers", tag = "sso",
    responses((status = 200, description = "In order of names", body = Vec<IdentityProviderSummary>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    _: Params<NoParams>,
) -> Answer<Json<Vec<IdentityProviderSummary>>> {
    let house = api.public_url.clone();
    api.read(move |view| Ok(sso::summaries(view, house.as_ref())?)).await.map(Json)
}

/// Shows one of them.
#[utoipa::path(get, path = "/v1/sso/{name}", operation_id = "get_identity_provider", tag = "sso",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The provider", body = IdentityProviderSummary)))]
pub(crate) async fn get(
    State(api): State<Api>,
    Id(name): Id<Name>,
    _: Params<NoParams>,
) -> Answer<Json<IdentityProviderSummary>> {
    let house = api.public_url.clone();
    api.read(move |view| Ok(sso::summary(view, house.as_ref(), name.as_str())?)).await.map(Json)
}

/// Makes or changes one. A client secret that is left out stays as it is, for the same issuer.
#[utoipa::path(put, path = "/v1/sso/{name}", operation_id = "set_identity_provider", tag = "sso",
    params(("name" = String, Path, description = "Its name")), request_body = SetIdentityProvider,
    responses((status = 200, description = "The provider as it is now", body = IdentityProviderSummary)))]
pub(crate) async fn set(
    State(api): State<Api>,
    Id(name): Id<Name>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    HiddenJson(wanted): HiddenJson<SetIdentityProvider>,
) -> Answer<Json<IdentityProviderSummary>> {
    let asker = caller.asker(&who, &api);
    let fresh = IdentityProviderId(SystemIds.ulid());
    // Until it is stored, no rotation may forget the key.
    let _turn = api.vault.turn().await;
    let (vault, house) = (api.vault.clone(), api.public_url.clone());
    let decide = move |view: &dyn View| {
        let id = view.named::<IdentityProviderSpec>(None, name.as_str())?.map_or(fresh, |found| found.id);
        let seal = |secret: &Hidden| {
            vault.seal_house(&client_secret(id), &Plaintext::new(secret.expose().as_bytes().to_vec()))
        };
        let sealed = wanted.client_secret.as_ref().map(seal);
        let (txn, provider) = set_provider(view, &asker, &name, &wanted, id, sealed)?;
        Ok((txn, provider.name))
    };
    let name = commit(&api, decide).await?;
    api.read(move |view| Ok(sso::summary(view, house.as_ref(), &name)?)).await.map(Json)
}

/// How to remove one.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Removal {
    /// Even if somebody could not sign in any more. `false` when not given.
    #[param(inline)]
    force: Option<bool>,
}

impl FromParams for Removal {
    fn from_params(keys: &mut Keys) -> Self {
        Removal { force: Some(keys.flag("force")) }
    }
}

/// Removes one. Sessions that it opened last on; nobody signs in with it any more.
#[utoipa::path(delete, path = "/v1/sso/{name}", operation_id = "remove_identity_provider", tag = "sso",
    params(("name" = String, Path, description = "Its name"), Removal),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn remove(
    State(api): State<Api>,
    Id(name): Id<Name>,
    Params(how): Params<Removal>,
    who: Who,
    caller: Caller,
) -> Answer<StatusCode> {
    let asker = caller.asker(&who, &api);
    let force = how.force.unwrap_or(false);
    let decide = move |view: &dyn View| Ok(remove_provider(view, &asker, name.as_str(), force)?);
    commit(&api, decide).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Looks at what a provider publishes and whether it takes this house for its client; changes nothing.
#[utoipa::path(post, path = "/v1/sso/{name}/check", operation_id = "check_identity_provider", tag = "sso",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "What was found", body = CheckedProvider)))]
pub(crate) async fn check(
    State(api): State<Api>,
    Id(name): Id<Name>,
    _: Params<NoParams>,
) -> Answer<Json<CheckedProvider>> {
    let provider = find(&api, name.as_str()).await?;
    let secret = open_secret(&api, &provider)?;
    Ok(Json(api.sso.check(&provider, secret, api.public_url.as_ref()).await))
}

/// The provider of that name.
///
/// # Errors
/// When there is none.
pub(crate) async fn find(api: &Api, name: &str) -> Answer<IdentityProvider> {
    let name = name.to_owned();
    api.read(move |view| {
        sso::summary(view, None, &name)?;
        view.named::<IdentityProviderSpec>(None, &name)?.ok_or_else(|| Failure::internal("it was just there"))
    })
    .await
}

/// What proves this house to a provider.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn open_secret(api: &Api, provider: &IdentityProvider) -> Answer<Hidden> {
    let lost = || {
        Problem::new(Code::Conflict, "What proves this house to the identity provider cannot be opened.")
            .hint(
                "Restore keys/secrets.key from a backup, or set its client secret anew: `freehold sso set`.",
            )
    };
    let sealed = provider.spec.secret.as_ref().ok_or_else(lost)?;
    let plain = api.vault.open_house(&client_secret(provider.id), sealed).map_err(|_| lost())?;
    String::from_utf8(plain.expose().to_vec()).map(Hidden::new).map_err(|_| lost().into())
}
