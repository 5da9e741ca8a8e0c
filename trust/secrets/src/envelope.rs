//! Sealing and opening: an age file (age-encryption.org/v1, X25519) around the purpose and the value.
//!
//! Invariant: what was sealed for one purpose is never opened for another. Encryption alone would let
//! whoever can write to the database give the value of one name to another; so the name is inside.

use crate::Plaintext;
use age::{DecryptError, secrecy::ExposeSecret as _, x25519};
use freehold_model::{EnvId, InstanceId, Name, SecretName, UserId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

/// What a value is sealed for. Part of what is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case", deny_unknown_fields)]
pub enum Context {
    /// To be kept, as one version of a secret.
    Version {
        /// The secret's env.
        env: EnvId,
        /// The secret.
        name: SecretName,
        /// The version.
        number: u32,
    },
    /// To be committed to git, and set later. Ids may not be there yet, so this has names.
    Git {
        /// The project.
        project: Name,
        /// The app.
        app: Name,
        /// The env.
        env: Name,
        /// The secret.
        name: SecretName,
    },
    /// To be kept, as the private key of one certificate of the house's authority.
    Authority {
        /// The authority's trust domain.
        house: String,
        /// The number of the certificate.
        number: u32,
    },
    /// To be kept, as something of the house's own.
    House {
        /// What it is.
        what: String,
    },
    /// To be kept, as what the authenticator of one person shares with the house.
    SecondFactor {
        /// The person.
        user: UserId,
    },
    /// To be given to one instance by its node.
    Instance {
        /// The instance.
        instance: InstanceId,
        /// The secret.
        name: SecretName,
        /// The version.
        number: u32,
    },
}

/// The public half of a key: seals.
#[derive(Clone)]
pub struct Recipient(x25519::Recipient);

/// A whole key: opens. Its `Debug` shows the public half.
#[derive(Clone)]
pub struct Key(x25519::Identity);

/// A text that is not a key's public half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a public key: one starts with `age1` and has 62 characters")]
pub struct RecipientError;

/// Why a sealed value was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was sealed for another key.
    #[error("it is sealed under a key that is not here")]
    NoKey,
    /// It is no age file, or was changed.
    #[error("it is damaged: no sealed value, or not a whole one")]
    Damaged,
    /// It was sealed for another name.
    #[error("it was sealed for another secret, env or purpose")]
    OtherPurpose,
}

/// Seals `value` for `context` under the key of `recipient`.
///
/// # Panics
/// When memory cannot be written to.
pub fn seal(recipient: &Recipient, context: &Context, value: &Plaintext) -> Vec<u8> {
    let mut inner = Zeroizing::new(serde_json::to_vec(context).expect("a context has texts for keys"));
    // Reserved first: growing would leave a copy behind.
    inner.reserve_exact(1 + value.expose().len());
    inner.push(b'\n');
    inner.extend_from_slice(value.expose());
    age::encrypt(&recipient.0, &inner).expect("memory takes what is written to it")
}

/// Opens `sealed` with the first of `keys` that fits, if it was sealed for `context`.
///
/// # Errors
/// When no key fits, it is damaged, or it was sealed for another purpose.
pub fn open(keys: &[Key], context: &Context, sealed: &[u8]) -> Result<Plaintext, OpenError> {
    let inner = keys.iter().map(|key| age::decrypt(&key.0, sealed)).find(|opened| {
        // Another key may fit. What is damaged is so for every key.
        !matches!(opened, Err(DecryptError::NoMatchingKeys))
    });
    let inner = Zeroizing::new(inner.ok_or(OpenError::NoKey)?.map_err(|_| OpenError::Damaged)?);
    let end = inner.iter().position(|byte| *byte == b'\n').ok_or(OpenError::Damaged)?;
    let found: Context = serde_json::from_slice(&inner[..end]).map_err(|_| OpenError::OtherPurpose)?;
    if found != *context {
        return Err(OpenError::OtherPurpose);
    }
    Ok(Plaintext::new(inner[end + 1..].to_vec()))
}

impl Key {
    /// A key that nobody can guess.
    pub fn generate() -> Key {
        Key(x25519::Identity::generate())
    }

    /// The half that anybody may know.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }

