//! What somebody may be at a place: a role, bound to an org or to one of its projects.
//!
//! Users and tokens carry their bindings; `trust/identity` decides what a role may do. Invariant: roles are
//! ordered, and each may do all that the ones before it may.

use crate::{OrgId, ProjectId};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What somebody may do at a place, as a word.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees what there is, and its logs.
    Viewer,
    /// Deploys, runs commands in instances, sets secrets.
    Developer,
    /// Manages tokens, roles and projects; of the house's org also users and nodes.
    Admin,
    /// Everything at its place.
    Owner,
}

impl Role {
    /// Every role, the one that may least first.
    pub const ALL: &'static [Role] = &[Role::Viewer, Role::Developer, Role::Admin, Role::Owner];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Developer => "developer",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Role, &'static str> {
        let found = Role::ALL.iter().find(|role| role.name() == text);
        found.copied().ok_or("is no role: use owner, admin, developer or viewer")
    }
}

/// A role at a place: at a whole org, or at one of its projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Binding {
    /// What they may be there.
    pub role: Role,
    /// The org.
    #[schema(value_type = String)]
    pub org: OrgId,
    /// Only this project of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub project: Option<ProjectId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_read_back_what_they_print() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(*role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
        assert!("root".parse::<Role>().is_err());
    }
}
