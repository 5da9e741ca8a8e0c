//! What a drill found: the proof, made from inside, that what should be closed is closed.

use crate::{InstanceId, Name};
use serde::{Deserialize, Serialize};

/// Where instances can connect to, tried from inside each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EgressDrill {
    /// Whether everything is as the manifest says.
    pub ok: bool,
    /// What was tried, instance by instance.
    pub tries: Vec<EgressTry>,
}

/// One thing that was tried from inside one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EgressTry {
    /// From where.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// Its process.
    pub process: Name,
    /// What was tried: `198.51.100.7:443`, `name example.com`.
    pub target: String,
    /// What that is: `an address outside`, `the node's API`.
    pub what: String,
    /// How it should be.
    pub expected: Way,
    /// How it is.
    pub found: Way,
    /// Whether that is as it should be; what could not be found out is not held against it.
    pub ok: bool,
    /// How that showed.
    pub detail: String,
}

/// Whether a way is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// One can connect.
    Open,
    /// One cannot.
    Closed,
    /// It could not be found out.
    Unknown,
}