    /// The key in clear, for its file.
    pub(crate) fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string().expose_secret().to_owned())
    }

    pub(crate) fn read(text: &str) -> Option<Key> {
        text.parse().ok().map(Key)
    }

    /// A key for authentication codes, of this one, for one purpose.
    pub(crate) fn derived(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut derive =
            Hmac::<Sha256>::new_from_slice(self.reveal().as_bytes()).expect("any length will do");
        derive.update(format!("freehold {purpose} 1").as_bytes());
        Zeroizing::new(derive.finalize().into_bytes().into())
    }

    /// Tells values of one secret apart: eight hex digits that depend on the key, so that nobody who
    /// sees them can try guesses.
    pub(crate) fn fingerprint(&self, env: EnvId, name: &SecretName, value: &Plaintext) -> String {
        let hmac = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
        let mut derive = hmac(self.reveal().as_bytes());
        derive.update(b"freehold secret fingerprint 1");
        let mut fingerprint = hmac(&derive.finalize().into_bytes());
        fingerprint.update(format!("{env}\0{name}\0").as_bytes());
        fingerprint.update(value.expose());
        hex::encode(&fingerprint.finalize().into_bytes()[..4])
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(of {})", self.recipient())
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;
    fn from_str(text: &str) -> Result<Self, RecipientError> {
        text.trim().parse().map(Recipient).map_err(|_| RecipientError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ulid::Ulid;

    fn context(env: u128, name: &str, number: u32) -> Context {
        Context::Version { env: EnvId(Ulid::from(env)), name: name.parse().unwrap(), number }
    }

    fn value() -> Plaintext {
        Plaintext::new(b"hunter2\n\0\xff".to_vec())
    }

    #[test]
    fn what_was_sealed_opens_with_its_key_alone() {
        let (old, key, other) = (Key::generate(), Key::generate(), Key::generate());
        let context = context(1, "A", 1);
        let sealed = seal(&key.recipient(), &context, &value());
        assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
        assert!(open(&[old, key], &context, &sealed).unwrap().is_same(&value()));
        assert_eq!(open(&[other], &context, &sealed).unwrap_err(), OpenError::NoKey);
        assert_eq!(open(&[], &context, &sealed).unwrap_err(), OpenError::NoKey);
    }

    #[test]
    fn a_sealed_value_cannot_be_moved_to_another_name_env_version_or_purpose() {
        let key = [Key::generate()];
        let sealed = seal(&key[0].recipient(), &context(1, "A", 1), &value());
        let instance = InstanceId(Ulid::from(1));
        let elsewhere = [
            context(2, "A", 1),
            context(1, "B", 1),
            context(1, "A", 2),
            Context::Instance { instance, name: "A".parse().unwrap(), number: 1 },
        ];
        for context in elsewhere {
            assert_eq!(open(&key, &context, &sealed).unwrap_err(), OpenError::OtherPurpose, "{context:?}");
        }
    }

    #[test]
    fn fingerprints_depend_on_value_secret_and_key() {
        let (one, other) = (Key::generate(), Key::generate());
        let env = EnvId(Ulid::from(1));
        let of = |key: &Key, name: &str, value: &str| {
            key.fingerprint(env, &name.parse().unwrap(), &Plaintext::new(value.into()))
        };
        assert_eq!(of(&one, "A", "x"), of(&one, "A", "x"));
        let all = [of(&one, "A", "x"), of(&one, "A", "y"), of(&one, "B", "x"), of(&other, "A", "x")];
        for (at, fingerprint) in all.iter().enumerate() {
            assert_eq!(fingerprint.len(), 8);
            assert!(!all[..at].contains(fingerprint), "{all:?}");
        }
    }

    #[test]
    fn keys_print_their_public_half_and_nothing_else() {
        let key = Key::generate();
        let shown = format!("{key:?}");
        assert!(shown.contains("age1") && !shown.contains("SECRET"), "{shown}");
        assert_eq!(
            key.recipient().to_string().parse::<Recipient>().unwrap().to_string(),
            key.recipient().to_string()
        );
        assert!("age1x".parse::<Recipient>().is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_changed_byte_or_a_cut_is_noticed(at: prop::sample::Index, change in 1u8..=255, cut: bool) {
            let key = [Key::generate()];
            let mut sealed = seal(&key[0].recipient(), &context(1, "A", 1), &value());
            let at = at.index(sealed.len());
            if cut { sealed.truncate(at) } else { sealed[at] ^= change }
            prop_assert!(open(&key, &context(1, "A", 1), &sealed).is_err());
        }
    }
}
