//! A gateway: a machine that lets devices in from outside. It enrols and keeps its identity; what it carries
//! comes with Reach.

use super::kind;
use crate::Resource;
use serde::{Deserialize, Serialize};

/// A machine that lets devices in from outside.
pub type Gateway = Resource<GatewaySpec>;

/// Wanted of a gateway.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct GatewaySpec {}

/// Observed of a gateway.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct GatewayStatus {}

kind!(GatewaySpec, GatewayStatus, GatewayId, Gateway);
