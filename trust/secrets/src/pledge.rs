//! Sealed values on their way: to a node for an instance, and as armored text for git.

use crate::{Context, Key, OpenError, Plaintext, envelope::open};
use age::armor::{ArmoredReader, ArmoredWriter, Format};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_model::{InstanceId, SecretName};
use serde::{Deserialize, Serialize};
use std::io::{Read as _, Write as _};

/// A version of a secret, sealed for the node that runs one instance. Kept by the node, so that it can
/// start the instance again while nobody else answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The secret.
    pub name: SecretName,
    /// The version.
    pub version: u32,
    /// Base64 of an age file.
    pub sealed: String,
}

impl Delivered {
    /// Opens it for the instance that it was sealed for.
    ///
    /// # Errors
    /// When it was sealed for another node or instance, or is damaged.
    pub fn open(&self, keys: &[Key], instance: InstanceId) -> Result<Plaintext, OpenError> {
        let context = Context::Instance { instance, name: self.name.clone(), number: self.version };
        open(keys, &context, &from_base64(&self.sealed)?)
    }
}

pub(crate) fn to_base64(sealed: &[u8]) -> String {
    STANDARD.encode(sealed)
}

pub(crate) fn from_base64(text: &str) -> Result<Vec<u8>, OpenError> {
    STANDARD.decode(text).map_err(|_| OpenError::Damaged)
}

/// What is sealed as text that survives git and mail (age's ASCII armor).
///
/// # Panics
/// When memory cannot be written to.
pub fn armored(sealed: &[u8]) -> String {
    let fits = "memory takes what is written to it";
    let mut writer = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).expect(fits);
    writer.write_all(sealed).expect(fits);
    String::from_utf8(writer.finish().expect(fits)).expect("armor is ASCII")
}

/// The sealed bytes of armored text.
///
/// # Errors
/// When it is not armor.
pub fn from_armor(text: &str) -> Result<Vec<u8>, OpenError> {
    let mut sealed = Vec::new();
    if !text.trim_start().starts_with("-----BEGIN AGE ENCRYPTED FILE-----") {
        return Err(OpenError::Damaged);
    }
    let read = ArmoredReader::new(text.trim().as_bytes()).read_to_end(&mut sealed);
    read.map(|_| sealed).map_err(|_| OpenError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn armor_survives_white_space_around_it_and_nothing_else_is_armor() {
        let text = armored(b"sealed bytes");
        assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"), "{text}");
        assert_eq!(from_armor(&format!("\n{text}\n\n")).unwrap(), b"sealed bytes");
        for bad in ["", "hunter2", &text[..40]] {
            assert_eq!(from_armor(bad), Err(OpenError::Damaged), "{bad}");
        }
    }
}
