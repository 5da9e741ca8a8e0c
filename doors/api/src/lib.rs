//! The HTTP contract and its handlers; emits OpenAPI.
//!
//! The daemon serves [`router`]; everything it needs of the process is in [`ApiState`]. Every request
//! passes [`request`] (id, log line, panics) and then [`auth`] (who, and may they) before its handler.

mod access;
mod auth;
mod browser;
mod client_address;
mod commit;
mod controls;
mod describe;
mod error;
mod extract;
mod idempotency;
mod known;
mod limit;
mod merge;
mod node_door;
mod openapi;
mod pages;
mod params;
mod planning;
mod port;
mod reason;
mod redact;
mod request;
mod routes;
mod scope;
mod signing;
mod state;
mod stranger;
mod streams;
mod tail;
mod veil;
mod who;
mod withheld;

pub use client_address::ClientAddress;
pub use controls::Controls;
pub use known::Known;
pub use merge::Merge;
pub use node_door::{Broken, CallDesk, CallLine, NodeDoor, NodeHall, agent_router};
pub use port::{AccessLines, ClosedPort, EdgePort, LogLines, LogSelection, LogTrail, NodePort};
pub use state::ApiState;
pub use stranger::{ConnectionPlace, Stranger};
pub use streams::Streams;
pub use tail::Tail;

use axum::{Router, extract::DefaultBodyLimit, middleware};
use state::Api;
use std::sync::Arc;
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Everything that people are served: the API, pages for browsers, and the registry under `/v2`.
pub fn router(state: impl Into<Arc<ApiState>>) -> Router {
    let api = state.into();
    let (router, _) = documented().split_for_parts();
    // Layers of an image are as large as they are: the registry streams them to disk.
    let registry = api.images.router().layer(DefaultBodyLimit::disable());
    router
        .merge(pages::router())
        .layer(DefaultBodyLimit::max(extract::MAX_JSON))
        .with_state(api.clone())
        .merge(registry)
        .layer(middleware::from_fn_with_state(api, auth::guard))
        .layer(middleware::from_fn(browser::host_only))
        .layer(middleware::from_fn(request::surround))
}

/// Everything that machines are served, over TLS: none of it is in [`router`], and the other way round. Whoever
/// serves it puts a [`Peer`](freehold_identity::Peer) into the extensions of requests from a node.
pub fn node_router(state: impl Into<Arc<ApiState>>) -> Router {
    let api = state.into();
    let (router, _) = documented_for_nodes().split_for_parts();
    router
        .layer(DefaultBodyLimit::max(extract::MAX_JSON))
        .with_state(api.clone())
        .layer(middleware::from_fn_with_state(api, auth::guard_machine))
        .layer(middleware::from_fn(request::surround))
}

/// The OpenAPI document of [`router`] and [`node_router`].
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, mut document) = documented().merge(documented_for_nodes()).split_for_parts();
    openapi::add_problems(&mut document);
    openapi::add_access(&mut document);
    document
}

