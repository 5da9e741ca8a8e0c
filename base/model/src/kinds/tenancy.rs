//! Orgs and projects: who owns apps.

use super::kind;
use crate::Resource;
use serde::{Deserialize, Serialize};

/// A household, a company: the unit of ownership.
pub type Org = Resource<OrgSpec>;
/// A group of apps within an org.
pub type Project = Resource<ProjectSpec>;

/// Wanted of an org.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct OrgSpec {}

/// Observed of an org.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct OrgStatus {}

/// Wanted of a project.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ProjectSpec {}

/// Observed of a project.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ProjectStatus {}

kind!(OrgSpec, OrgStatus, OrgId, Org);
kind!(ProjectSpec, ProjectStatus, ProjectId, Project);
