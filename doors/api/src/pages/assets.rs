//! The few files that pages load: a style sheet, an icon, scripts. Part of the program; their addresses carry
//! their hash, so that browsers may keep them.

use crate::{error::Answer, extract::excerpt};
use axum::{
    extract::Path,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use freehold_model::{Code, Digest, Problem};
use std::sync::LazyLock;

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const ASSETS: &[Asset] = &[
    Asset { name: "page.css", kind: "text/css; charset=utf-8", text: include_str!("assets/page.css") },
    Asset { name: "icon.svg", kind: "image/svg+xml", text: include_str!("assets/icon.svg") },
    Asset {
        name: "invite.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("assets/invite.js"),
    },
    Asset {
        name: "passkey.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("assets/passkey.js"),
    },
];

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all: String = ASSETS.iter().map(|asset| asset.text).collect();
    Digest::of(all.as_bytes()).to_string().chars().rev().take(12).collect()
});

/// The address of a file.
pub(crate) fn path(name: &str) -> String {
    format!("/assets/{name}?v={}", *VERSION)
}

/// Answers with a file.
pub(crate) async fn file(Path(name): Path<String>) -> Answer<Response> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(|| {
        let title = format!("There is no file `{}`.", excerpt(&name));
        Problem::new(Code::NotFound, title).hint("Load the page again that asked for it.")
    })?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, asset.text).into_response())
}
