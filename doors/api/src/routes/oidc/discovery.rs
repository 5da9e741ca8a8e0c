//! What clients read first: where everything is (OpenID Connect Discovery 1.0), and the keys.

use super::issuer;
use crate::{
    error::Answer,
    params::{NoParams, Params},
    state::Api,
};
use axum::{Json, extract::State};
use freehold_identity::oidc::SCOPES;
use serde_json::{Value, json};

/// Says where the endpoints are and what they take.
#[utoipa::path(get, path = "/.well-known/openid-configuration", operation_id = "openid_configuration", tag = "oidc",
    security(()), responses((status = 200, description = "The provider's metadata", body = Object)))]
pub(crate) async fn configuration(State(api): State<Api>, _: Params<NoParams>) -> Answer<Json<Value>> {
    let at = issuer(&api)?;
    Ok(Json(json!({
        "issuer": at.as_str(),
        "authorization_endpoint": format!("{at}/oidc/authorize"),
        "token_endpoint": format!("{at}/oidc/token"),
        "userinfo_endpoint": format!("{at}/oidc/userinfo"),
        "end_session_endpoint": format!("{at}/oidc/logout"),
        "jwks_uri": format!("{at}/oidc/jwks"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": SCOPES,
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "sid", "name", "preferred_username", "groups",
        ],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "authorization_response_iss_parameter_supported": true,
    })))
}

/// The keys that sign ID tokens, or did until lately.
#[utoipa::path(get, path = "/oidc/jwks", operation_id = "oidc_jwks", tag = "oidc", security(()),
    responses((status = 200, description = "A JSON Web Key Set", body = Object)))]
pub(crate) async fn jwks(State(api): State<Api>, _: Params<NoParams>) -> Answer<Json<Value>> {
    issuer(&api)?;
    Ok(Json(api.signer.jwks().await?))
}
