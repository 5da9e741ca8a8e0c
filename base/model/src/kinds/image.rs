//! A name of the house's registry, `repository:tag`, and what it means. The bytes lie in the data folders of
//! control planes.
//!
//! Written by the daemon when a tag is set or removed, at whichever control plane.

use super::kind;
use crate::{Bytes, Digest, Resource};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A name of the house's registry.
pub type Image = Resource<ImageSpec>;

/// What an image's name means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageSpec {
    /// Its manifest, or its index.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// The bytes of config and layers, over all platforms.
    pub size: Bytes,
    /// When it was pushed.
    #[schema(value_type = String, format = DateTime)]
    pub pushed: Timestamp,
    /// The control plane that it was pushed to: it has it, others fetch it from one that has.
    pub at: String,
}

/// Observed of an image.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ImageStatus {}

kind!(ImageSpec, ImageStatus, ImageId, Image);
