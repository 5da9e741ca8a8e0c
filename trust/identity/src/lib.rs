//! Certificate authority, enrolment, users, tokens, sessions and access decisions.
//!
//! Two questions are answered here and nowhere else: who is it ([`Tokens::authenticate`], [`authenticate`],
//! [`Presented`]), and may they ([`decide`]). Doors ask both; capabilities never do. What changes people and
//! their rights is decided here too, as transactions that carry their own audit events. The [`Authority`] lets
//! machines into the house and certifies them.

mod access;
mod binding;
mod ca;
mod credential;
mod error;
mod explain;
mod file;
mod grant;
mod join;
mod maker;
mod membership;
pub mod oidc;
mod peer;
mod people;
mod place;
mod principal;
mod rate;
mod retention;
pub mod sso;
mod tenancy;
pub mod tls;
mod token;

#[cfg(test)]
mod testing;

pub use access::{Access, Action, Needs, decide, decide_peer};
pub use binding::{named, resolve};
pub use ca::{
    Authority,
    error::AuthorityError,
    issue::CONTROL_NAME,
    live::Live,
    request::{RequestError, request},
};
pub use credential::{Admitted, admit, authenticate};
pub use error::PeopleError;
pub use explain::explain;
pub use file::{TokenFile, TokenFileError};
pub use freehold_model::{KeyFingerprint, KeyFingerprintError};
pub use grant::{create_token, may_revoke, revoke_token, token_summaries};
pub use join::{
    Refusal, revoke_into,
    token::{JoinTokenError, JoinTokenText},
};
pub use maker::{Worth, worth};
pub use membership::{About, MachineKey, Membership, MembershipError};
pub use peer::{ControlPeer, NotANode, Peer, Presented};
pub use people::{
    attempts::{Attempts, Devices, Polls},
    device::{
        DEVICE_WAIT, DeviceCodes, Polled, answer_device, ask_to_sign_in, asked_to_sign_in, poll_device,
    },
    passkey::{
        Asked, PasskeyVerdict, RelyingParty, Reply, Unfit, add_passkey, ask_for_passkey, ask_to_add_passkey,
        passkey_summaries, remove_own_passkey, remove_passkey, sign_in_with_passkey,
    },
    password::{hash_password, verified, verify_password},
    requirement::{counting, require_second_factor},
    second_factor::{
        Proof, SECRET_BYTES, begin_second_factor, confirm_second_factor, remove_second_factor,
        reset_second_factor, secret_text, secret_uri, sign_in_with_code,
    },
    session::{
        By, Opened, Origin, SESSION, accept_invite, bad_invite, check_password, end_session, find_user,
        half_signed_in, invited, refused, session_summaries, sign_in,
    },
    user::{create_user, delete_user, invite_user, set_role, unlock_user, user_summaries},
};
pub use place::{Place, house};
pub use principal::{Identity, Principal};
pub use rate::{RateOf, Rates, TooMany};
pub use retention::{RetentionReconciler, report, set_retention};
pub use tenancy::{create_org, create_project};
pub use token::{Token, TokenError, TokenHash, Tokens};

/// Who asks for a change of people, and when.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Who.
    pub principal: Principal,
    /// Joins the change with the server's log.
    pub request: String,
    /// By the server's clock.
    pub now: jiff::Timestamp,
}
