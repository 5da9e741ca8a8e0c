//! The typed API client.
//!
//! One [`Client`] speaks to one server. Every method is one route of the HTTP API and answers with the
//! types of `freehold-model`; what goes wrong is a [`ClientError`], which knows its exit code.

mod access;
mod controls;
mod endpoints;
mod error;
mod exec;
mod http;
mod images;
mod logs;
mod machines;
mod nodes;
mod oidc;
mod operations;
mod quotas;
mod receipts;
mod resources;
mod retention;
mod secrets;
mod sse;
mod sso;
mod volumes;
mod watch;

pub use access::AccessQuery;
pub use endpoints::AccessLog;
pub use error::ClientError;
pub use exec::{ExecFrame, ExecInput, ExecOutput};
pub use http::Client;
pub use images::ImageDetails;
pub use logs::{LogNews, LogScope, Logs};
pub use machines::{join, keep_certified, machine_self, renew};
pub use operations::Wait;
pub use receipts::{DiffQuery, Export, ReceiptQuery};
pub use resources::{EventQuery, Health, ResourceQuery, SummaryQuery};
pub use watch::Watch;
