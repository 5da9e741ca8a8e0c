//! Bodies of the API by which a program without a browser signs somebody in (RFC 8628).

use crate::{people::SignedIn, secrets::Hidden};
use serde::{Deserialize, Serialize};

/// What a program shows to somebody, and what it keeps to itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeviceAsked {
    /// For the program alone: with it, it fetches what comes of this.
    #[schema(value_type = String)]
    pub device_code: Hidden,
    /// What somebody types or compares: `WDJB-MJHT`.
    pub user_code: String,
    /// Where: a page of this server.
    pub verification_uri: String,
    /// The same, with the code filled in.
    pub verification_uri_complete: String,
    /// The codes are good for so many seconds.
    pub expires_in: u64,
    /// To be waited before each question what came of it, in seconds.
    pub interval: u64,
}

/// A question what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DevicePoll {
    /// The program's own code.
    #[schema(value_type = String)]
    pub device_code: Hidden,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// Nobody has answered yet: ask again after the interval.
    AuthorizationPending,
    /// The same, and it was asked too soon: wait 5 seconds longer from now on.
    SlowDown,
    /// Somebody allowed it.
    Allowed,
}

/// What came of it so far. Who was refused, or came too late, gets a problem instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DevicePolled {
    /// How far it is.
    pub state: DeviceState,
    /// The session, once it is allowed: told once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_in: Option<SignedIn>,
}
