//! Passkeys in browsers: signing in with one at `/signin`, and one's own on `/account`.
//!
//! `assets/passkey.js` asks the server what to ask the browser, and sends the answer as any other form. Invariants: what
//! is not JSON for that script is a page that works without it; where the server has no host name, nothing is offered.

pub(super) mod account;
pub(super) mod signin;

use crate::{
    error::{Answer, Failure},
    state::Api,
};
use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use freehold_identity::{Asked, RelyingParty, Unfit};
use freehold_model::{Code, Problem};
use freehold_secrets::Voucher;
use serde_json::json;

/// The house as passkeys know it, and what vouches for what it asks.
fn tools(api: &Api) -> Answer<(RelyingParty, Voucher)> {
    let party = RelyingParty::new(api.public_url.as_ref()).map_err(|why| unfit(&why))?;
    Ok((party, api.vault.voucher("passkey")))
}

/// Why there are none here, and what to do.
fn unfit(why: &Unfit) -> Problem {
    let title = "Passkeys need a host name, and this server has none that browsers trust.";
    Problem::new(Code::Conflict, title).detail(why.to_string()).hint(
        "Start it with `--public-url https://home.example` (or `FREEHOLD_PUBLIC_URL`), the address by which browsers \
         reach it over TLS. On the machine itself `http://localhost:7117` will do too.",
    )
}

/// What the script is answered: it shows a problem where it stands.
fn to_script(asked: Answer<Asked>) -> Response {
    let no_store = [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    match asked {
        Ok(Asked { options, ticket }) => {
            (no_store, Json(json!({ "publicKey": options["publicKey"], "ticket": ticket }))).into_response()
        }
        Err(Failure(problem)) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, no_store, Json(problem)).into_response()
        }
    }
}
