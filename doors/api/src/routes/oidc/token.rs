//! The token endpoint: an app proves itself, and shows a code or a refresh token.

use super::{OidcProblem, issuer, refusal, refused, unkept};
use crate::{
    commit::commit,
    error::{Answer, Failure},
    extract::Whole,
    params::{NoParams, Params},
    request::RequestId,
    state::Api,
};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_identity::oidc::{Client, OidcError, OidcParams, TokenClaims, Tokens, exchange, find_client};
use freehold_model::{Actor, Txn, secrets::Hidden};
use freehold_reconcile::View;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an app sends, as a form. It proves itself by Basic, or by `client_id` and `client_secret`.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the form, which is read key by key")]
pub(crate) struct TokenRequest {
    /// `authorization_code` or `refresh_token`.
    grant_type: Option<String>,
    /// The code.
    code: Option<String>,
    /// As in the request that the code answers.
    redirect_uri: Option<String>,
    /// Whose SHA-256 was the `code_challenge`.
    code_verifier: Option<String>,
    /// The refresh token; each is good once.
    refresh_token: Option<String>,
    /// Less than was given, if less will do.
    scope: Option<String>,
    /// The client, where not by Basic.
    client_id: Option<String>,
    /// Its secret, where not by Basic.
    client_secret: Option<String>,
}

/// What it gets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenResponse {
    /// For `/oidc/userinfo`.
    #[schema(value_type = String)]
    access_token: Hidden,
    /// `Bearer`.
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    /// Who it is, signed.
    #[schema(value_type = String)]
    id_token: Hidden,
    /// What was given.
    scope: String,
    /// For the next tokens, where `offline_access` was asked for; until the person signs out of the house.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    refresh_token: Option<Hidden>,
}

/// Exchanges a code or a refresh token for tokens.
#[utoipa::path(post, path = "/oidc/token", operation_id = "oidc_token", tag = "oidc", security((), ("client" = [])),
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Tokens", body = TokenResponse),
        (status = 400, description = "Refused (RFC 6749, 5.2)", body = OidcProblem),
        (status = 401, description = "The client did not prove itself", body = OidcProblem)))]
pub(crate) async fn token(
    State(api): State<Api>,
    Extension(request): Extension<RequestId>,
    _: Params<NoParams>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Answer<Response> {
    let at = issuer(&api)?.clone();
    let (params, shown) = match read(&headers, &body) {
        Ok(read) => read,
        Err(why) => return Ok(refusal(StatusCode::BAD_REQUEST, why)),
    };
    let now = api.clock.now();
    let Some((id, secret)) = shown else { return Ok(unproved()) };
    let vault = api.vault.clone();
    let decide = move |view: &dyn View| {
        let nothing = |why| (Txn::new(Actor::System, "nothing", ""), Err(why));
        let Some(client) = find_client(view, &id)? else { return Ok(nothing(OidcError::client())) };
        let proved = vault.is_client_secret(view, &client.env, &client.release.spec, secret.expose());
        if !proved.map_err(Failure::internal)? {
            return Ok(nothing(OidcError::client()));
        }
        Ok(match refused(exchange(view, &client, &params, &request.0, now))? {
            Ok(done) => (done.txn, done.answer.map(|tokens| (client, tokens))),
            Err(why) => nothing(why),
        })
    };
    let answer: Result<(Client, Tokens), OidcError> = commit(&api, decide).await?;
    match answer {
        Ok((client, tokens)) => {
            let claims = TokenClaims::of(at.as_str(), &client, &tokens, now);
            let id_token = Hidden::new(api.signer.sign(&claims).await?);
            Ok(unkept((StatusCode::OK, Json(response(tokens, id_token))).into_response()))
        }
        Err(why) if why == OidcError::client() => Ok(unproved()),
        Err(why) => Ok(refusal(StatusCode::BAD_REQUEST, why)),
    }
}

fn response(tokens: Tokens, id_token: Hidden) -> TokenResponse {
    TokenResponse {
        access_token: tokens.access,
        token_type: "Bearer",
        expires_in: freehold_identity::oidc::TOKEN.as_secs(),
        id_token,
        scope: tokens.scopes.join(" "),
        refresh_token: tokens.refresh,
    }
}

type Read = (OidcParams, Option<(String, Hidden)>);

/// The form, and which client it shows to be, by one way or the other.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<Read, OidcError> {
    let wrong = |what: &str| OidcError::new("invalid_request", what);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(wrong("The body is a form: application/x-www-form-urlencoded."));
    }
    let params = OidcParams::read(body)?;
    params.once(&[
        "grant_type",
        "code",
        "redirect_uri",
        "code_verifier",
        "refresh_token",
        "scope",
        "client_id",
        "client_secret",
    ])?;
    let posted = params.get("client_id").zip(params.get("client_secret"));
    let posted = posted.map(|(id, secret)| (id.to_owned(), Hidden::new(secret.to_owned())));
    let basic = basic(headers)?;
    match (basic, posted) {
        (Some(_), Some(_)) => Err(wrong("The client proves itself once: by Basic or in the body.")),
        (Some((id, _)), None) if params.get("client_id").is_some_and(|other| other != id) => {
            Err(wrong("client_id is another than that of Basic."))
        }
        (basic, posted) => Ok((params, basic.or(posted))),
    }
}

/// Each half is encoded as in a form (RFC 6749, 2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<(String, Hidden)>, OidcError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let wrong =
        || OidcError::new("invalid_request", "The header Authorization is not `Basic` as RFC 6749 has it.");
    let text = value.to_str().map_err(|_| wrong())?;
    let (scheme, rest) = text.split_once(' ').ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(wrong());
    }
    let decoded = STANDARD.decode(rest.trim()).map_err(|_| wrong())?;
    let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
    let (id, secret) = decoded.split_once(':').ok_or_else(wrong)?;
    // Decoded as a form's only value.
    let plain = |text: &str| {
        let escaped = text.replace('&', "%26").replace('=', "%3D");
        let pair = format!("x={escaped}");
        let value = form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
        value.unwrap_or_default()
    };
    Ok(Some((plain(id), Hidden::new(plain(secret)))))
}

/// 401, with a challenge for who tried Basic (RFC 6749, 5.2).
fn unproved() -> Response {
    let mut response = refusal(StatusCode::UNAUTHORIZED, OidcError::client());
    let challenge = HeaderValue::from_static("Basic realm=\"freehold\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}
