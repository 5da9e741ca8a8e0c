//! Bodies of the API about signing in to apps through this house.

use crate::{EnvId, Name};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An app that people sign in to through this house.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClientSummary {
    /// Its client id: `PROJECT.APP.ENV`.
    pub client_id: String,
    /// Its project.
    #[schema(value_type = String)]
    pub project: Name,
    /// The app.
    #[schema(value_type = String)]
    pub app: Name,
    /// The env.
    #[schema(value_type = String)]
    pub env: Name,
    /// The env's id.
    #[schema(value_type = String)]
    pub env_id: EnvId,
    /// The number of the release that says so.
    pub release: u32,
    /// The process that is told the secret.
    #[schema(value_type = String)]
    pub process: Name,
    /// Where codes may be sent to.
    pub redirect: Vec<String>,
    /// Where people may be sent after they signed out.
    pub after_sign_out: Vec<String>,
    /// How many sign-ins of people last.
    pub signed_in: u32,
}

/// A key that signs ID tokens, or did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SigningKeySummary {
    /// Its name in tokens and in the key set.
    pub kid: String,
    /// Whether it signs; older ones are published for a while yet.
    pub signs: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
}

/// A wish for a new signing key.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSigningKeys {
    /// Whether older keys are withdrawn at once, as after a theft: what they signed counts nowhere any more.
    #[serde(default)]
    pub withdraw: bool,
}
