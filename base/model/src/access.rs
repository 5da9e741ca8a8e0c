//! Bodies of the API about who may do what: tokens, bindings, explanations, orgs and projects.

use crate::{Actor, Name, Rate, Role, TokenId, secrets::Hidden, units::Millis};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A role at a place, by names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedBinding {
    /// What they are there.
    pub role: Role,
    /// The org. Not given: the project's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<Name>,
    /// Only this project of it. Without org and project: the project `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Name>,
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is called in lists and in the audit trail.
    pub name: Name,
    /// What its bearer may do, and where: at least one.
    pub bindings: Vec<NamedBinding>,
    /// How long it is good: a minute to 366 days; 90 days when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires_in: Option<Millis>,
    /// How many requests its bearer may make, as in `600/min`; what the house gives when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub rate: Option<Rate>,
}

/// A token that was made. The only time that anybody sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreatedToken {
    /// The token itself.
    #[schema(value_type = String)]
    pub token: Hidden,
    /// What the server keeps of it.
    pub summary: TokenSummary,
}

/// A token as it is told: never the token itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenSummary {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TokenId,
    /// Its name.
    pub name: String,
    /// What its bearer may do, and where.
    pub bindings: Vec<NamedBinding>,
    /// Who made it.
    pub creator: Actor,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// It is worth nothing from then on.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Timestamp,
    /// Whether that is past.
    pub expired: bool,
    /// Why it lets nobody in although it has not expired: its maker is gone, or has none of its rights any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// How many requests its bearer may make, where that is not what the house gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub rate: Option<Rate>,
}

/// An org to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateOrg {
    /// Its name.
    pub name: Name,
}

/// What an org is to ask of its people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequireSecondFactor {
    /// Whether they need a second factor or a passkey.
    pub required: bool,
}

/// What an org asks of its people, and whom that keeps out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SecondFactorPolicy {
    /// Whether they need a second factor or a passkey.
    pub required: bool,
    /// The names of those of its people who have neither.
    pub without: Vec<String>,
}

/// A project to be made. Its name is unique among all orgs of the house, so that a manifest and a command
/// need no org.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// Its name.
    pub name: Name,
    /// The org; the house's own when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<Name>,
}

/// Who somebody is, and what they are where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Whoami {
    /// As events and receipts name them.
    pub actor: Actor,
    /// Whether it is the admin of the data directory, who may do everything.
    pub root: bool,
    /// What they are, and where.
    pub bindings: Vec<NamedBinding>,
    /// The orgs that ask for a second factor or a passkey, of which they have neither: what they are there does not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
}

/// Whether somebody may do something somewhere, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Explanation {
    /// The action, as the access table calls it.
    pub action: String,
    /// What it means, in words.
    pub meaning: String,
    /// Where: `project default`, `org home`, `the house`.
    pub place: String,
    /// The least role that may, there; none where no role does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Role>,
    /// Those who were asked about.
    pub people: Vec<Standing>,
}

/// What one principal may.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Standing {
    /// Who.
    pub actor: Actor,
    /// Whether they may.
    pub granted: bool,
    /// What they are at that place; none where they are nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The binding that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<NamedBinding>,
    /// Why, in a sentence.
    pub reason: String,
}
