//! Turns a Compose file into a manifest.
//!
//! Called by `freehold import compose`. Pure: other files and variables come through [`Outside`].
//! Invariants: what comes out is accepted by [`Manifest::parse`](freehold_model::Manifest::parse); every
//! key that asks for something and is not carried is named in [`Import::lost`]; no value that looks like a
//! secret is in the text or in any message.

mod convert;
mod dotenv;
mod draft;
mod interpolate;
mod keys;
mod load;
mod node;
mod quantity;
mod render;
mod report;
mod secrets;
mod service;
mod yaml;

pub use convert::{Import, Options, import};
pub use keys::reference;
pub use load::Outside;
pub use node::Place;
pub use report::{Lost, SecretToSet};

/// Why a Compose file cannot be converted at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// It is no YAML, or more of it than is read.
    #[error("{at}: {reason}")]
    Yaml {
        /// Where.
        at: String,
        /// What is wrong.
        reason: String,
    },
    /// It is YAML and no Compose file.
    #[error("{at}: {reason}")]
    Shape {
        /// Where.
        at: String,
        /// What is wrong.
        reason: String,
    },
    /// What came out is no manifest: a defect of the conversion.
    #[error("the result is not a valid manifest:\n{0}")]
    Invalid(String),
}
