//! Bodies of the API about signing in to this house with other providers. What holds a secret prints nothing of it.

use crate::{IdentityProviderId, secrets::Hidden};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An identity provider as it shall be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetIdentityProvider {
    /// Its address, letter by letter as it says it of itself: `https://accounts.google.com`.
    pub issuer: String,
    /// This house's name there.
    pub client_id: String,
    /// What proves it. Left out, the one that is kept stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_secret: Option<Hidden>,
    /// How people call it; its name, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// An identity provider as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IdentityProviderSummary {
    /// Its id.
    #[schema(value_type = String)]
    pub id: IdentityProviderId,
    /// Its name here.
    pub name: String,
    /// How people call it.
    pub title: String,
    /// Its address.
    pub issuer: String,
    /// This house's name there.
    pub client_id: String,
    /// Where it sends people back to: to be entered there. None where the house does not know its own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// How many people have linked it.
    pub linked: u32,
    /// When it was first set.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
}

/// What looking at an identity provider found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckedProvider {
    /// Its name here.
    pub name: String,
    /// Whether people can sign in with it, as far as can be seen from here.
    pub good: bool,
    /// What is wrong, and the way out.
    pub problems: Vec<String>,
    /// The algorithms by which it signs, as it says.
    pub algorithms: Vec<String>,
    /// How many keys it has published.
    pub keys: u32,
}
