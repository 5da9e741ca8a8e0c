//! A volume: named here, so that ids and names are settled; made by a later version.

use super::kind;
use crate::Resource;
use serde::{Deserialize, Serialize};

/// Bytes that outlive instances.
pub type Volume = Resource<VolumeSpec>;

/// Wanted of a volume.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct VolumeSpec {}

/// Observed of a volume.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct VolumeStatus {}

kind!(VolumeSpec, VolumeStatus, VolumeId, Volume);
