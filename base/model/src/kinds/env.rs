//! An env: one running copy of an app (`prod`, `staging`). Its parent is an app.

use super::kind;
use crate::{Resource, id::ReleaseId};
use serde::{Deserialize, Serialize};

/// An env.
pub type Env = Resource<EnvSpec>;

/// Wanted of an env.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct EnvSpec {
    /// The release that last rolled out successfully: what must run when no rollout is active.
    #[schema(value_type = Option<String>)]
    pub release: Option<ReleaseId>,
    /// The number of the newest release, to number the next one.
    pub last_number: u32,
}

/// Observed of an env.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct EnvStatus {}

kind!(EnvSpec, EnvStatus, EnvId, Env);
