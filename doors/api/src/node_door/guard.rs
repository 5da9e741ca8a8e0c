//! The guard before every node route: whose certificate it is, and whether both sides understand each other.

use super::{Door, TABLE};
use crate::error::Failure;
use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use freehold_agent::remote::protocol::{HEADER, VERSION, is_spoken};
use freehold_identity::{Access, Action, ControlPeer, Peer, decide_peer};
use freehold_model::{Code, NodeId, Problem};

/// Lets a request through, or answers why not.
pub(super) async fn guard(State(door): State<Door>, request: Request, next: Next) -> Response {
    let mut response = match admit(&door, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => Failure(problem).into_response(),
    };
    response.headers_mut().insert(HeaderName::from_static(HEADER), HeaderValue::from(VERSION));
    response
}

fn admit(door: &Door, request: &Request) -> Result<(), Problem> {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let row = TABLE.iter().find(|row| Some(row.1) == matched && row.0 == *request.method());
    let peer = request.extensions().get::<Peer>();
    let Some((_, _, action)) = row else {
        // Nobody without a certificate learns which routes there are.
        return Err(if peer.is_some() { no_route() } else { no_certificate() });
    };
    if *action == Action::ActAsControl && request.extensions().get::<ControlPeer>().is_some() {
        return ready(door).and_then(|()| understood(request.headers()));
    }
    match decide_peer(peer, *action) {
        Access::Granted => {}
        Access::NotSignedIn => return Err(no_certificate()),
        Access::Hidden | Access::NotAllowed => {
            return Err(Problem::new(Code::NotAllowed, format!("This machine may not {action}.")));
        }
    }
    ready(door).and_then(|()| understood(request.headers()))
}

fn ready(door: &Door) -> Result<(), Problem> {
    match *door.ready.borrow() {
        true => Ok(()),
        false => Err(Problem::new(Code::Unavailable, "The server is starting or stopping.")),
    }
}

fn understood(headers: &HeaderMap) -> Result<(), Problem> {
    let said = headers.get(HEADER).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    match said {
        Some(version) if is_spoken(version) => Ok(()),
        other => {
            let other = other.map_or("no version".into(), |version| format!("version {version}"));
            let title = format!(
                "The node speaks {other} of the node protocol, this control plane version {VERSION}."
            );
            let hint =
                "Versions that differ by one work together: update the older side, one version at a time.";
            Err(Problem::new(Code::Invalid, title).detail(format!("header {HEADER}")).hint(hint))
        }
    }
}

fn no_certificate() -> Problem {
    Problem::new(Code::NotSignedIn, "This needs a node's certificate.")
        .hint("`freehold node join` enrols a machine and gives it one.")
}

fn no_route() -> Problem {
    Problem::new(Code::NotFound, "There is no such route for nodes.")
        .hint("Is the node's Freehold newer than the control plane's? Update the control plane first.")
}

/// Another control plane asks.
pub(super) struct Fellow;

impl<S: Send + Sync> FromRequestParts<S> for Fellow {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let peer = parts.extensions.get::<ControlPeer>();
        peer.map(|_| Fellow).ok_or_else(|| Failure(no_certificate()))
    }
}

/// The node that asks.
pub(super) struct Caller(pub(super) NodeId);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let peer = parts.extensions.get::<Peer>();
        peer.and_then(Peer::node).map(Caller).ok_or_else(|| Failure(no_certificate()))
    }
}
