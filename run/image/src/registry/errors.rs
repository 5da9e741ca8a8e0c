//! The errors of the distribution spec (1.1, "Error Codes"): a code, a status, a message.

use crate::ImageError;
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use freehold_model::Digest;
use serde_json::json;

/// What a client of the registry is told.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Fault {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Fault {
        Fault { status, code, message: message.into() }
    }

    pub(super) fn not_found(path: &str) -> Fault {
        Fault::new(StatusCode::NOT_FOUND, "UNSUPPORTED", format!("a registry has nothing at {path}"))
    }

    pub(super) fn method(what: &str) -> Fault {
        Fault::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", format!("not supported: {what}"))
    }

    pub(super) fn name(name: &str) -> Fault {
        Fault::new(
            StatusCode::BAD_REQUEST,
            "NAME_INVALID",
            format!("`{name}` is not the name of a repository"),
        )
    }

    pub(super) fn name_unknown(name: &str) -> Fault {
        Fault::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", format!("there is no repository `{name}`"))
    }

    pub(super) fn digest(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(super) fn manifest_unknown(name: &str, reference: &str) -> Fault {
        Fault::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", format!("`{name}` has no manifest {reference}"))
    }

    /// Not 406: clients of registries know "none of that kind" as this, from the reference registry.
    pub(super) fn not_acceptable(reference: &str, media_type: &str) -> Fault {
        let message =
            format!("{reference} is a {media_type}, which the Accept header of the request does not name");
        Fault::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    }

    pub(super) fn manifest_invalid(status: StatusCode, message: impl Into<String>) -> Fault {
        Fault::new(status, "MANIFEST_INVALID", message)
    }

    pub(super) fn manifest_blob_unknown(digest: &str) -> Fault {
        let message = format!("{digest} is named by the manifest but was not pushed before it");
        Fault::new(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", message)
    }

    pub(super) fn blob_unknown(digest: &Digest) -> Fault {
        Fault::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("there is no blob {digest}"))
    }

    pub(super) fn range(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message)
    }

    pub(super) fn upload_unknown(id: &str) -> Fault {
        Fault::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", format!("there is no upload {id}"))
    }

    pub(super) fn upload_invalid(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
    }

    pub(super) fn too_many_uploads(limit: usize) -> Fault {
        let message = format!("{limit} uploads are open: end or cancel some, or try again later");
        Fault::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message)
    }

    pub(super) fn query(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", message)
    }
}

impl From<ImageError> for Fault {
    fn from(error: ImageError) -> Fault {
        match &error {
            ImageError::Digest { .. } => Fault::digest(error.to_string()),
            ImageError::Manifest { .. } => {
                Fault::manifest_invalid(StatusCode::BAD_REQUEST, error.to_string())
            }
            full if full.is_disk_full() => {
                tracing::error!(error = %full, "registry: the disk is full");
                Fault::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "UNKNOWN",
                    "the registry's disk is full: make room on the server, then push again",
                )
            }
            _ => {
                tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "registry");
                // Paths of this machine are not for clients.
                Fault::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "UNKNOWN",
                    "the registry's disk failed; see its log",
                )
            }
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = json!({"errors": [{"code": self.code, "message": self.message, "detail": null}]});
        (self.status, Json(body)).into_response()
    }
}