fn documented() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::Frame::openapi())
        .routes(routes!(routes::health::healthz))
        .routes(routes!(routes::health::openapi))
        .routes(routes!(routes::resources::list))
        .routes(routes!(routes::resources::get))
        .routes(routes!(routes::resources::description))
        .routes(routes!(routes::events::list))
        .routes(routes!(routes::events::watch))
        .routes(routes!(routes::retention::show, routes::retention::set, routes::retention::end))
        .routes(routes!(routes::operations::plan))
        .routes(routes!(routes::operations::apply))
        .routes(routes!(routes::receipt_list::list))
        .routes(routes!(routes::receipt_list::export))
        .routes(routes!(routes::receipts::get))
        .routes(routes!(routes::diffs::get))
        .routes(routes!(routes::receipts::cancel))
        .routes(routes!(routes::summaries::list))
        .routes(routes!(routes::logs::read))
        .routes(routes!(routes::endpoints::traffic))
        .routes(routes!(routes::endpoints::access))
        .routes(routes!(routes::exec::exec))
        .routes(routes!(routes::images::list, routes::images::remove))
        .routes(routes!(routes::images::inspect))
        .routes(routes!(routes::images::pull))
        .routes(routes!(routes::images::collect))
        .routes(routes!(routes::nodes::change))
        .routes(routes!(routes::nodes::drain))
        .routes(routes!(routes::nodes::remove))
        .routes(routes!(routes::volumes::create))
        .routes(routes!(routes::volumes::delete))
        .routes(routes!(routes::volumes::task))
        .routes(routes!(routes::volumes::cancel))
        .routes(routes!(routes::volumes::recreate))
        .routes(routes!(routes::secrets::list, routes::secrets::set))
        .routes(routes!(routes::secrets::remove))
        .routes(routes!(routes::secrets::key))
        .routes(routes!(routes::secrets::rotate_key))
        .routes(routes!(routes::join_tokens::list, routes::join_tokens::create))
        .routes(routes!(routes::join_tokens::revoke))
        .routes(routes!(routes::join_tokens::revoke_node))
        .routes(routes!(routes::join_tokens::revoke_machine))
        .routes(routes!(routes::join_tokens::remove_machine))
        .routes(routes!(routes::whoami::whoami))
        .routes(routes!(routes::whoami::explain))
        .routes(routes!(routes::tenancy::create_org))
        .routes(routes!(routes::tenancy::require_second_factor))
        .routes(routes!(routes::tenancy::create_project))
        .routes(routes!(routes::quotas::list))
        .routes(routes!(routes::quotas::set))
        .routes(routes!(routes::tokens::list, routes::tokens::create))
        .routes(routes!(routes::tokens::revoke))
        .routes(routes!(routes::authority::summary))
        .routes(routes!(routes::authority::rotate))
        .routes(routes!(routes::users::list, routes::users::create))
        .routes(routes!(routes::users::delete))
        .routes(routes!(routes::users::invite))
        .routes(routes!(routes::users::unlock))
        .routes(routes!(routes::users::reset_second_factor))
        .routes(routes!(routes::passkeys::list))
        .routes(routes!(routes::passkeys::remove))
        .routes(routes!(routes::users::set_role))
        .routes(routes!(routes::sessions::sign_in, routes::sessions::current, routes::sessions::sign_out))
        .routes(routes!(routes::sessions::accept))
        .routes(routes!(routes::device::ask))
        .routes(routes!(routes::device::poll))
        .routes(routes!(routes::sessions::list))
        .routes(routes!(routes::sessions::revoke))
        .routes(routes!(routes::oidc::discovery::configuration))
        .routes(routes!(routes::oidc::discovery::jwks))
        .routes(routes!(routes::oidc::token::token))
        .routes(routes!(routes::oidc::userinfo::get, routes::oidc::userinfo::post))
        .routes(routes!(routes::oidc::clients::list))
        .routes(routes!(routes::oidc::clients::keys, routes::oidc::clients::rotate))
        .routes(routes!(routes::sso::list))
        .routes(routes!(routes::sso::get, routes::sso::set, routes::sso::remove))
        .routes(routes!(routes::sso::check))
        .routes(routes!(routes::doctor::doctor))
        .routes(routes!(routes::controls::list))
        .routes(routes!(routes::controls::tasks))
        .routes(routes!(routes::drills::egress))
}

/// What the node door serves.
fn documented_for_nodes() -> OpenApiRouter<Api> {
    let joining = OpenApiRouter::new()
        .routes(routes!(routes::join::join))
        .routes(routes!(routes::join::rejoin))
        .layer(DefaultBodyLimit::max(routes::join::MAX_BODY));
    OpenApiRouter::new()
        .merge(joining)
        .routes(routes!(routes::join::advice, routes::join::renew))
        .routes(routes!(routes::join::whoami))
}
