//! The node door: what a control plane tells the agents of its nodes, and hears from them. The messages are
//! those of `freehold_agent::remote::protocol`.
//!
//! The daemon serves [`agent_router`] on a listener of its own, whose accept loop has put the
//! [`Peer`](freehold_identity::Peer) into every request. Invariants: every route is in [`TABLE`], and acts
//! for the peer's node alone; the public listener serves none of them.

mod calls;
mod desk;
mod guard;
mod hall;
mod handed;
mod images;
mod lent;
mod line;
mod reports;
mod work;

pub use desk::CallDesk;
pub use hall::NodeHall;
pub use line::{Broken, CallLine};

use crate::{extract::MAX_JSON, request};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::Method,
    middleware,
    routing::{delete, get, post},
};
use freehold_identity::Action;
use freehold_image::ImageStore;
use std::sync::Arc;
use tokio::sync::watch;

/// Everything that the node door needs from the process it runs in.
pub struct NodeDoor {
    /// What is known of nodes.
    pub hall: Arc<dyn NodeHall>,
    /// The built-in registry, from which nodes fetch.
    pub images: ImageStore,
    /// The nodes that can be called.
    pub calls: Arc<CallDesk>,
    /// Whether the server serves; turning false ends streams and waits.
    pub ready: watch::Receiver<bool>,
}

/// The state as handlers share it.
type Door = Arc<NodeDoor>;

/// Every route of the door: method, path, action.
pub(crate) const TABLE: &[(Method, &str, Action)] = &[
    (Method::GET, "/v1/node/changes", Action::ActAsNode),
    (Method::GET, "/v1/node/assignments", Action::ActAsNode),
    (Method::GET, "/v1/node/volumes", Action::ActAsNode),
    (Method::GET, "/v1/node/routing", Action::ActAsNode),
    (Method::POST, "/v1/node/instances/{id}/secrets", Action::ActAsNode),
    (Method::POST, "/v1/node/instances/{id}/status", Action::ActAsNode),
    (Method::POST, "/v1/node/volumes/{id}/status", Action::ActAsNode),
    (Method::DELETE, "/v1/node/volumes/{id}", Action::ActAsNode),
    (Method::POST, "/v1/node/endpoints", Action::ActAsNode),
    (Method::POST, "/v1/node/registration", Action::ActAsNode),
    (Method::POST, "/v1/node/report", Action::ActAsNode),
    (Method::POST, "/v1/node/heartbeat", Action::ActAsNode),
    (Method::GET, "/v1/node/calls", Action::ActAsNode),
    (Method::GET, "/v1/node/calls/{id}", Action::ActAsNode),
    (Method::GET, "/v1/node/images/{digest}", Action::ActAsNode),
    (Method::GET, "/v1/node/images/{digest}/blobs/{blob}", Action::ActAsNode),
    (Method::GET, "/v1/control/calls/{node}", Action::ActAsControl),
    (Method::GET, "/v1/control/manifests/{digest}", Action::ActAsControl),
    (Method::GET, "/v1/control/blobs/{digest}", Action::ActAsControl),
];

/// The routes for nodes.
pub fn agent_router(door: NodeDoor) -> Router {
    let door = Arc::new(door);
    Router::new()
        .route("/v1/node/changes", get(work::changes))
        .route("/v1/node/assignments", get(work::assignments))
        .route("/v1/node/volumes", get(work::volumes))
        .route("/v1/node/routing", get(work::routing))
        .route("/v1/node/instances/{id}/secrets", post(work::secrets))
        .route("/v1/node/instances/{id}/status", post(reports::instance))
        .route("/v1/node/volumes/{id}/status", post(reports::volume))
        .route("/v1/node/volumes/{id}", delete(reports::volume_gone))
        .route("/v1/node/endpoints", post(reports::endpoints))
        .route("/v1/node/registration", post(reports::registration))
        .route("/v1/node/report", post(reports::node))
        .route("/v1/node/heartbeat", post(reports::heartbeat))
        .route("/v1/node/calls", get(calls::listen))
        .route("/v1/node/calls/{id}", get(calls::answer))
        .route("/v1/node/images/{digest}", get(images::manifest))
        .route("/v1/node/images/{digest}/blobs/{blob}", get(images::blob))
        .route("/v1/control/calls/{node}", get(handed::call))
        .route("/v1/control/manifests/{digest}", get(lent::manifest))
        .route("/v1/control/blobs/{digest}", get(lent::blob))
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .with_state(door.clone())
        .layer(middleware::from_fn_with_state(door, guard::guard))
        .layer(middleware::from_fn(request::surround))
}
