//! Orgs and projects: who owns apps.

use super::kind;
use crate::{LogRetention, Quota, Resource};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A household, a company: the unit of ownership.
pub type Org = Resource<OrgSpec>;
/// A group of apps within an org.
pub type Project = Resource<ProjectSpec>;

/// Wanted of an org.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct OrgSpec {
    /// What its apps may use together.
    #[serde(skip_serializing_if = "Quota::is_empty")]
    pub quota: Quota,
    /// Whether its people need a second factor or a passkey before anything of it is there for them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_second_factor: bool,
    /// How long the event log is kept; of the house's org alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<LogRetention>,
}

impl OrgSpec {
    /// The name of the org that the house belongs to, as the first start makes it.
    pub const HOUSE: &str = "home";
}

/// Observed of an org.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct OrgStatus {
    /// When a change was last let in under its quota: two at once would both count on the same room.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub admitted: Option<Timestamp>,
}

/// Wanted of a project.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ProjectSpec {
    /// What its apps may use together.
    #[serde(skip_serializing_if = "Quota::is_empty")]
    pub quota: Quota,
}

/// Observed of a project.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ProjectStatus {
    /// When a change was last let in under its quota: two at once would both count on the same room.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub admitted: Option<Timestamp>,
}

kind!(OrgSpec, OrgStatus, OrgId, Org);
kind!(ProjectSpec, ProjectStatus, ProjectId, Project);
