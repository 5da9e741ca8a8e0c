//! A change as a value: everything that one commit does, or none of it.

use crate::{AnyId, AnyResource, Fence, NewEvent, Prune, Resource, Seq, Spec, resource::json};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase", tag = "type", content = "name")]
pub enum Actor {
    /// A person, by name; `admin` is who has the token of the data directory.
    User(String),
    /// A machine, by its token's name.
    Token(String),
    /// A reconciler, by its name.
    Controller(String),
    /// A node's agent, by its id.
    Node(String),
    /// The installation itself, as at first start.
    System,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::User(name) => write!(f, "user:{name}"),
            Actor::Token(name) => write!(f, "token:{name}"),
            Actor::Controller(name) => write!(f, "controller:{name}"),
            Actor::Node(id) => write!(f, "node:{id}"),
            Actor::System => f.write_str("system"),
        }
    }
}

/// A key that at most one resource holds. It goes when its owner is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What namespace: `address`, `port`, `rollout`, …
    pub scope: String,
    /// The thing claimed.
    pub key: String,
    /// The holder, which exists once the transaction's writes are applied.
    pub owner: AnyId,
}

impl Claim {
    /// The scope of addresses: the key is one, as it prints.
    pub const ADDRESS: &str = "address";
    /// The scope of the one network that instances have their addresses in: `10.211.0.0/16`.
    pub const RANGE: &str = "instances-range";
}

/// One write within a transaction. The versions and generations that writes name are those from before
/// the transaction, so that it may write the spec and the status of what was read once. A write that
/// changes nothing causes no event and keeps the version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Write {
    /// Creates the resource (its `version` is 0, and neither id nor (kind, parent, name) exists), or
    /// replaces it whole (its `version` is the stored one).
    Put(AnyResource),
    /// Replaces the spec. Bumps the generation if the spec differs.
    Spec {
        /// Which resource; it must exist.
        id: AnyId,
        /// The whole new spec.
        spec: serde_json::Value,
        /// The generation that the writer saw; `None` writes whatever it is.
        generation: Option<u64>,
    },
    /// Replaces the status.
    Status {
        /// Which resource; it must exist.
        id: AnyId,
        /// The whole new status.
        status: serde_json::Value,
        /// The version that the writer saw; `None` writes whatever it is.
        version: Option<u64>,
    },
    /// Asks for deletion: stamps `deleting`, once.
    Deleting {
        /// Which resource; it must exist.
        id: AnyId,
    },
    /// Removes the resource and every claim it owns. Removing what is gone already is a conflict.
    Delete {
        /// Which resource.
        id: AnyId,
    },
}

/// The key under which a request may be repeated, and what to answer when it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Idempotency {
    /// Chosen by the caller, unique to the request.
    pub key: String,
    /// Stored with the commit, handed back on a repeat.
    pub answer: serde_json::Value,
}

/// Everything that one commit does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Txn {
    /// Who acts.
    pub actor: Actor,
    /// Why, in a phrase.
    pub reason: String,
    /// The request that caused it, to join it with logs.
    pub request: String,
    /// The lease under which it is decided; a stale one refuses everything.
    pub fence: Option<Fence>,
    /// Resources that must have exactly this version (0: must not exist).
    pub expect: Vec<(AnyId, u64)>,
    /// Applied in order.
    pub writes: Vec<Write>,
    /// Taken, or the whole is refused. A claim that the same owner holds already is granted.
    pub claims: Vec<Claim>,
    /// Given back before `claims` are taken: (scope, key). Absent ones are ignored.
    pub releases: Vec<(String, String)>,
    /// Appended after the one event that each write causes by itself.
    pub events: Vec<NewEvent>,
    /// Takes the oldest events off the log; the event about it comes last.
    #[serde(default)]
    pub prune: Option<Prune>,
    /// Makes a repeated request answer as the first did, changing nothing.
    pub idempotency: Option<Idempotency>,
    /// It leads to room on the disk: an engine that keeps some in reserve gives it for this.
    #[serde(default)]
    pub makes_room: bool,
}

impl Txn {
    /// A transaction that does nothing yet.
    pub fn new(actor: Actor, reason: impl Into<String>, request: impl Into<String>) -> Txn {
        Txn {
            actor,
            reason: reason.into(),
            request: request.into(),
            fence: None,
            expect: vec![],
            writes: vec![],
            claims: vec![],
            releases: vec![],
            events: vec![],
            prune: None,
            idempotency: None,
            makes_room: false,
        }
    }

    /// Creates `resource`, or replaces the version of it that was read.
    pub fn put<S: Spec>(&mut self, resource: &Resource<S>) -> &mut Txn {
        self.writes.push(Write::Put(resource.to_any()));
        self
    }

