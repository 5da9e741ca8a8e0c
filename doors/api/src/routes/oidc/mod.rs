//! The house as an OpenID provider for the apps it runs. What is decided is in `freehold_identity::oidc`; here
//! requests are read and answered in the protocol's own words.
//!
//! Invariant: whatever a stranger sends is answered by a refusal of the protocol, which repeats nothing of it.

pub(crate) mod clients;
pub(crate) mod discovery;
pub(crate) mod token;
pub(crate) mod userinfo;

use crate::{error::Failure, state::Api};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use freehold_identity::oidc::{OidcError, SignError, Undecided};
use freehold_model::{Code, Problem, PublicUrl};
use serde::Serialize;
use utoipa::ToSchema;

/// A refusal in the protocol's words (RFC 6749, 5.2).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OidcProblem {
    /// One of the protocol's words.
    error: &'static str,
    /// For whoever writes the app.
    error_description: String,
}

/// A refusal, never kept by anything in between.
pub(crate) fn refusal(status: StatusCode, why: OidcError) -> Response {
    let body = OidcProblem { error: why.code, error_description: why.description };
    unkept((status, Json(body)).into_response())
}

/// `response`, which nothing in between may keep (RFC 6749, 5.1).
pub(crate) fn unkept(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The address by which apps and browsers know this house.
///
/// # Errors
/// When nobody has said it.
pub(crate) fn issuer(api: &Api) -> Result<&PublicUrl, Failure> {
    api.public_url.as_ref().ok_or_else(|| no_public_url().into())
}

/// People cannot be sent to a house that does not know its own address.
pub(crate) fn no_public_url() -> Problem {
    Problem::new(Code::Invalid, "This server does not know the address by which browsers reach it.")
        .hint("Start it with --public-url, as in `freehold up --public-url https://home.example`.")
}

/// What the protocol refuses, apart from what failed.
pub(crate) fn refused<T>(decided: Result<T, Undecided>) -> Result<Result<T, OidcError>, Failure> {
    match decided {
        Ok(decided) => Ok(Ok(decided)),
        Err(Undecided::Refused(why)) => Ok(Err(why)),
        Err(Undecided::Store(error)) => Err(error.into()),
    }
}

impl From<SignError> for Failure {
    fn from(error: SignError) -> Failure {
        match error {
            SignError::Store(error) => error.into(),
            SignError::Commit(error) => error.into(),
            other => Failure::internal(other),
        }
    }
}
