//! The access table: what each route does, so that one function can decide who may use it.
//!
//! Invariant: a route without a row is refused to everybody; a test walks all routes and finds each here.

use axum::http::Method;
use freehold_identity::Action;

/// Where a route acts, as far as the guard can tell before the handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    /// It does not matter where: whoever may do it somewhere may do it.
    Anywhere,
    /// In what all orgs share.
    House,
    /// Where the resource is that the path names by its id.
    Id,
    /// Where the query or the body says, or wherever there is something to list: the guard lets in whoever
    /// may do it somewhere, and the handler asks again ([`crate::who::Who`]).
    Named,
}

/// Every route of the API but the registry's: method, path as in the OpenAPI document, action, place.
const TABLE: &[(Method, &str, Action, Where)] = &[
    (Method::GET, "/healthz", Action::Probe, Where::Anywhere),
    (Method::GET, "/openapi.json", Action::Probe, Where::Anywhere),
    (Method::GET, "/v1/resources", Action::Read, Where::Named),
    (Method::GET, "/v1/resources/{id}", Action::Read, Where::Id),
    (Method::GET, "/v1/resources/{id}/description", Action::Read, Where::Id),
    (Method::GET, "/v1/events", Action::Read, Where::Named),
    (Method::GET, "/v1/watch", Action::Read, Where::Named),
    (Method::GET, "/v1/audit/retention", Action::Read, Where::House),
    (Method::PUT, "/v1/audit/retention", Action::SetRetention, Where::House),
    (Method::DELETE, "/v1/audit/retention", Action::SetRetention, Where::House),
    (Method::GET, "/v1/receipts", Action::Read, Where::Named),
    (Method::GET, "/v1/receipts/export", Action::Read, Where::Named),
    (Method::GET, "/v1/receipts/{id}", Action::Read, Where::Id),
    (Method::GET, "/v1/diffs", Action::Read, Where::Named),
    (Method::GET, "/v1/summaries", Action::Read, Where::Named),
    (Method::GET, "/v1/doctor", Action::Read, Where::House),
    (Method::GET, "/v1/controls", Action::Read, Where::House),
    (Method::GET, "/v1/tasks", Action::Read, Where::House),
    (Method::POST, "/v1/drills/egress", Action::Exec, Where::Named),
    (Method::GET, "/v1/logs", Action::ReadLogs, Where::Named),
    (Method::GET, "/v1/endpoints/{id}/traffic", Action::Read, Where::Id),
    (Method::GET, "/v1/endpoints/{id}/access", Action::ReadLogs, Where::Id),
    (Method::GET, "/v1/instances/{id}/exec", Action::Exec, Where::Id),
    (Method::POST, "/v1/plans", Action::Plan, Where::Named),
    (Method::POST, "/v1/operations", Action::Deploy, Where::Named),
    (Method::POST, "/v1/receipts/{id}/cancel", Action::Deploy, Where::Id),
    (Method::POST, "/v1/volumes", Action::ManageVolume, Where::Named),
    (Method::DELETE, "/v1/volumes/{id}", Action::ManageVolume, Where::Id),
    (Method::POST, "/v1/volumes/{id}/tasks", Action::ManageVolume, Where::Id),
    (Method::POST, "/v1/volumes/{id}/cancel", Action::ManageVolume, Where::Id),
    (Method::POST, "/v1/volumes/{id}/recreate", Action::ManageVolume, Where::Id),
    (Method::GET, "/v1/images", Action::PullImage, Where::Named),
    (Method::GET, "/v1/images/inspect", Action::PullImage, Where::Named),
    (Method::POST, "/v1/images/pull", Action::PushImage, Where::House),
    (Method::POST, "/v1/images/collect", Action::DeleteImage, Where::House),
    (Method::DELETE, "/v1/images", Action::DeleteImage, Where::Named),
    (Method::GET, "/v1/secrets", Action::Read, Where::Named),
    (Method::POST, "/v1/secrets", Action::SetSecret, Where::Named),
    (Method::DELETE, "/v1/secrets/{id}", Action::SetSecret, Where::Id),
    (Method::POST, "/v1/nodes/{id}/changes", Action::ManageNode, Where::House),
    (Method::GET, "/v1/nodes/{id}/drain", Action::Read, Where::House),
    (Method::DELETE, "/v1/nodes/{id}", Action::ManageNode, Where::House),
    (Method::GET, "/v1/join-tokens", Action::EnrolMachine, Where::House),
    (Method::POST, "/v1/join-tokens", Action::EnrolMachine, Where::House),
    (Method::DELETE, "/v1/join-tokens/{id}", Action::EnrolMachine, Where::House),
    (Method::POST, "/v1/nodes/{id}/revocation", Action::EnrolMachine, Where::House),
    (Method::GET, "/v1/authority", Action::Read, Where::House),
    (Method::POST, "/v1/authority/rotation", Action::RotateAuthority, Where::House),
    (Method::POST, "/v1/join", Action::Join, Where::House),
    (Method::POST, "/v1/join/renewal", Action::Join, Where::House),
    (Method::POST, "/v1/machines/{id}/revocation", Action::EnrolMachine, Where::House),
    (Method::DELETE, "/v1/machines/{id}", Action::EnrolMachine, Where::House),
    (Method::GET, "/v1/node/certificate", Action::RenewIdentity, Where::House),
    (Method::POST, "/v1/node/certificate", Action::RenewIdentity, Where::House),
    (Method::GET, "/v1/machine", Action::RenewIdentity, Where::House),
    (Method::GET, "/v1/key", Action::Read, Where::Anywhere),
    (Method::POST, "/v1/key/rotation", Action::RotateKey, Where::House),
    (Method::GET, "/v1/users", Action::ReadPeople, Where::House),
    (Method::POST, "/v1/users", Action::ManageUsers, Where::House),
    (Method::DELETE, "/v1/users/{id}", Action::ManageUsers, Where::House),
    (Method::POST, "/v1/users/{id}/invite", Action::ManageUsers, Where::House),
    (Method::POST, "/v1/users/{id}/unlock", Action::ManageUsers, Where::House),
    (Method::DELETE, "/v1/users/{id}/second-factor", Action::ManageUsers, Where::House),
    (Method::GET, "/v1/users/{id}/passkeys", Action::ReadPeople, Where::House),
    (Method::DELETE, "/v1/users/{id}/passkeys/{passkey}", Action::ManageUsers, Where::House),
    (Method::POST, "/v1/roles", Action::ManageRoles, Where::Named),
    (Method::POST, "/v1/session", Action::SignIn, Where::Anywhere),
    (Method::GET, "/v1/session", Action::Account, Where::Anywhere),
    (Method::DELETE, "/v1/session", Action::Account, Where::Anywhere),
    (Method::POST, "/v1/invites", Action::SignIn, Where::Anywhere),
    (Method::POST, "/v1/session/device", Action::SignIn, Where::Anywhere),
    (Method::POST, "/v1/session/device/poll", Action::SignIn, Where::Anywhere),
    (Method::GET, "/v1/sessions", Action::Account, Where::Anywhere),
    (Method::DELETE, "/v1/sessions/{id}", Action::Account, Where::Anywhere),
    (Method::GET, "/.well-known/openid-configuration", Action::SignIn, Where::Anywhere),
    (Method::GET, "/oidc/jwks", Action::SignIn, Where::Anywhere),
    (Method::POST, "/oidc/token", Action::SignIn, Where::Anywhere),
    (Method::GET, "/oidc/userinfo", Action::SignIn, Where::Anywhere),
    (Method::POST, "/oidc/userinfo", Action::SignIn, Where::Anywhere),
    (Method::GET, "/v1/oidc/clients", Action::Read, Where::Named),
    (Method::GET, "/v1/oidc/keys", Action::Read, Where::House),
    (Method::POST, "/v1/oidc/keys", Action::RotateKey, Where::House),
    (Method::GET, "/v1/sso", Action::ReadPeople, Where::House),
    (Method::GET, "/v1/sso/{name}", Action::ReadPeople, Where::House),
    (Method::PUT, "/v1/sso/{name}", Action::ManageSignIn, Where::House),
    (Method::DELETE, "/v1/sso/{name}", Action::ManageSignIn, Where::House),
    (Method::POST, "/v1/sso/{name}/check", Action::ManageSignIn, Where::House),
    (Method::GET, "/v1/whoami", Action::Account, Where::Anywhere),
    (Method::GET, "/v1/access", Action::Account, Where::Named),
    (Method::POST, "/v1/orgs", Action::ManageOrgs, Where::House),
    (Method::PUT, "/v1/orgs/{id}/second-factor", Action::RequireSecondFactor, Where::Id),
    (Method::GET, "/v1/quotas", Action::Read, Where::Named),
    (Method::PUT, "/v1/quotas/{id}", Action::SetQuota, Where::Id),
    (Method::POST, "/v1/projects", Action::ManageProjects, Where::Named),
    (Method::GET, "/v1/tokens", Action::ManageTokens, Where::Named),
    (Method::POST, "/v1/tokens", Action::ManageTokens, Where::Named),
    (Method::DELETE, "/v1/tokens/{id}", Action::ManageTokens, Where::Named),
];

