//! An app: what one manifest describes. Its parent is a project.

use super::kind;
use crate::Resource;
use serde::{Deserialize, Serialize};

/// An app.
pub type App = Resource<AppSpec>;

/// Wanted of an app.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct AppSpec {}

/// Observed of an app.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct AppStatus {}

kind!(AppSpec, AppStatus, AppId, App);
