//! Events: what happened, in the order of commits, each chained to the one before.

use crate::{Actor, AnyId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The place of an event in the log, from 1, without gaps.
pub type Seq = u64;

/// An event that a transaction asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// What it is about.
    pub subject: AnyId,
    /// `kind.verb`, as in `rollout.failed`.
    pub what: String,
    /// Details, small; never a secret.
    pub data: serde_json::Value,
}

/// One row of the event log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// Its place in the log.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// When it was committed.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Who acted.
    pub actor: Actor,
    /// The request that caused it.
    pub request: String,
    /// What it is about.
    #[schema(value_type = String)]
    pub subject: AnyId,
    /// `kind.verb`: `instance.created`, `.changed` (spec), `.observed` (status), `.deleting`,
    /// `.deleted`, or a name of the transaction's own such as `rollout.failed`.
    pub what: String,
    /// Details.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
    /// Hex SHA-256 over the hash of the row before and this row; see [`Event::chain`].
    pub hash: String,
}

impl Event {
    /// The hash before the first event.
    pub const GENESIS: &'static str = "0000000000000000000000000000000000000000000000000000000000000000";

    /// The hash this event must carry when it follows a row with hash `previous`: the SHA-256 of
    /// `previous` and of every other field, each with its length before it.
    pub fn chain(&self, previous: &str) -> String {
        let mut hasher = Sha256::new();
        let fields = [
            previous.to_owned(),
            self.seq.to_string(),
            self.time.to_string(),
            self.actor.to_string(),
            self.request.clone(),
            self.subject.to_string(),
            self.what.clone(),
            self.data.to_string(),
        ];
        for field in fields {
            hasher.update((field.len() as u64).to_be_bytes());
            hasher.update(field);
        }
        hex::encode(hasher.finalize())
    }
}
