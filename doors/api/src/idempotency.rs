//! Repeating a request safely: the header `Idempotency-Key`, and the answer that is kept under it.
//!
//! The key is part of the very transaction that the request causes, so request and key are recorded
//! together or not at all. Invariants: one key, one operation; a key is never taken for another request; a key
//! is of whoever proved who they are, by id: a name that is taken again is not its old owner's.

use crate::{
    error::{Answer, Failure},
    state::Api,
};
use axum::http::HeaderMap;
use freehold_identity::{Identity, Principal};
use freehold_model::{Actor, AnyId, Code, Digest, Kind, Problem, ReceiptId, Txn, txn::Idempotency};
use freehold_reconcile::{SystemIds, ports::Ids as _};
use serde::{Deserialize, Serialize};

/// The key of one request, and what it asked for.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    key: String,
    request: Digest,
}

/// What is kept under a key.
#[derive(Serialize, Deserialize)]
struct Kept {
    receipt: ReceiptId,
    request: Digest,
}

/// Whose keys they are: never anybody else's, be they there or gone.
fn owner(who: &Principal) -> String {
    match who.identity {
        Identity::Root => "root".to_owned(),
        Identity::User { user, .. } => user.to_string(),
        Identity::Token(token) => token.to_string(),
        Identity::Node(node) => node.to_string(),
    }
}

impl Key {
    /// The key in `headers`, if there is one. Callers cannot reach each other's keys; those of before 0.2 were
    /// kept under names, which are read no more and are forgotten within the week.
    ///
    /// # Errors
    /// When it is empty, long, or has characters that do not print.
    pub(crate) fn of(headers: &HeaderMap, who: &Principal, request: Digest) -> Answer<Option<Key>> {
        let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
        match value.to_str() {
            Ok(text) if (1..=255).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic()) => {
                Ok(Some(Key { key: format!("operation/{}/{text}", owner(who)), request }))
            }
            _ => Err(Problem::new(Code::Invalid, "The header Idempotency-Key cannot be a key.")
                .hint("Use 1 to 255 printable ASCII characters without spaces, such as a UUID.")
                .into()),
        }
    }

    /// What a transaction carries to record that the request made `receipt`.
    pub(crate) fn keep(&self, receipt: ReceiptId) -> Idempotency {
        let kept = Kept { receipt, request: self.request.clone() };
        let answer = serde_json::to_value(kept).expect("ids and digests are JSON");
        Idempotency { key: self.key.clone(), answer }
    }

    /// The receipt that the same request made before, if it came before.
    ///
    /// Asks by a transaction that cannot commit: it expects a version of what never existed. The store
    /// looks at the key first, so it answers with what is kept, or refuses and keeps nothing.
    pub(crate) async fn replay(&self, api: &Api, actor: &Actor) -> Answer<Option<ReceiptId>> {
        let nothing = AnyId { kind: Kind::Receipt, ulid: SystemIds.ulid() };
        let mut probe = Txn::new(actor.clone(), "look up an idempotency key", "");
        probe.expect(nothing, 1);
        probe.idempotency = Some(Idempotency { key: self.key.clone(), answer: serde_json::Value::Null });
        match api.store.commit(probe).await {
            Ok(committed) => committed.replayed.map(|kept| self.read(kept)).transpose(),
            Err(conflict) if conflict.is_conflict() => Ok(None),
            Err(failed) => Err(failed.into()),
        }
    }

    /// The receipt of what was kept.
    ///
    /// # Errors
    /// When the key belongs to another request.
    pub(crate) fn read(&self, kept: serde_json::Value) -> Answer<ReceiptId> {
        let kept: Kept = serde_json::from_value(kept).map_err(Failure::internal)?;
        if kept.request == self.request {
            return Ok(kept.receipt);
        }
        Err(Problem::new(Code::Invalid, "The Idempotency-Key was used for another request.")
            .detail(format!("that request made {}", kept.receipt))
            .hint("Use a fresh key for each operation.")
            .into())
    }
}
