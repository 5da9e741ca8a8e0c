//! Extractors whose refusals are problems that name the place and the way out: [`Json`], [`Id`], [`Within`].

use crate::error::Failure;
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use freehold_model::{Code, Problem};
use serde::de::DeserializeOwned;
use std::{fmt::Display, str::FromStr, time::Duration};

/// The largest JSON body that is read. A manifest is at most 1 MiB, and JSON escapes make it longer.
pub(crate) const MAX_JSON: usize = 2 << 20;

/// How long a body that is read as a whole may take: whoever opens a connection and sends no more would keep
/// its place from others.
const BODY: Duration = Duration::from_secs(30);

/// What `read` gives, if it comes in time.
///
/// # Errors
/// 408; hyper closes the connection, since the rest of the body was not read.
pub(crate) async fn in_time<T>(read: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(BODY, read).await.map_err(|_| {
        let title = format!("The request's body did not come within {} s.", BODY.as_secs());
        let mut problem = Problem::new(Code::Timeout, title).hint("Send it at once.");
        problem.status = StatusCode::REQUEST_TIMEOUT.as_u16();
        problem.into()
    })
}

/// A body of any type, whole.
pub(crate) struct Whole(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = in_time(Bytes::from_request(request, state)).await?;
        bytes.map(Whole).map_err(|refusal| match refusal.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => invalid("The request's body ended too early.", refusal.body_text()),
        })
    }
}

/// A body of type `T`.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        require_json(request.headers())?;
        let Whole(bytes) = Whole::from_request(request, state).await?;
        parse(&bytes).map(Json)
    }
}

/// A body of type `T` that holds a secret: what is wrong with it is said by its place alone, because a
/// value in the wrong place would be repeated.
pub(crate) struct HiddenJson<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for HiddenJson<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        Json::from_request(request, state).await.map(|Json(value)| HiddenJson(value)).map_err(
            |mut failure| {
                // `path: message`: the message may quote what was sent, the path names only what is expected.
                if let Some(detail) = failure.0.detail.take() {
                    let known =
                        |(place, message): &(&str, &str)| is_path(place) && !message.starts_with("unknown");
                    let place = detail.split_once(": ").filter(known);
                    failure.0.detail = place.map(|(place, _)| format!("{place}: is not as expected"));
                }
                failure
            },
        )
    }
}

/// Whether `text` can be one of our own fields.
fn is_path(text: &str) -> bool {
    text.len() <= 32 && text.bytes().all(|c| c.is_ascii_lowercase() || c == b'_')
}

/// Only JSON is read, and it must say so: a form that a foreign web page sends cannot.
fn require_json(headers: &HeaderMap) -> Result<(), Failure> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let given = if given.is_empty() { "nothing" } else { given };
    let problem = Problem::new(Code::Invalid, "The request's body is not said to be JSON.")
        .detail(format!("content-type: {}", excerpt(given)))
        .hint("Send the header `content-type: application/json`.");
    Err(problem.into())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    // serde takes a list for an object's fields in their order, and an empty one for their defaults.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(invalid("The request's body is not as expected.", "it is a list, not an object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!("{path}: ") };
        invalid("The request's body is not as expected.", format!("{place}{}", error.inner()))
    })?;
    json.end().map_err(|error| invalid("The request's body goes on after its end.", error))?;
    Ok(value)
}

fn invalid(title: &str, detail: impl Display) -> Failure {
    let hint = "GET /openapi.json describes every request.";
    Problem::new(Code::Invalid, title).detail(detail.to_string()).hint(hint).into()
}

fn too_large() -> Failure {
    let limit = MAX_JSON >> 20;
    Problem::new(Code::TooLarge, format!("The request's body is larger than {limit} MiB."))
        .hint("A manifest may have 1 MiB; put large contents into an image.")
        .into()
}

/// The `{id}` of the path.
pub(crate) struct Id<T>(pub(crate) T);

impl<S: Send + Sync, T: FromStr<Err: Display>> FromRequestParts<S> for Id<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = text.map_err(|refusal| no_id(refusal.body_text()))?;
        text.parse().map(Id).map_err(|error: T::Err| no_id(error.to_string()).into())
    }
}

/// The `{id}` of the path, and the name of something of it that follows.
pub(crate) struct Within<T>(pub(crate) T, pub(crate) String);

impl<S: Send + Sync, T: FromStr<Err: Display>> FromRequestParts<S> for Within<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let texts = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((id, name)) = texts.map_err(|refusal| no_id(refusal.body_text()))?;
        let id = id.parse().map_err(|error: T::Err| no_id(error.to_string()))?;
        Ok(Within(id, name))
    }
}

fn no_id(what: String) -> Problem {
    Problem::new(Code::Invalid, "The path has no proper id.")
        .detail(format!("id: {what}"))
        .hint("GET /v1/resources?kind=… lists resources with their ids.")
}

/// At most so much of what a caller sent is repeated.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}
