//! The address at the other end of a connection, which whoever serves the router puts into each request's
//! extensions. Without one, all callers count as one.

use axum::{extract::FromRequestParts, http::request::Parts};
use std::{convert::Infallible, net::IpAddr};

/// From where a request comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<ClientAddress>().copied().unwrap_or_default())
    }
}
