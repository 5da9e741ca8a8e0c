//! The text of a join token: `fhj_ID_SECRET_ROOT`, made to be carried to another machine by a person.
//!
//! ID says which token it is, SECRET (128 random bits) that the bearer has it, ROOT (the fingerprint of the
//! house's root) lets the bearer verify the control plane before it says anything, as kubeadm's tokens do
//! with `--discovery-token-ca-cert-hash`.

use freehold_model::{JoinTokenId, KeyFingerprint};
use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

const PREFIX: &str = "fhj_";

/// A join token in clear. Its `Debug` shows nothing of its secret.
#[derive(Clone)]
pub struct JoinTokenText {
    /// Which token it is.
    pub id: JoinTokenId,
    /// The root of the house that it is for.
    pub root: KeyFingerprint,
    secret: Zeroizing<String>,
}

/// A text that is no join token. Does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a join token: one starts with `fhj_` and has 128 characters; `freehold node token create` makes one"
)]
pub struct JoinTokenError;

impl JoinTokenText {
    /// A token that nobody can guess.
    pub fn generate(id: JoinTokenId, root: KeyFingerprint) -> JoinTokenText {
        let secret: Zeroizing<[u8; 16]> = Zeroizing::new(rand::rng().random());
        JoinTokenText { id, root, secret: Zeroizing::new(hex::encode(*secret)) }
    }

    /// The token in clear, for whoever joins with it.
    pub fn reveal(&self) -> Zeroizing<String> {
        let id = self.id.0.to_string().to_ascii_lowercase();
        Zeroizing::new(format!("{PREFIX}{id}_{}_{}", *self.secret, self.root))
    }

    /// What the house keeps of it: the SHA-256 of its secret and id, in hex. As for [`crate::Token`], a slow
    /// hash would protect nothing.
    pub fn hash(&self) -> String {
        hex::encode(Sha256::digest(format!("{}\0{}", self.id, *self.secret)))
    }

    /// Whether `hash` is of this token. Takes the same time wherever it differs.
    pub fn matches(&self, hash: &str) -> bool {
        let own = self.hash();
        let difference = own.bytes().zip(hash.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        own.len() == hash.len() && std::hint::black_box(difference) == 0
    }
}

impl FromStr for JoinTokenText {
    type Err = JoinTokenError;
    fn from_str(text: &str) -> Result<Self, JoinTokenError> {
        let mut parts = text.trim().strip_prefix(PREFIX).ok_or(JoinTokenError)?.split('_');
        let (Some(id), Some(secret), Some(root), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JoinTokenError);
        };
        let is_hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if secret.len() != 32 || !secret.bytes().all(is_hex) {
            return Err(JoinTokenError);
        }
        Ok(JoinTokenText {
            id: format!("jtk_{id}").parse().map_err(|_| JoinTokenError)?,
            root: root.parse().map_err(|_| JoinTokenError)?,
            secret: Zeroizing::new(secret.to_owned()),
        })
    }
}

impl fmt::Debug for JoinTokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinTokenText({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> JoinTokenText {
        JoinTokenText::generate(JoinTokenId(ulid::Ulid::from_parts(1, 2)), KeyFingerprint::of(b"root"))
    }

    #[test]
    fn a_token_reads_back_and_only_it_matches_its_hash() {
        let (one, other) = (token(), token());
        let read: JoinTokenText = one.reveal().parse().unwrap();
        assert_eq!((read.id, read.root), (one.id, one.root));
        assert!(read.matches(&one.hash()));
        assert!(!other.matches(&one.hash()) && !one.matches("") && !one.matches(&one.hash()[1..]));
        assert_eq!(one.reveal().len(), 128);
    }

    #[test]
    fn nothing_prints_its_secret() {
        let one = token();
        let secret = one.reveal().split('_').nth(2).unwrap().to_owned();
        assert!(!format!("{one:?} {}", one.hash()).contains(&secret));
    }

    proptest! {
        #[test]
        fn what_is_no_token_is_refused_without_being_repeated(text in "\\PC{0,140}") {
            if let Err(error) = text.parse::<JoinTokenText>() {
                prop_assert!(text.len() < 8 || !error.to_string().contains(&text));
            }
        }

        #[test]
        fn a_changed_character_is_another_token_or_none(at in 0usize..128, with in "[0-9a-z_]") {
            let one = token();
            let mut text = one.reveal().to_string();
            text.replace_range(at..=at, &with);
            let same = *one.reveal() == text;
            let fits = text.parse::<JoinTokenText>().is_ok_and(|read| {
                read.id == one.id && read.root == one.root && read.matches(&one.hash())
            });
            prop_assert_eq!(fits, same);
        }
    }
}
