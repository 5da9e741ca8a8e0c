//! The envelope that every resource wears, typed and untyped.

use crate::{AnyId, Kind};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// The wanted half of a resource, which fixes its kind, its id type and its observed half.
pub trait Spec: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// What was observed.
    type Status: Serialize + DeserializeOwned + Clone + Default + Send + Sync + 'static;
    /// The typed id.
    type Id: Copy
        + Into<AnyId>
        + TryFrom<AnyId, Error = crate::id::IdError>
        + From<ulid::Ulid>
        + Send
        + Sync
        + 'static;
    /// The kind.
    const KIND: Kind;
}

/// A resource whose kind is known: `spec` is what somebody wants, `status` what was observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource<S: Spec> {
    /// Never changes, never reused.
    pub id: S::Id,
    /// Unique among resources of this kind with the same parent.
    pub name: String,
    /// What it belongs to.
    pub parent: Option<AnyId>,
    /// Free key-value pairs, for selection.
    pub labels: BTreeMap<String, String>,
    /// Counts changes of `spec`, from 1. Zero before it is stored.
    pub generation: u64,
    /// The global version of the commit that last wrote it. Zero before it is stored.
    pub version: u64,
    /// When it was first committed.
    pub created: Timestamp,
    /// When its deletion was asked for; it goes once its finalizer is done.
    pub deleting: Option<Timestamp>,
    /// What somebody wants.
    pub spec: S,
    /// What was observed.
    pub status: S::Status,
}

/// A resource of any kind, as stored and sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Resource)]
pub struct AnyResource {
    /// Never changes, never reused: `<prefix>_<ulid>`.
    #[schema(value_type = String)]
    pub id: AnyId,
    /// What it is.
    pub kind: Kind,
    /// Unique among resources of this kind with the same parent.
    pub name: String,
    /// What it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub parent: Option<AnyId>,
    /// Free key-value pairs, for selection.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Counts changes of `spec`, from 1.
    pub generation: u64,
    /// The global version of the commit that last wrote it.
    pub version: u64,
    /// When it was first committed.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When its deletion was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deleting: Option<Timestamp>,
    /// What somebody wants; its shape depends on `kind`.
    #[schema(value_type = Object)]
    pub spec: serde_json::Value,
    /// What was observed; its shape depends on `kind`.
    #[schema(value_type = Object)]
    pub status: serde_json::Value,
}

/// A resource that is not what its kind says, or not the kind that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// The caller asked for another kind.
    #[error("{id} is not of kind {wanted}")]
    Kind {
        /// The resource.
        id: AnyId,
        /// The kind that was asked for.
        wanted: Kind,
    },
    /// The stored JSON has another shape, as after a downgrade.
    #[error("{id} cannot be read: {source}")]
    Shape {
        /// The resource.
        id: AnyId,
        /// Where the JSON departs.
        #[source]
        source: serde_json::Error,
    },
}

impl<S: Spec> Resource<S> {
    /// A resource that is not stored yet.
    pub fn new(id: S::Id, name: impl Into<String>, parent: Option<AnyId>, spec: S, now: Timestamp) -> Self {
        Resource {
            id,
            name: name.into(),
            parent,
            labels: BTreeMap::new(),
            generation: 0,
            version: 0,
            created: now,
            deleting: None,
            spec,
            status: S::Status::default(),
        }
    }

    /// The id without its type.
    pub fn any_id(&self) -> AnyId {
        self.id.into()
    }

    /// The untyped form.
    pub fn to_any(&self) -> AnyResource {
        AnyResource {
            id: self.id.into(),
            kind: S::KIND,
            name: self.name.clone(),
            parent: self.parent,
            labels: self.labels.clone(),
            generation: self.generation,
            version: self.version,
            created: self.created,
            deleting: self.deleting,
            spec: json(&self.spec),
            status: json(&self.status),
        }
    }
}

impl AnyResource {
    /// The typed form.
    ///
    /// # Errors
    /// When the kind is another, or the JSON does not fit the kind.
    pub fn typed<S: Spec>(self) -> Result<Resource<S>, ResourceError> {
        let id = self.id;
        let wrong_kind = |_| ResourceError::Kind { id, wanted: S::KIND };
        let shape = |source| ResourceError::Shape { id, source };
        Ok(Resource {
            id: S::Id::try_from(id).map_err(wrong_kind)?,
            name: self.name,
            parent: self.parent,
            labels: self.labels,
            generation: self.generation,
            version: self.version,
            created: self.created,
            deleting: self.deleting,
            spec: serde_json::from_value(self.spec).map_err(shape)?,
            status: serde_json::from_value(self.status).map_err(shape)?,
        })
    }
}

/// The JSON of a model type.
///
/// # Panics
/// If a map's keys are not strings: a defect of the type.
pub(crate) fn json<T: Serialize>(value: &T) -> serde_json::Value {
    serde_json::to_value(value).expect("model types serialise")
}

/// Why a resource is, or is not yet, as wanted. Types are CamelCase nouns: `Ready`, `Listening`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Condition {
    /// What is judged.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub state: bool,
    /// One CamelCase word for machines.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}
