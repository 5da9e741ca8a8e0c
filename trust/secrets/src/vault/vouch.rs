//! What the house gives away and takes back without keeping it: a text with an authentication code (HMAC-SHA-256)
//! under a key that only the house's root key leads to.
//!
//! Every control plane of a house has that root key, so any of them takes what another gave. Invariants: what was
//! vouched for with one purpose is not good for another; what was given just before a rotation is good after it as long as
//! the older key is kept; codes are compared in constant time.

use super::Vault;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

/// Vouches for texts of one purpose.
#[derive(Clone)]
pub struct Voucher {
    /// The newest first.
    keys: Vec<Zeroizing<[u8; 32]>>,
}

impl Vault {
    /// Vouches for texts of that purpose, under the root key as it is now.
    pub fn voucher(&self, purpose: &str) -> Voucher {
        Voucher { keys: self.keys().keys().iter().map(|key| key.derived(purpose)).collect() }
    }
}

impl Voucher {
    /// One with a key of its own, which nothing else has: for tests.
    pub fn alone() -> Voucher {
        Voucher { keys: vec![crate::Key::generate().derived("alone")] }
    }

    /// `text` with its code, 64 hex digits behind the last dot.
    pub fn seal(&self, text: &str) -> String {
        let code = self.keys.first().map(|key| code(key, text).finalize().into_bytes()).unwrap_or_default();
        format!("{text}.{}", hex::encode(code))
    }

    /// The text, if this house vouched for it.
    pub fn open<'a>(&self, given: &'a str) -> Option<&'a str> {
        let (text, shown) = given.rsplit_once('.')?;
        let shown = hex::decode(shown).ok()?;
        self.keys.iter().any(|key| code(key, text).verify_slice(&shown).is_ok()).then_some(text)
    }
}

fn code(key: &[u8; 32], text: &str) -> Hmac<Sha256> {
    let mut code = Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
    code.update(text.as_bytes());
    code
}

impl fmt::Debug for Voucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Voucher(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;
    use proptest::prelude::*;

    fn of(keys: &[&Key], purpose: &str) -> Voucher {
        Voucher { keys: keys.iter().map(|key| key.derived(purpose)).collect() }
    }

    #[test]
    fn only_the_house_and_the_purpose_vouch_and_an_older_key_does_as_long_as_it_is_kept() {
        let (old, new) = (Key::generate(), Key::generate());
        let given = of(&[&old], "a").seal("x.y");
        assert_eq!(of(&[&new, &old], "a").open(&given), Some("x.y"));
        assert_eq!(of(&[&new], "a").open(&given), None, "another house's");
        assert_eq!(of(&[&old], "b").open(&given), None, "for another purpose");
        assert_eq!(of(&[], "a").open(&of(&[], "a").seal("x")), None, "without a key");
    }

    proptest! {
        #[test]
        fn whatever_else_is_shown_is_refused(text in "\\PC{0,40}", other in "\\PC{0,80}", at: prop::sample::Index) {
            let voucher = Voucher::alone();
            let given = voucher.seal(&text);
            prop_assert_eq!(voucher.open(&given), Some(text.as_str()));
            prop_assert_eq!(voucher.open(&other), None);
            let mut bytes = given.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert_eq!(voucher.open(&changed), None);
            }
        }
    }
}
