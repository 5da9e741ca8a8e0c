//! Volumes and secrets: named here, so that ids and names are settled; made by a later version.

use super::kind;
use crate::Resource;
use serde::{Deserialize, Serialize};

/// Bytes that outlive instances. Its parent is an env.
pub type Volume = Resource<VolumeSpec>;
/// A value that only its workload sees. Its parent is an env.
pub type Secret = Resource<SecretSpec>;

/// Wanted of a volume.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct VolumeSpec {}

/// Observed of a volume.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct VolumeStatus {}

/// Wanted of a secret.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct SecretSpec {}

/// Observed of a secret.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct SecretStatus {}

kind!(VolumeSpec, VolumeStatus, VolumeId, Volume);
kind!(SecretSpec, SecretStatus, SecretId, Secret);
