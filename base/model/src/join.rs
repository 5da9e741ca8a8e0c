//! Bodies of the API about machines that join: tokens, certificates, the authority that issues them.

use crate::{AnyId, JoinTokenId, KeyFingerprint, MachineKind, Millis, Name, NodeId, secrets::Hidden};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the protocol between a machine and the control plane that this program speaks.
pub const PROTOCOL: u32 = 1;

/// The largest certificate request that is read, in bytes of PEM.
pub const MAX_CSR: usize = 8 << 10;

/// A machine that wants to join. The token is the proof that it may.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The join token.
    #[schema(value_type = String)]
    pub token: Hidden,
    /// What it wants to be.
    pub machine: MachineKind,
    /// What it is to be called.
    pub name: Name,
    /// A PKCS #10 certificate request, as PEM, signed with the key that is to be certified. Nothing but the key
    /// is taken from it.
    pub csr: String,
    /// The version of the protocol that it speaks.
    pub protocol: u32,
}

/// That a machine has joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Joined {
    /// Its id: of a node, a gateway or a device.
    #[schema(value_type = String)]
    #[serde(rename = "node")]
    pub machine: AnyId,
    /// Its name.
    pub name: Name,
    /// Its first certificate.
    pub certificate: MachineCertificate,
}

/// A machine that wants its next certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// A PKCS #10 certificate request, as PEM, signed with the key that it joined with.
    pub csr: String,
}

/// A machine whose certificate has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RejoinRequest {
    /// Its id: of a node, a gateway or a device.
    #[schema(value_type = String)]
    #[serde(rename = "node")]
    pub machine: AnyId,
    /// A PKCS #10 certificate request, as PEM, signed with the key that it joined with.
    pub csr: String,
}

/// That a node is refused everywhere from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RevokedNode {
    /// Which.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// How many keys of it were accepted until now.
    pub keys: u32,
}

/// That a machine is refused everywhere from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RevokedMachine {
    /// Which.
    #[schema(value_type = String)]
    pub machine: AnyId,
    /// How many keys of it were accepted until now.
    pub keys: u32,
}

/// Who a machine is, as its certificate proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MachineSelf {
    /// Its id.
    #[schema(value_type = String)]
    pub id: AnyId,
    /// What it is.
    pub machine: MachineKind,
    /// What it is called.
    pub name: String,
}

/// A certificate, and whom to trust from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MachineCertificate {
    /// The certificate and those that lead to a root, as PEM, the machine's own first.
    pub chain: String,
    /// Every root to trust, as PEM. Replaces those trusted before.
    pub roots: String,
    /// When to ask for the next one: at two thirds of its life.
    #[schema(value_type = String, format = DateTime)]
    pub renew_at: Timestamp,
    /// Until when it is valid.
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Timestamp,
}

/// What a machine should know about its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CertificateAdvice {
    /// Whether to ask for another one now, because the authority issues under another key by now.
    pub renew: bool,
}

/// A join token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateJoinToken {
    /// What may join with it.
    pub machine: MachineKind,
    /// For how long it can be used; an hour if it is not given, at most 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Millis>,
    /// The only name that a machine may join with; any if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
}

/// A join token that was made. The only answer that ever holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreatedJoinToken {
    /// The token: for one machine, for a while.
    #[schema(value_type = String)]
    pub token: Hidden,
    /// About it.
    pub about: JoinTokenSummary,
}

/// A join token, without the token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JoinTokenSummary {
    /// Its id.
    #[schema(value_type = String)]
    pub id: JoinTokenId,
    /// What may join with it.
    pub machine: MachineKind,
    /// The only name that a machine may join with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Name>,
    /// Whether it can be used.
    pub state: JoinTokenState,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// Until when it can be used.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Timestamp,
    /// The machine that joined with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub node: Option<AnyId>,
}

/// Whether a join token can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JoinTokenState {
    /// It can.
    Usable,
    /// A machine has joined with it.
    Used,
    /// Its time is over.
    Expired,
    /// Somebody took it back.
    Revoked,
}

impl JoinTokenState {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            JoinTokenState::Usable => "usable",
            JoinTokenState::Used => "used",
            JoinTokenState::Expired => "expired",
            JoinTokenState::Revoked => "revoked",
        }
    }
}

/// A rotation of the certificate authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// What to replace.
    pub what: Rotation,
    /// Drops the roots before the newest at once, whoever depends on them.
    #[serde(default)]
    pub force: bool,
}

/// What of the certificate authority is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rotation {
    /// The root, and the intermediate with it.
    Root,
    /// The intermediate.
    Intermediate,
    /// Nothing: roots that nobody depends on any more are dropped.
    Nothing,
}

/// How the certificate authority is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuthoritySummary {
    /// The SPIFFE trust domain of every identity.
    pub house: String,
    /// The roots that are trusted, the newest first.
    pub roots: Vec<CaSummary>,
    /// The intermediates, the newest first: that one issues.
    pub intermediates: Vec<CaSummary>,
}

/// One certificate of the authority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CaSummary {
    /// Its number.
    pub number: u32,
    /// The number of the root that it leads to.
    pub root: u32,
    /// Its public key.
    #[schema(value_type = String)]
    pub fingerprint: KeyFingerprint,
    /// The certificate, as PEM.
    pub certificate: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// Until when it is valid.
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Timestamp,
    /// Whether it signs.
    pub signs: bool,
    /// The machines whose present certificate leads through it, by name; of a root, also those that do not
    /// trust a newer one yet.
    pub needed_by: Vec<String>,
}
