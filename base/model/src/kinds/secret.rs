//! A secret: named here, so that ids and names are settled; made by a later version.

use super::kind;
use crate::Resource;
use serde::{Deserialize, Serialize};

/// A value that only its workload sees. Its parent is an env.
pub type Secret = Resource<SecretSpec>;

/// Wanted of a secret.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct SecretSpec {}

/// Observed of a secret.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct SecretStatus {}

kind!(SecretSpec, SecretStatus, SecretId, Secret);
