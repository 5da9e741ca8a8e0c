//! Pages for browsers: HTML made on the server, one [`layout`], no framework, nothing from elsewhere.
//!
//! Each page has a row in [`crate::access::PAGES`] and passes [`guard`], which knows who it is by the session's
//! cookie and lets no form through without its csrf token. What pages do, the API does too, by the same code.

mod account;
mod assets;
mod device;
pub(crate) mod form;
pub(crate) mod guard;
mod invite;
pub(crate) mod layout;
pub(crate) mod local;
mod oidc;
mod passkey;
mod second_factor;
mod signin;
mod sso;
mod sure;

use crate::state::Api;
use axum::{
    Router,
    routing::{get, post},
};

/// Every page.
pub(crate) fn router() -> Router<Api> {
    Router::new()
        .route("/", get(account::home))
        .route("/assets/{file}", get(assets::file))
        .route("/signin", get(signin::show).post(signin::sign_in))
        .route("/signin/code", get(second_factor::ask_code).post(second_factor::take_code))
        .route("/signin/passkey", post(passkey::signin::sign_in))
        .route("/signin/passkey/options", post(passkey::signin::options))
        .route("/invite", get(invite::show).post(invite::accept))
        .route("/signin/with/{name}", post(sso::sign_in))
        .route("/signin/with/{name}/callback", get(sso::callback))
        .route("/invite/with/{name}", post(sso::take_invite))
        .route("/account/providers", post(sso::change))
        .route("/signout", post(signin::sign_out))
        .route("/device", get(device::show).post(device::answer))
        .route("/account", get(account::show))
        .route("/account/sessions", post(account::end_session))
        .route("/oidc/authorize", get(oidc::authorize::show).post(oidc::authorize::answer))
        .route("/oidc/logout", get(oidc::logout::show).post(oidc::logout::answer))
        .route("/account/second-factor", post(second_factor::change))
        .route("/account/passkeys", post(passkey::account::change))
        .route("/account/passkeys/options", post(passkey::account::options))
}
