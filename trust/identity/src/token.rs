//! Tokens: 256 random bits that prove who calls. Kept hashed in memory; printed only on purpose.
//!
//! A plain SHA-256 is enough to keep one: there is nothing to guess in 256 random bits, so a slow hash
//! (as passwords need) would cost each request and protect nothing.

use crate::Principal;
use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// A token in clear: `fh_` and 64 lower-case hex digits. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A text that is not a token. Does not repeat the text: it might be another secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token: one is `fh_` and 64 hex digits")]
pub struct TokenError;

impl Token {
    const PREFIX: &'static str = "fh_";

    /// A token that nobody can guess.
    pub fn generate() -> Token {
        let secret: [u8; 32] = rand::rng().random();
        Token(format!("{}{}", Token::PREFIX, hex::encode(secret)))
    }

    /// The token in clear, for its owner's eyes.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the server keeps of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl FromStr for Token {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let good = text.strip_prefix(Token::PREFIX).is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
        });
        if good { Ok(Token(text.to_owned())) } else { Err(TokenError) }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The SHA-256 of a token. Compared in constant time; deliberately not `PartialEq`.
#[derive(Debug, Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of whatever was presented.
    pub fn of(presented: &str) -> TokenHash {
        TokenHash(Sha256::digest(presented.as_bytes()).into())
    }

    /// As it was kept: 64 hex digits.
    pub fn from_hex(text: &str) -> Option<TokenHash> {
        hex::decode(text).ok()?.try_into().ok().map(TokenHash)
    }

    /// Whether both are hashes of one token. Takes the same time wherever they differ.
    pub fn matches(&self, other: &TokenHash) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl TokenHash {
    /// As the store keeps it: 64 hex digits.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

/// The tokens that the server accepts without asking the store, and whose they are.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Vec<(TokenHash, Principal)>);

impl Tokens {
    /// The one token made at first start, whose bearer is `admin`.
    pub fn admin(token: &Token) -> Tokens {
        Tokens(vec![(token.hash(), Principal::root())])
    }

    /// Whose token was presented, if it is a known one.
    pub fn authenticate(&self, presented: &str) -> Option<&Principal> {
        let hash = TokenHash::of(presented);
        self.0.iter().find(|(known, _)| known.matches(&hash)).map(|(_, principal)| principal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_read_back() {
        let (one, other) = (Token::generate(), Token::generate());
        assert_ne!(one, other);
        assert_eq!(one.reveal().parse::<Token>().unwrap(), one);
        assert_eq!(one.reveal().len(), 67);
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        let upper = Token::generate().reveal().to_uppercase();
        for bad in ["", "fh_", "hunter2", "fh_zz", upper.as_str()] {
            let error = bad.parse::<Token>().unwrap_err().to_string();
            assert!(bad.len() < 4 || !error.contains(bad), "{error}");
        }
    }

    #[test]
    fn only_the_very_token_authenticates() {
        let token = Token::generate();
        let tokens = Tokens::admin(&token);
        assert_eq!(tokens.authenticate(token.reveal()).unwrap().name, "admin");
        let mut almost = token.reveal().to_owned();
        let last = almost.pop().unwrap();
        almost.push(if last == '0' { '1' } else { '0' });
        let other = Token::generate();
        for bad in ["", "fh_", &almost, other.reveal(), &format!("{} ", token.reveal())] {
            assert!(tokens.authenticate(bad).is_none(), "{bad}");
        }
        assert!(Tokens::default().authenticate("").is_none());
    }

    #[test]
    fn nothing_prints_a_token_by_accident() {
        let token = Token::generate();
        let tokens = Tokens::admin(&token);
        assert!(!format!("{token:?} {tokens:?}").contains(&token.reveal()[3..]));
    }
}