/// Every page that browsers are served: method, path, action. What they show and do is of who is signed in, so
/// they have no other place.
pub(crate) const PAGES: &[(Method, &str, Action)] = &[
    (Method::GET, "/", Action::SignIn),
    (Method::GET, "/assets/{file}", Action::SignIn),
    (Method::GET, "/signin", Action::SignIn),
    (Method::POST, "/signin", Action::SignIn),
    (Method::GET, "/signin/code", Action::SignIn),
    (Method::POST, "/signin/code", Action::SignIn),
    (Method::POST, "/signin/passkey", Action::SignIn),
    (Method::POST, "/signin/passkey/options", Action::SignIn),
    (Method::GET, "/invite", Action::SignIn),
    (Method::POST, "/invite", Action::SignIn),
    (Method::POST, "/signin/with/{name}", Action::SignIn),
    (Method::GET, "/signin/with/{name}/callback", Action::SignIn),
    (Method::POST, "/invite/with/{name}", Action::SignIn),
    (Method::POST, "/account/providers", Action::Account),
    (Method::POST, "/signout", Action::Account),
    (Method::GET, "/device", Action::Account),
    (Method::POST, "/device", Action::Account),
    (Method::GET, "/account", Action::Account),
    (Method::POST, "/account/sessions", Action::Account),
    (Method::GET, "/oidc/authorize", Action::SignIn),
    (Method::POST, "/oidc/authorize", Action::Account),
    (Method::GET, "/oidc/logout", Action::SignIn),
    (Method::POST, "/oidc/logout", Action::Account),
    (Method::POST, "/account/second-factor", Action::Account),
    (Method::POST, "/account/passkeys", Action::Account),
    (Method::POST, "/account/passkeys/options", Action::Account),
];

