//! Who may do what: oneself, users, sessions, tokens, explanations, orgs and projects.

use crate::{Client, ClientError};
use freehold_model::{
    AnyId, AnyResource, SessionId, TokenId, UserId,
    access::{
        CreateOrg, CreateProject, CreateToken, CreatedToken, Explanation, RequireSecondFactor,
        SecondFactorPolicy, TokenSummary, Whoami,
    },
    device_sign_in::{DeviceAsked, DevicePoll, DevicePolled},
    people::{
        AcceptInvite, CreateUser, Invited, PasskeySummary, SessionSummary, SetRole, SignIn, SignedIn,
        UserSummary,
    },
};
use reqwest::Method;
use serde::Serialize;

/// What is asked about access.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AccessQuery {
    /// The action: `deploy`, `read-logs`, …
    pub action: String,
    /// In this org as a whole.
    pub org: Option<String>,
    /// In this project.
    pub project: Option<String>,
    /// In what all orgs share.
    pub house: bool,
    /// About this user.
    pub user: Option<String>,
    /// About this token.
    pub token: Option<String>,
    /// About everybody who has a role there.
    pub everybody: bool,
}

impl Client {
    /// Who one is.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses; likewise for every method here.
    pub async fn whoami(&self) -> Result<Whoami, ClientError> {
        self.get("/v1/whoami", &()).await
    }

    /// Who may do what somewhere, and why.
    ///
    /// # Errors
    /// As above.
    pub async fn explain_access(&self, query: &AccessQuery) -> Result<Explanation, ClientError> {
        self.get("/v1/access", query).await
    }

    /// The tokens of the places whose tokens one manages.
    ///
    /// # Errors
    /// As above.
    pub async fn tokens(&self) -> Result<Vec<TokenSummary>, ClientError> {
        self.get("/v1/tokens", &()).await
    }

    /// Makes a token.
    ///
    /// # Errors
    /// As above.
    pub async fn create_token(&self, wanted: &CreateToken) -> Result<CreatedToken, ClientError> {
        self.post("/v1/tokens", wanted).await
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// As above.
    pub async fn revoke_token(&self, id: TokenId) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &format!("/v1/tokens/{id}"))).await.map(drop)
    }

    /// Signs in.
    ///
    /// # Errors
    /// As above.
    pub async fn sign_in(&self, wanted: &SignIn) -> Result<SignedIn, ClientError> {
        self.post("/v1/session", wanted).await
    }

    /// Chooses a password with an invite, and signs in.
    ///
    /// # Errors
    /// As above.
    pub async fn accept_invite(&self, wanted: &AcceptInvite) -> Result<SignedIn, ClientError> {
        self.post("/v1/invites", wanted).await
    }

    /// Signs out.
    ///
    /// # Errors
    /// As above.
    pub async fn sign_out(&self) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, "/v1/session")).await.map(drop)
    }

    /// One's own sessions, or everybody's.
    ///
    /// # Errors
    /// As above.
    pub async fn sessions(&self, everybody: bool) -> Result<Vec<SessionSummary>, ClientError> {
        self.get("/v1/sessions", &[("everybody", everybody)]).await
    }

    /// Asks that somebody with a browser allow this program to act for them.
    ///
    /// # Errors
    /// As above.
    pub async fn ask_to_sign_in(&self) -> Result<DeviceAsked, ClientError> {
        self.post("/v1/session/device", &()).await
    }

    /// What came of it.
    ///
    /// # Errors
    /// As above; when it was refused, or nobody answered in time.
    pub async fn poll_sign_in(&self, poll: &DevicePoll) -> Result<DevicePolled, ClientError> {
        self.post("/v1/session/device/poll", poll).await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// As above.
    pub async fn revoke_session(&self, id: SessionId) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &format!("/v1/sessions/{id}"))).await.map(drop)
    }

    /// Every user.
    ///
    /// # Errors
    /// As above.
    pub async fn users(&self) -> Result<Vec<UserSummary>, ClientError> {
        self.get("/v1/users", &()).await
    }

    /// Makes a user.
    ///
    /// # Errors
    /// As above.
    pub async fn create_user(&self, wanted: &CreateUser) -> Result<Invited, ClientError> {
        self.post("/v1/users", wanted).await
    }

    /// Removes a user.
    ///
    /// # Errors
    /// As above.
    pub async fn delete_user(&self, id: UserId) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &format!("/v1/users/{id}"))).await.map(drop)
    }

    /// Makes another invite.
    ///
    /// # Errors
    /// As above.
    pub async fn invite_user(&self, id: UserId) -> Result<Invited, ClientError> {
        self.post(&format!("/v1/users/{id}/invite"), &()).await
    }

    /// Unlocks an account.
    ///
    /// # Errors
    /// As above.
    pub async fn unlock_user(&self, id: UserId) -> Result<UserSummary, ClientError> {
        self.post(&format!("/v1/users/{id}/unlock"), &()).await
    }

    /// Takes a user's second factor away, and ends their sessions.
    ///
    /// # Errors
    /// As above.
    pub async fn reset_second_factor(&self, id: UserId) -> Result<UserSummary, ClientError> {
        let request = self.request(Method::DELETE, &format!("/v1/users/{id}/second-factor"));
        self.read(self.send(request).await?).await
    }

    /// A user's passkeys.
    ///
    /// # Errors
    /// As above.
    pub async fn passkeys(&self, id: UserId) -> Result<Vec<PasskeySummary>, ClientError> {
        self.get(&format!("/v1/users/{id}/passkeys"), &()).await
    }

    /// Takes a passkey away, by its id, and ends the user's sessions.
    ///
    /// # Errors
    /// As above.
    pub async fn remove_passkey(&self, id: UserId, passkey: &str) -> Result<PasskeySummary, ClientError> {
        let path = format!("/v1/users/{id}/passkeys/{passkey}");
        self.read(self.send(self.request(Method::DELETE, &path)).await?).await
    }

    /// Gives a user a role, or takes it away.
    ///
    /// # Errors
    /// As above.
    pub async fn set_role(&self, wanted: &SetRole) -> Result<UserSummary, ClientError> {
        self.post("/v1/roles", wanted).await
    }

    /// Makes an org.
    ///
    /// # Errors
    /// As above.
    pub async fn create_org(&self, wanted: &CreateOrg) -> Result<AnyResource, ClientError> {
        self.post("/v1/orgs", wanted).await
    }

    /// Says whether an org's people need a second factor or a passkey.
    ///
    /// # Errors
    /// As above.
    pub async fn require_second_factor(
        &self,
        org: AnyId,
        wanted: &RequireSecondFactor,
    ) -> Result<SecondFactorPolicy, ClientError> {
        let request = self.request(Method::PUT, &format!("/v1/orgs/{org}/second-factor")).json(wanted);
        self.read(self.send(request).await?).await
    }

    /// Makes a project.
    ///
    /// # Errors
    /// As above.
    pub async fn create_project(&self, wanted: &CreateProject) -> Result<AnyResource, ClientError> {
        self.post("/v1/projects", wanted).await
    }
}
