//! What each path answers.

use crate::{
    book::{Book, Refused},
    form,
    http::{Request, Response},
    page,
};

/// Answers `request`.
pub(crate) fn answer(request: &Request, book: &Book) -> Response {
    let method = if request.method == "HEAD" { "GET" } else { &request.method };
    match (method, request.path.as_str()) {
        ("GET", "/") => html(200, page::html(&book.messages(), &instance())),
        ("GET", "/messages") => json(book),
        ("POST", "/messages") => sign(&request.body, book),
        ("GET", "/healthz") => Response::text(200, "ok"),
        ("GET", "/whoami") => Response::text(200, instance()),
        (_, "/" | "/messages" | "/healthz" | "/whoami") => Response::text(405, "this cannot be done here"),
        _ => Response::text(404, "there is nothing here"),
    }
}

fn sign(body: &[u8], book: &Book) -> Response {
    match book.add(&form::field(body, "name"), &form::field(body, "text")) {
        // A reload of the page that follows must not sign again.
        Ok(()) => Response { location: Some("/"), ..Response::text(303, "thank you") },
        Err(Refused::Empty) => Response::text(400, "the message is empty: write something in `text`"),
        Err(Refused::TooLong) => Response::text(400, "at most 60 characters of name and 1000 of text"),
        Err(Refused::NotKept(why)) => Response::text(503, format!("the message could not be kept: {why}")),
    }
}

fn json(book: &Book) -> Response {
    match serde_json::to_string(&book.messages()) {
        Ok(body) => Response { status: 200, kind: "application/json", location: None, body },
        Err(error) => Response::text(500, error.to_string()),
    }
}

fn html(status: u16, body: String) -> Response {
    Response { status, kind: "text/html; charset=utf-8", location: None, body }
}

/// Who answers: the name that the platform gave, or the host's.
fn instance() -> String {
    std::env::var("FREEHOLD_INSTANCE")
        .ok()
        .or_else(|| nix::unistd::gethostname().ok()?.into_string().ok())
        .unwrap_or_else(|| "unknown".into())
}
