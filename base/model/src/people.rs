//! Bodies of the API about people: users, invites, sessions. What holds a password prints nothing of it.

use crate::{Name, Role, SessionId, UserId, access::NamedBinding, secrets::Hidden};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A user to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// What they sign in as.
    pub name: Name,
    /// How people call them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// What they may do, and where.
    #[serde(default)]
    pub bindings: Vec<NamedBinding>,
}

/// A user as they are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UserSummary {
    /// Their id.
    #[schema(value_type = String)]
    pub id: UserId,
    /// What they sign in as.
    pub name: String,
    /// How people call them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// What they may do, and where.
    pub bindings: Vec<NamedBinding>,
    /// `active`, `invited` (no password yet), `locked` or `disabled`.
    pub state: String,
    /// Whether a password alone does not sign them in.
    #[serde(default)]
    pub second_factor: bool,
    /// How many passkeys they have.
    #[serde(default)]
    pub passkeys: usize,
    /// When they were made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// Until then no password is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub locked_until: Option<Timestamp>,
}

/// A passkey as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PasskeySummary {
    /// Tells it from the others of its person.
    pub id: String,
    /// What its person calls it.
    pub name: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When somebody last signed in with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used: Option<Timestamp>,
}

/// An invite. The only time that anybody sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Invited {
    /// Whom it invites.
    pub user: UserSummary,
    /// The invite, to be given to them: with it they choose a password, once.
    #[schema(value_type = String)]
    pub invite: Hidden,
    /// The same as a link, where the server knows the address by which browsers reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub link: Option<Hidden>,
    /// It is worth nothing from then on.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Timestamp,
}

impl Invited {
    /// With the link to a server at `url`. The invite stands behind a `#`: browsers send that nowhere.
    #[must_use]
    pub fn linked(mut self, url: &str) -> Invited {
        let url = url.trim_end_matches('/');
        self.link.get_or_insert_with(|| Hidden::new(format!("{url}/invite#{}", self.invite.expose())));
        self
    }
}

/// An invite that is taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptInvite {
    /// The invite.
    #[schema(value_type = String)]
    pub invite: Hidden,
    /// The password from now on: 12 to 256 bytes.
    #[schema(value_type = String)]
    pub password: Hidden,
}

/// A role that is given to a user at a place, or taken away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRole {
    /// The user.
    pub user: Name,
    /// The role; `null`: none any more.
    pub role: Option<Role>,
    /// The org.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<Name>,
    /// Only this project of it. Without org and project: the project `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Name>,
}

/// Somebody who wants to sign in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The user's name.
    pub user: String,
    /// Their password.
    #[schema(value_type = String)]
    pub password: Hidden,
    /// The code of their second factor, or a recovery code, if they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub code: Option<Hidden>,
    /// For a browser: the answer sets a cookie that scripts cannot read, and holds no token.
    #[serde(default)]
    pub cookie: bool,
}

/// Somebody who signed in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SignedIn {
    /// The session.
    pub session: SessionSummary,
    /// What is shown from now on as a bearer's token; none where a cookie was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub token: Option<Hidden>,
    /// With a cookie: what requests that change something carry as the header `x-csrf-token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub csrf: Option<Hidden>,
}

/// A session as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionSummary {
    /// Its id.
    #[schema(value_type = String)]
    pub id: SessionId,
    /// Whose.
    pub user: String,
    /// When they signed in.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// It is worth nothing from then on.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Timestamp,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// With which program, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// How they proved who they are: `password`, `code`, `passkey`, `device`, `provider NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Whether it is that of who asks.
    pub current: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_a_password() {
        let text = r#"{ "user": "ada", "password": "hunter2-hunter2" }"#;
        let sign_in: SignIn = serde_json::from_str(text).unwrap();
        assert!(!format!("{sign_in:?}").contains("hunter2"));
    }
}
