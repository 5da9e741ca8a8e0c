//! A browser's session: the cookie that holds it, how it is set and taken back.
//!
//! Invariant: scripts cannot read it, other sites' forms do not carry it, and what came by TLS goes by TLS alone.

use crate::state::ApiState;
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, header::SET_COOKIE},
    middleware::Next,
    response::Response,
};
use freehold_identity::{Opened, SESSION};

/// The cookie that holds a session.
pub(crate) const SESSION_COOKIE: &str = "freehold_session";

/// The header that begins a session in a browser.
pub(crate) fn begin(opened: &Opened, headers: &HeaderMap) -> Option<HeaderValue> {
    set(headers, SESSION_COOKIE, opened.secret.expose(), "Lax", SESSION.as_secs())
}

/// The header that ends it.
pub(crate) fn end() -> HeaderValue {
    HeaderValue::from_static("freehold_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
}

/// The header that sets a cookie that no script reads.
pub(crate) fn set(
    headers: &HeaderMap,
    name: &str,
    value: &str,
    same_site: &str,
    seconds: i64,
) -> Option<HeaderValue> {
    let secure = if by_tls(headers) { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}");
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What stands before the names of our cookies behind TLS: a browser takes such a one from this very host alone, over
/// TLS, so neither another site of the same domain nor somebody on a plain connection can plant it (RFC 6265bis,
/// 4.1.3.2). On plain http, as on the machine itself, browsers would refuse it, and names are plain.
const HOST_ONLY: &str = "__Host-";

/// Gives every cookie that an answer sets behind TLS its host's own name: also those that are taken back.
pub(crate) async fn host_only(request: Request, next: Next) -> Response {
    let tls = by_tls(request.headers());
    let mut response = next.run(request).await;
    if tls && response.headers().contains_key(SET_COOKIE) {
        let all: Vec<HeaderValue> = response.headers().get_all(SET_COOKIE).iter().filter_map(bound).collect();
        response.headers_mut().remove(SET_COOKIE);
        all.into_iter().for_each(|set| {
            response.headers_mut().append(SET_COOKIE, set);
        });
    }
    response
}

fn bound(set: &HeaderValue) -> Option<HeaderValue> {
    let text = set.to_str().ok()?;
    let secure = if text.contains("; Secure") { "" } else { "; Secure" };
    let mut bound = HeaderValue::from_str(&format!("{HOST_ONLY}{text}{secure}")).ok()?;
    bound.set_sensitive(true);
    Some(bound)
}

/// The only cookie of that name: another site of the same domain can plant a second one, and then none counts.
pub(crate) fn cookie(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let wanted = if by_tls(headers) { format!("{HOST_ONLY}{wanted}") } else { wanted.to_owned() };
    let texts = headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
    let mut found = texts.flat_map(|text| text.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == wanted).then(|| value.to_owned())
    });
    found.next().filter(|_| found.next().is_none())
}

/// The address by which this server is known: as it was told, or as the caller calls it.
pub(crate) fn own_url(api: &ApiState, headers: &HeaderMap) -> String {
    if let Some(url) = &api.public_url {
        return url.to_string();
    }
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let scheme = if by_tls(headers) { "https" } else { "http" };
    format!("{scheme}://{host}")
}

/// Whether whoever passed the request on got it over TLS.
fn by_tls(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https")
}
