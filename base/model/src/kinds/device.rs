//! A device: a phone, a laptop, anything of the household that reaches what runs and runs nothing itself.

use super::kind;
use crate::Resource;
use serde::{Deserialize, Serialize};

/// Something of the household that reaches what runs.
pub type Device = Resource<DeviceSpec>;

/// Wanted of a device.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct DeviceSpec {
    /// Whose it is, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its WireGuard key: 32 bytes in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

/// Observed of a device.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct DeviceStatus {}

kind!(DeviceSpec, DeviceStatus, DeviceId, Device);
