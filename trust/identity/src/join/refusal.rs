//! Why a machine may not join.

use freehold_model::{Code, MachineKind, Name, Problem, join::PROTOCOL};
use jiff::Timestamp;

/// Why a machine may not join. Says nothing of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such token.
    #[error("this house knows no such join token")]
    Unknown,
    /// A machine has joined with it.
    #[error("the join token was used already")]
    Used,
    /// Its time is over.
    #[error("the join token expired at {0}")]
    Expired(Timestamp),
    /// Somebody took it back.
    #[error("the join token was revoked")]
    Revoked,
    /// It is for another kind of machine.
    #[error("the join token is for a {token}, not for a {wanted}")]
    Kind {
        /// What it is for.
        token: MachineKind,
        /// What was asked for.
        wanted: MachineKind,
    },
    /// It is for another name.
    #[error("the join token is for the name `{only}`, not for `{wanted}`")]
    Name {
        /// What it is for.
        only: Name,
        /// What was asked for.
        wanted: Name,
    },
    /// There is such a machine.
    #[error("there is a {0} called `{1}` already")]
    NameTaken(MachineKind, Name),
    /// Some machine, perhaps a revoked one, has that key.
    #[error("the key belongs to another machine, or was revoked")]
    KeyTaken,
    /// The identity was revoked.
    #[error("the identity was revoked")]
    Gone,
    /// The machine speaks another version of the protocol.
    #[error("the machine speaks version {0} of the protocol, this control plane version {PROTOCOL}")]
    Protocol(u32),
}

impl Refusal {
    /// One word for machines.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Unknown => "unknown",
            Refusal::Used => "used",
            Refusal::Expired(_) => "expired",
            Refusal::Revoked => "revoked",
            Refusal::Kind { .. } => "wrong_kind",
            Refusal::Name { .. } => "wrong_name",
            Refusal::NameTaken(..) => "name_taken",
            Refusal::KeyTaken => "key_taken",
            Refusal::Gone => "identity_revoked",
            Refusal::Protocol(_) => "protocol",
        }
    }

    /// The problem that the machine is told.
    pub fn problem(&self) -> Problem {
        let (code, hint) = match self {
            Refusal::Unknown | Refusal::Used | Refusal::Expired(_) | Refusal::Revoked => {
                (Code::NotAllowed, "Make another on the control plane: `freehold node token create`.")
            }
            Refusal::Kind { .. } => (
                Code::NotAllowed,
                "Make one for this kind of machine: `freehold node token create --kind …`.",
            ),
            Refusal::Name { .. } => {
                (Code::NotAllowed, "Join with that name, or make a token without a name.")
            }
            Refusal::NameTaken(..) => (
                Code::Conflict,
                "Choose another with --name, or remove that one: `freehold node remove NAME`.",
            ),
            Refusal::KeyTaken => (
                Code::NotAllowed,
                "Join with a new key: remove the `identity` folder of the machine's data folder.",
            ),
            Refusal::Gone => {
                (Code::NotAllowed, "Join anew: remove the `identity` folder of the machine's data folder.")
            }
            Refusal::Protocol(_) => (Code::Invalid, "Bring both to the same version of Freehold."),
        };
        let mut title = self.to_string();
        title[..1].make_ascii_uppercase();
        Problem::new(code, format!("{title}.")).hint(hint)
    }
}
