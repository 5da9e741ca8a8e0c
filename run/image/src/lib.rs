//! OCI images: the registry, pulling, unpacking, and building from a folder.
//!
//! [`ImageStore`] is what the control plane and the agent hold: blobs named by their SHA-256, tags
//! that name manifests, and layers unpacked once each. [`build`], [`push`] and [`fetch`] are the
//! other side, used by the command line. Overlay mounts are the runtime's business.

mod archive;
mod blobs;
pub mod build;
mod collect;
mod error;
pub mod fetch;
mod files;
mod flight;
#[doc(hidden)]
pub mod fuzz;
mod house;
mod links;
mod manifest;
mod platform;
mod prepare;
pub mod push;
mod recent;
mod reference;
mod registry;
mod remote;
mod seen;
mod store;
mod tags;
mod unpack;
mod upstream;

pub use collect::{Began, Collect};
pub use error::ImageError;
pub use house::House;
pub use manifest::RunConfig;
pub use prepare::PreparedImage;
pub use reference::Reference;
pub use registry::{Addressed, Pusher, addressed};
pub use store::{ImageStore, Inspected};
pub use unpack::Limits;
pub use upstream::{Pieces, Upstream, UpstreamError};
