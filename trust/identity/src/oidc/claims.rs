//! What the house says of people to apps.

use super::{
    client::{Client, find_client},
    error::{OidcError, Undecided},
    exchange::Tokens,
    grant::{Person, fits, named, person},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_reconcile::View;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonClaims {
    /// Their id here, which never changes and is never another's.
    pub sub: String,
    /// How people call them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Their user's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub preferred_username: Option<String>,
    /// Their roles at the app's project.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub groups: Option<Vec<String>>,
}

/// An ID token (OpenID Connect Core, 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenClaims {
    /// Who says it.
    pub iss: String,
    /// To whom.
    pub aud: String,
    /// Seconds since 1970.
    pub iat: i64,
    /// Seconds since 1970.
    pub exp: i64,
    /// When they signed in to the house.
    pub auth_time: i64,
    /// The session of the house.
    pub sid: String,
    /// As the app gave it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nonce: Option<String>,
    /// Ties the access token to it (3.1.3.6).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at_hash: Option<String>,
    /// Of whom.
    #[serde(flatten)]
    pub person: PersonClaims,
}

/// What an access token lets an app know.
///
/// # Errors
/// When it is worth nothing, or the view fails.
pub fn userinfo(view: &dyn View, token: &str, now: Timestamp) -> Result<PersonClaims, Undecided> {
    let wrong = || OidcError::new("invalid_token", "The access token is wrong, expired or revoked.");
    let grant = named(view, token)?.ok_or_else(wrong)?;
    let access = grant.status.access.as_ref().filter(|access| now < access.expires);
    if !fits(access, token) {
        return Err(wrong().into());
    }
    let client = find_client(view, &grant.spec.client)?.ok_or_else(wrong)?;
    let person = person(view, &grant, &client, now)?.ok_or_else(wrong)?;
    Ok(claims(&person, &grant.spec.scopes))
}

/// What the scopes let an app know of somebody.
pub(super) fn claims(person: &Person, scopes: &[String]) -> PersonClaims {
    let asked = |scope: &str| scopes.iter().any(|one| one == scope);
    let user = &person.user;
    let name = user.spec.full_name.clone().unwrap_or_else(|| user.name.clone());
    PersonClaims {
        sub: user.id.to_string(),
        name: asked("profile").then_some(name),
        preferred_username: asked("profile").then(|| user.name.clone()),
        groups: asked("groups").then(|| person.roles.iter().map(ToString::to_string).collect()),
    }
}

impl TokenClaims {
    /// The ID token that goes with `tokens`.
    pub fn of(issuer: &str, client: &Client, tokens: &Tokens, now: Timestamp) -> TokenClaims {
        let digest = Sha256::digest(tokens.access.expose().as_bytes());
        TokenClaims {
            iss: issuer.to_owned(),
            aud: client.id.clone(),
            iat: now.as_second(),
            exp: now.as_second() + super::TOKEN.as_secs(),
            auth_time: tokens.signed_in.as_second(),
            sid: tokens.session.to_string(),
            nonce: tokens.nonce.clone(),
            at_hash: Some(URL_SAFE_NO_PAD.encode(&digest[..16])),
            person: tokens.person.clone(),
        }
    }
}
