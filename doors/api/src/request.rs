//! What surrounds every request: its id, its line in the log, and a net for panics.
//!
//! Invariant: headers, bodies and query strings never reach the log; they may carry secrets.

use crate::error::Failure;
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::{IntoResponse, Response},
};
use freehold_reconcile::ports::{Ids as _, SystemIds};
use futures::FutureExt as _;
use std::{panic::AssertUnwindSafe, time::Instant};
use tracing::Instrument as _;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Joins a request with its log lines, events and receipts.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// The outermost layer.
pub(crate) async fn surround(mut request: Request, next: Next) -> Response {
    let id = given(request.headers()).unwrap_or_else(fresh);
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", %id, method = %request.method(), path = request.uri().path());
    let started = Instant::now();
    let mut response = async {
        // Handlers share nothing that a panic could leave half-changed: state changes in the store alone.
        let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = answer.unwrap_or_else(|panic| Failure::internal(message(&*panic)).into_response());
        tracing::debug!(status = response.status().as_u16(), elapsed = ?started.elapsed(), "answered");
        response
    }
    .instrument(span)
    .await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// The caller's own id, if it is short and plain enough to be repeated in logs and headers.
fn given(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
}

fn fresh() -> String {
    format!("req_{}", SystemIds.ulid().to_string().to_ascii_lowercase())
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", text.unwrap_or_else(|| "without a message".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_short_ids_are_taken_over() {
        let check = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_str(text).unwrap());
            given(&headers).is_some()
        };
        assert!(check("req-1.a_B"));
        for bad in ["", "a b", "a;b", "<x>", &"x".repeat(65)] {
            assert!(!check(bad), "{bad}");
        }
        assert_ne!(fresh(), fresh());
    }
}