/// Every row of the API.
pub(crate) fn rows() -> impl Iterator<Item = (&'static Method, &'static str, Action, Where)> {
    TABLE.iter().map(|(method, path, action, place)| (method, *path, *action, *place))
}

impl Where {
    /// Its name in the OpenAPI document.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Where::Anywhere => "anywhere",
            Where::House => "house",
            Where::Id => "id",
            Where::Named => "named",
        }
    }
}

/// What a request is about to do, or why nothing does that.
pub(crate) enum Target {
    /// A route of the table.
    Route(Action, Where),
    /// The registry, which speaks the distribution protocol instead of problems.
    Registry(Action),
    /// A page for browsers, which speaks HTML and takes a session's cookie alone.
    Page(Action),
    /// A path of the table with a method that it has not; those that it has.
    OtherMethod(Vec<&'static Method>),
    /// Nothing.
    Unknown,
}

/// The row for `method` on a path: `matched` is the route's own, if there is one, `path` the request's.
pub(crate) fn target(method: &Method, matched: Option<&str>, path: &str) -> Target {
    if path == "/v2" || path.starts_with("/v2/") {
        return Target::Registry(registry_action(method));
    }
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let rows = || TABLE.iter().filter(|row| Some(row.1) == matched);
    if let Some((_, _, action, place)) = rows().find(|row| row.0 == *method) {
        return Target::Route(*action, *place);
    }
    let pages = || PAGES.iter().filter(|row| Some(row.1) == matched);
    if let Some((_, _, action)) = pages().find(|row| row.0 == *method) {
        return Target::Page(*action);
    }
    let others: Vec<&Method> = rows().map(|row| &row.0).chain(pages().map(|row| &row.0)).collect();
    if others.is_empty() { Target::Unknown } else { Target::OtherMethod(others) }
}

fn registry_action(method: &Method) -> Action {
    match *method {
        Method::GET | Method::HEAD => Action::PullImage,
        Method::DELETE => Action::DeleteImage,
        _ => Action::PushImage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_and_the_openapi_document_have_the_same_routes() {
        let document = serde_json::to_value(crate::openapi()).unwrap();
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in ["get", "put", "post", "delete", "patch", "head", "options", "trace"] {
                if item.get(method).is_some() {
                    documented.insert((method.to_uppercase(), path.clone()));
                }
            }
        }
        let listed: BTreeSet<_> =
            TABLE.iter().map(|(method, path, ..)| (method.to_string(), (*path).to_owned())).collect();
        assert_eq!(listed.len(), TABLE.len(), "a route has two rows");
        assert_eq!(listed, documented);
    }

    #[test]
    fn what_is_not_in_the_table_has_no_action() {
        assert!(matches!(target(&Method::GET, Some("/v1/new"), "/v1/new"), Target::Unknown));
        assert!(matches!(target(&Method::GET, None, "/v1/resources"), Target::Unknown));
        assert!(
            matches!(target(&Method::PUT, Some("/v1/images"), "/v1/images"), Target::OtherMethod(m) if m.len() == 2)
        );
        assert!(matches!(target(&Method::PUT, None, "/v2/x"), Target::Registry(Action::PushImage)));
        assert!(matches!(target(&Method::GET, None, "/v2x"), Target::Unknown));
    }
}
