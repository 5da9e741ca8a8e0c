//! Passwords: argon2id (RFC 9106), with 19 MiB, 2 passes and 1 lane, as OWASP's cheat sheet has it for servers.
//!
//! Called on threads that may block. Invariant: a try costs the same work whether there is such a user, a
//! password, or neither: what is not there is stood in for by a hash of nothing that anybody knows.

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::phc::PasswordHash,
};
use rand::Rng as _;
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// Memory, in KiB.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// The shortest and the longest that are taken, in bytes. Length is what makes a password good (NIST SP
/// 800-63B); the upper bound keeps a try cheap.
pub(crate) const LENGTHS: std::ops::RangeInclusive<usize> = 12..=256;

static VERIFIED: AtomicU64 = AtomicU64::new(0);

/// How many passwords this process has verified: the work that callers can cause.
pub fn verified() -> u64 {
    VERIFIED.load(Ordering::Relaxed)
}

/// What is kept of a password: a PHC string with a salt of its own.
///
/// # Panics
/// Never: the parameters are within argon2's bounds.
pub fn hash_password(password: &str) -> String {
    let salt: [u8; 16] = rand::rng().random();
    let hashed: PasswordHash =
        argon().hash_password_with_salt(password.as_bytes(), &salt).expect("the parameters are good");
    hashed.to_string()
}

/// Whether `password` is the one of which `kept` is kept; `None`: of nobody, at the same cost.
pub fn verify_password(kept: Option<&str>, password: &str) -> bool {
    static NOBODY: OnceLock<String> = OnceLock::new();
    VERIFIED.fetch_add(1, Ordering::Relaxed);
    let stand_in = NOBODY.get_or_init(|| hash_password(&hex::encode(rand::rng().random::<[u8; 32]>())));
    let parsed = PasswordHash::new(kept.unwrap_or(stand_in));
    let fits = parsed.is_ok_and(|hash| argon().verify_password(password.as_bytes(), &hash).is_ok());
    fits && kept.is_some()
}

fn argon() -> Argon2<'static> {
    let params = Params::new(MEMORY, PASSES, LANES, None).expect("the parameters are good");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_password_fits_and_nobody_costs_as_much() {
        let kept = hash_password("correct horse battery");
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(kept, hash_password("correct horse battery"), "a salt is used twice");
        let before = verified();
        assert!(verify_password(Some(&kept), "correct horse battery"));
        assert!(!verify_password(Some(&kept), "correct horse batterz"));
        assert!(!verify_password(None, "correct horse battery"));
        assert!(!verify_password(Some("nonsense"), ""));
        assert!(verified() - before >= 4);
    }
}
