//! A release: an immutable record of what was to run. Its parent is an env; its name is `v<number>`.

use super::kind;
use crate::{
    Digest, Manifest, Name, Resource,
    id::ReceiptId,
    kinds::{instance::Template, receipt::Verdict},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A release.
pub type Release = Resource<ReleaseSpec>;

/// Everything that a deploy of this release needs; never changed after it is created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReleaseSpec {
    /// 1, 2, 3, … within the env.
    pub number: u32,
    /// The manifest, with the env's overrides merged.
    #[schema(value_type = Object)]
    pub manifest: Manifest,
    /// The hash of the manifest's canonical JSON.
    pub manifest_hash: Digest,
    /// What an instance of each process is made of, image digests resolved.
    #[schema(value_type = Object)]
    pub templates: BTreeMap<Name, Template>,
}

/// Observed of a release.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ReleaseStatus {
    /// How its last rollout ended; `None` before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The evidence of that rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub receipt: Option<ReceiptId>,
}

kind!(ReleaseSpec, ReleaseStatus, ReleaseId, Release);