    /// Writes the spec of `resource`, if nobody changed it since it was read.
    pub fn put_spec<S: Spec>(&mut self, resource: &Resource<S>) -> &mut Txn {
        self.writes.push(Write::Spec {
            id: resource.id.into(),
            spec: json(&resource.spec),
            generation: Some(resource.generation),
        });
        self
    }

    /// Writes the status of `resource`, if nobody wrote to it since it was read.
    pub fn put_status<S: Spec>(&mut self, resource: &Resource<S>) -> &mut Txn {
        self.writes.push(Write::Status {
            id: resource.id.into(),
            status: json(&resource.status),
            version: Some(resource.version),
        });
        self
    }

    /// Writes a status whatever is there, as the only observer of `id` may.
    pub fn observe<S: Spec>(&mut self, id: S::Id, status: &S::Status) -> &mut Txn {
        self.writes.push(Write::Status { id: id.into(), status: json(status), version: None });
        self
    }

    /// Asks for the deletion of `id`.
    pub fn deleting(&mut self, id: impl Into<AnyId>) -> &mut Txn {
        self.writes.push(Write::Deleting { id: id.into() });
        self
    }

    /// Removes `id`.
    pub fn delete(&mut self, id: impl Into<AnyId>) -> &mut Txn {
        self.writes.push(Write::Delete { id: id.into() });
        self
    }

    /// Claims `(scope, key)` for `owner`.
    pub fn claim(&mut self, scope: &str, key: impl fmt::Display, owner: impl Into<AnyId>) -> &mut Txn {
        self.claims.push(Claim { scope: scope.into(), key: key.to_string(), owner: owner.into() });
        self
    }

    /// Gives `(scope, key)` back.
    pub fn release(&mut self, scope: &str, key: impl fmt::Display) -> &mut Txn {
        self.releases.push((scope.into(), key.to_string()));
        self
    }

    /// Appends an event.
    pub fn event(&mut self, subject: impl Into<AnyId>, what: &str, data: serde_json::Value) -> &mut Txn {
        self.events.push(NewEvent { subject: subject.into(), what: what.into(), data });
        self
    }

    /// Requires that `id` still has `version`.
    pub fn expect(&mut self, id: impl Into<AnyId>, version: u64) -> &mut Txn {
        self.expect.push((id.into(), version));
        self
    }

    /// Whether committing it would change nothing.
    pub fn is_empty(&self) -> bool {
        let changes = self.writes.len() + self.claims.len() + self.releases.len() + self.events.len();
        changes == 0 && self.prune.is_none()
    }
}

/// The answer to a commit that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// The new global version: the sequence number of the last event.
    pub version: Seq,
    /// The stored answer, when the transaction's idempotency key had been used before; then
    /// nothing was changed now.
    pub replayed: Option<serde_json::Value>,
}

/// Why a commit did not happen. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Somebody else wrote first; read again and decide again.
    #[error("{id} changed: expected {expected}, found {found}")]
    Stale {
        /// The contended resource.
        id: AnyId,
        /// What the transaction expected.
        expected: String,
        /// What is stored.
        found: String,
    },
    /// The resource that a write names does not exist.
    #[error("{id} does not exist")]
    Missing {
        /// The resource.
        id: AnyId,
    },
    /// Another resource of that kind and parent has the name.
    #[error("{kind} `{name}` already exists ({owner})")]
    NameTaken {
        /// The kind.
        kind: crate::Kind,
        /// The contended name.
        name: String,
        /// Who has it.
        owner: AnyId,
    },
    /// Another resource holds the claim.
    #[error("{scope} `{key}` is held by {owner}")]
    Claimed {
        /// The claim's scope.
        scope: String,
        /// The claim's key.
        key: String,
        /// Who holds it.
        owner: AnyId,
    },
    /// Whoever decided it no longer holds the lease under which it was decided.
    #[error("the lease `{lease}` was lost: decided under version {held}, it is at {found} by now")]
    LeaseLost {
        /// The lease.
        lease: String,
        /// The version that the transaction names.
        held: u64,
        /// The version that is stored; 0 if there is no such lease.
        found: u64,
    },
    /// The disk has no room for it.
    #[error("the disk that the state is kept on is full")]
    Full,
    /// The engine failed: corruption, connection lost.
    #[error("the store failed: {0}")]
    Engine(String),
}

impl CommitError {
    /// Whether reading again and deciding again can help.
    pub fn is_conflict(&self) -> bool {
        !matches!(self, CommitError::LeaseLost { .. } | CommitError::Full | CommitError::Engine(_))
    }
}
