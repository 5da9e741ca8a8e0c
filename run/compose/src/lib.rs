//! Turns a Compose file into a manifest.
//!
//! Called by `freehold import compose`. Pure: other files and variables come through [`Outside`].
//! Invariants: what comes out is accepted by [`Manifest::parse`](freehold_model::Manifest::parse); every
//! key that asks for something and is not carried is named in [`Import::lost`]; no value that looks like a
//! secret is in the text or in any message. What a file says is what docker compose v2 reads in it.

mod convert;
mod dotenv;
mod draft;
mod extend;
mod interpolate;
mod keys;
mod load;
mod merge;
mod node;
mod paths;
mod quantity;
mod random;
mod render;
mod report;
mod scalar;
mod secrets;
mod service;
mod words;
mod yaml;

pub use convert::{Import, Options, import};
pub use keys::reference;
pub use load::{Outside, chosen_files};
pub use node::Place;
pub use report::{Lost, SecretToSet};

/// A Compose file.
#[derive(Debug, Clone)]
pub struct File {
    /// How it is called in messages.
    pub name: String,
    /// What is in it.
    pub text: String,
}

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
