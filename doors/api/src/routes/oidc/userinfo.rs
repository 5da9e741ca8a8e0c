//! Who signed in, for an app that shows its access token (OpenID Connect Core, 5.3).

use super::{OidcProblem, issuer, refusal, refused, unkept};
use crate::{
    error::Answer,
    params::{NoParams, Params},
    state::Api,
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use freehold_identity::oidc::{self, OidcError};
use serde::Serialize;
use utoipa::ToSchema;

/// Who signed in, as far as the scopes go.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserInfo {
    /// Their id, which never changes and is never another's.
    sub: String,
    /// How people call them (`profile`).
    name: Option<String>,
    /// Their user's name (`profile`).
    preferred_username: Option<String>,
    /// Their roles at the app's project (`groups`).
    groups: Option<Vec<String>>,
}

/// Says who signed in.
#[utoipa::path(get, path = "/oidc/userinfo", operation_id = "oidc_userinfo", tag = "oidc", security((), ("access" = [])),
    responses((status = 200, description = "Who signed in", body = UserInfo),
        (status = 401, description = "The access token is worth nothing", body = OidcProblem)))]
pub(crate) async fn get(State(api): State<Api>, _: Params<NoParams>, headers: HeaderMap) -> Answer<Response> {
    issuer(&api)?;
    let now = api.clock.now();
    let Some(shown) = bearer(&headers) else {
        return Ok(wrong(OidcError::new("invalid_token", "No access token.")));
    };
    match api.read(move |view| refused(oidc::userinfo(view, &shown, now))).await? {
        Ok(person) => Ok(unkept(Json(person).into_response())),
        Err(why) => Ok(wrong(why)),
    }
}

/// The same, as some clients ask for it.
#[utoipa::path(post, path = "/oidc/userinfo", operation_id = "oidc_userinfo_by_post", tag = "oidc", security((), ("access" = [])),
    responses((status = 200, description = "Who signed in", body = UserInfo),
        (status = 401, description = "The access token is worth nothing", body = OidcProblem)))]
pub(crate) async fn post(
    state: State<Api>,
    params: Params<NoParams>,
    headers: HeaderMap,
) -> Answer<Response> {
    get(state, params, headers).await
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn wrong(why: OidcError) -> Response {
    let mut response = refusal(StatusCode::UNAUTHORIZED, why);
    let challenge = HeaderValue::from_static("Bearer realm=\"freehold\", error=\"invalid_token\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}
