//! What the writes of a transaction cause: one event each, or a refusal. The same in every engine.

use freehold_model::{AnyId, CommitError, NewEvent, Seq};
use serde_json::json;

/// What a resource was before a transaction; zeros if it did not exist.
#[derive(Clone, Copy, Default)]
pub(crate) struct Before {
    pub version: u64,
    pub generation: u64,
}

/// The event that a write causes, but for its version, which is known at the end.
pub(crate) struct Caused {
    pub id: AnyId,
    pub verb: &'static str,
    pub generation: u64,
    /// Name and parent, where the resource itself cannot be asked before or after.
    pub place: Option<(String, Option<AnyId>)>,
}

impl Caused {
    pub(crate) fn event(self, version: Seq, reason: &str) -> NewEvent {
        let mut data = json!({ "version": version, "generation": self.generation, "reason": reason });
        if let Some((name, parent)) = self.place {
            data["name"] = name.into();
            data["parent"] = json!(parent);
        }
        NewEvent { subject: self.id, what: format!("{}.{}", self.id.kind.name(), self.verb), data }
    }
}

/// The refusal of a write that names another version than the stored one.
pub(crate) fn stale(id: AnyId, expected: u64, found: u64) -> CommitError {
    let text = |version| match version {
        0 => "nothing".to_owned(),
        version => format!("version {version}"),
    };
    CommitError::Stale { id, expected: text(expected), found: text(found) }
}
