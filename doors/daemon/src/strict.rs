//! Refuses requests over whose length or destination two servers in a row could disagree (RFC 9112, 3.2, 6.1
//! and 11.2): what one takes for a body, the other could take for the next request of somebody else.
//!
//! Stands before everything that [`crate::serve`] serves. hyper refuses what cannot be read at all: folded
//! lines, zero bytes, lengths that differ. Invariant: after a refusal nothing more is read of the connection.

use axum::{
    Json,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, Version, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use freehold_model::{Code, Problem};

/// Lets a request through that everybody reads alike.
pub(crate) async fn strict(request: Request, next: Next) -> Response {
    match wrong(&request) {
        None => next.run(request).await,
        Some(what) => refuse(what),
    }
}

fn wrong(request: &Request) -> Option<&'static str> {
    let headers = request.headers();
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    if lengths > 1 || headers.get(header::CONTENT_LENGTH).is_some_and(|it| !is_number(it)) {
        return Some("It says more than once how long it is, or not as a number.");
    }
    if chunked && lengths > 0 {
        return Some("It has both a content-length and a transfer-encoding.");
    }
    if chunked && (request.version() < Version::HTTP_11 || !is_chunked(headers)) {
        return Some("Its transfer-encoding is not `chunked` alone, or it is of HTTP/1.0.");
    }
    wrong_host(request)
}

fn is_number(value: &HeaderValue) -> bool {
    !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit)
}

fn is_chunked(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(header::TRANSFER_ENCODING).iter();
    all.next().is_some_and(|one| one.as_bytes().eq_ignore_ascii_case(b"chunked")) && all.next().is_none()
}

/// One host, and the same in the target where that names one.
fn wrong_host(request: &Request) -> Option<&'static str> {
    let mut all = request.headers().get_all(header::HOST).iter();
    let host = match (all.next(), all.next()) {
        (Some(one), None) => one.to_str().ok(),
        (None, _) if request.version() < Version::HTTP_11 => return None,
        _ => return Some("It names no host, or more than one."),
    };
    let parsed = host.and_then(|host| host.parse::<Authority>().ok());
    let Some(host) = parsed.filter(|host| !host.as_str().contains('@')) else {
        return Some("Its host is not `name` or `name:port`.");
    };
    match request.uri().authority() {
        Some(target) if *target != host => Some("Its target and its host differ."),
        _ => None,
    }
}

fn refuse(what: &str) -> Response {
    let mut problem = Problem::new(Code::Invalid, "The request can be read in more than one way.");
    problem.status = StatusCode::BAD_REQUEST.as_u16();
    let problem = problem.detail(what).hint("Send it as RFC 9112 has it; the connection is closed.");
    let kind = (header::CONTENT_TYPE, "application/problem+json");
    (StatusCode::BAD_REQUEST, [kind, (header::CONNECTION, "close")], Json(problem)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn check(uri: &str, version: Version, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().uri(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        wrong(&request.body(Body::empty()).unwrap()).is_none()
    }

    #[test]
    fn only_what_everybody_reads_alike_is_let_through() {
        let host = ("host", "h:7117");
        let new = Version::HTTP_11;
        for good in [
            &[host][..],
            &[host, ("content-length", "5")],
            &[host, ("transfer-encoding", "chunked")],
            &[("host", "[::1]:7117")],
        ] {
            assert!(check("/", new, good), "{good:?}");
        }
        for bad in [
            &[][..],
            &[host, host],
            &[("host", "a b")],
            &[("host", "me@h")],
            &[("host", "")],
            &[host, ("content-length", "5"), ("content-length", "5")],
            &[host, ("content-length", "+5")],
            &[host, ("content-length", "5, 5")],
            &[host, ("content-length", "5"), ("transfer-encoding", "chunked")],
            &[host, ("transfer-encoding", "gzip, chunked")],
            &[host, ("transfer-encoding", "chunked"), ("transfer-encoding", "identity")],
            &[host, ("transfer-encoding", "xchunked")],
        ] {
            assert!(!check("/", new, bad), "{bad:?}");
        }
        assert!(check("/", Version::HTTP_10, &[]));
        assert!(!check("/", Version::HTTP_10, &[("transfer-encoding", "chunked")]));
        assert!(check("http://h:7117/v1", new, &[host]) && !check("http://other/v1", new, &[host]));
    }
}
