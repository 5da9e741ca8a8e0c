//! A secret in clear, in memory alone: overwritten when dropped, printed by nothing.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::Rng as _;
use std::fmt;
use zeroize::Zeroizing;

/// A secret in clear. Its `Debug` shows nothing of it, not even its length; it has no `Display`.
#[derive(Clone)]
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
    /// Takes over `bytes`.
    pub fn new(bytes: Vec<u8>) -> Plaintext {
        Plaintext(Zeroizing::new(bytes))
    }

    /// 256 random bits as 43 letters, digits, `-` and `_`: of use in any configuration file or URL.
    pub fn generate() -> Plaintext {
        let bits: Zeroizing<[u8; 32]> = Zeroizing::new(rand::rng().random());
        Plaintext::new(URL_SAFE_NO_PAD.encode(*bits).into_bytes())
    }

    /// The bytes, for their one purpose.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The text that an environment variable can hold, if it is one.
    pub fn as_variable(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok().filter(|text| !text.contains('\0'))
    }

    /// Whether both are equal. Takes the same time wherever they differ.
    pub fn is_same(&self, other: &Plaintext) -> bool {
        let difference = self.0.iter().zip(other.0.iter()).fold(0, |sum, (a, b)| sum | (a ^ b));
        self.0.len() == other.0.len() && std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_it() {
        let value = Plaintext::new(b"hunter2".to_vec());
        assert_eq!(format!("{value:?} {:?}", Some(&value)), "Plaintext(…) Some(Plaintext(…))");
    }

    #[test]
    fn equal_is_equal_to_the_last_byte() {
        let of = |text: &str| Plaintext::new(text.as_bytes().to_vec());
        assert!(of("abc").is_same(&of("abc")));
        for other in ["abd", "ab", "abcd", ""] {
            assert!(!of("abc").is_same(&of(other)), "{other}");
        }
        assert!(!Plaintext::generate().is_same(&Plaintext::generate()));
    }

    #[test]
    fn only_text_without_zero_bytes_is_a_variable() {
        assert_eq!(Plaintext::new(b"a\nb".to_vec()).as_variable(), Some("a\nb"));
        assert_eq!(Plaintext::new(b"a\0b".to_vec()).as_variable(), None);
        assert_eq!(Plaintext::new(vec![0xff]).as_variable(), None);
    }
}
