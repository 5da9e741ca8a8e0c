//! Resource kinds, typed ids, units, transactions as values and the manifest; pure.
//!
//! Everything that crosses a boundary in Freehold (database row, HTTP body, event) is a type of
//! this crate. It knows no clock, no randomness and no IO: callers pass those in.

pub mod access;
pub mod api;
pub mod controls;
pub mod device_sign_in;
pub mod digest;
pub mod drill;
pub mod event;
pub mod exec;
pub mod id;
pub mod inventory;
pub mod join;
pub mod kinds;
pub mod lease;
pub mod link;
pub mod logs;
pub mod manifest;
pub mod masking;
pub mod name;
pub mod network;
pub mod nodes;
pub mod oidc;
pub mod people;
pub mod placement;
pub mod plan;
pub mod problem;
pub mod prune;
pub mod public_url;
pub mod query;
pub mod quota;
pub mod rate;
pub mod resource;
pub mod retention;
pub mod role;
pub mod secrets;
pub mod sso;
pub mod tasks;
pub mod traffic;
pub mod txn;
pub mod units;

pub use digest::Digest;
pub use event::{Event, NewEvent, Seq};
pub use id::*;
pub use inventory::Inventory;
pub use kinds::*;
pub use lease::{Fence, Lease, LeaseChange};
pub use link::{Broken, Link};
pub use manifest::Manifest;
pub use name::Name;
pub use network::{Network, NetworkError};
pub use nodes::{Moving, NodeChange, NodeDrain, Stuck};
pub use placement::{
    Affinity, Displaced, Elsewhere, LabelError, LabelKey, Placed, Preempted, Rules, Selector, Spread,
    label_value,
};
pub use plan::Plan;
pub use problem::{Code, Problem};
pub use prune::{Anchor, Prune, Tombstone};
pub use public_url::{PublicUrl, PublicUrlError};
pub use query::{Page, Query};
pub use quota::{Quota, QuotaReport, Usage};
pub use rate::{Rate, RateError};
pub use resource::{AnyResource, Condition, Resource, Spec};
pub use retention::{LogRetention, Retention, RetentionReport};
pub use role::{Binding, Role};
pub use txn::{Actor, Claim, CommitError, Committed, Txn, Write};
pub use units::{Bytes, Millicores, Millis};
