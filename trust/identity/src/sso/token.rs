//! What a provider says of somebody: its ID token, read by `openidconnect` and believed only whole (OpenID Connect Core,
//! 3.1.3.7).
//!
//! Invariants: only public-key signatures count, whatever the token or the provider says, so that nobody signs with
//! what is public; the only audience is this house.

use super::relying::Metadata;
use openidconnect::{
    ClaimsVerificationError, ClientId, IdTokenVerifier, Nonce, SignatureVerificationError,
    core::{CoreIdToken, CoreJwsSigningAlgorithm as Alg},
};

/// By which signatures people are believed to be somebody.
pub(super) const ALGORITHMS: [Alg; 9] = [
    Alg::RsaSsaPkcs1V15Sha256,
    Alg::RsaSsaPkcs1V15Sha384,
    Alg::RsaSsaPkcs1V15Sha512,
    Alg::RsaSsaPssSha256,
    Alg::RsaSsaPssSha384,
    Alg::RsaSsaPssSha512,
    Alg::EcdsaP256Sha256,
    Alg::EcdsaP384Sha384,
    Alg::EdDsa,
];
/// So much may clocks differ.
const SKEW: i64 = 30;
/// A subject is no longer (OpenID Connect Core, 2).
const LONGEST: usize = 255;

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It is signed with a key that is not known: the provider may have another by now.
    UnknownKey,
    /// Anything else.
    Wrong(String),
}

/// The subject of a token, and a name for people to know them by.
pub(super) fn believed(
    token: &CoreIdToken,
    metadata: &Metadata,
    client: &ClientId,
    nonce: &Nonce,
    now: jiff::Timestamp,
) -> Result<(String, Option<String>), Doubt> {
    let time = chrono::DateTime::from_timestamp(now.as_second() - SKEW, 0).unwrap_or_default();
    let verifier = IdTokenVerifier::new_public_client(
        client.clone(),
        metadata.issuer().clone(),
        metadata.jwks().clone(),
    );
    let verifier = verifier.set_allowed_algs(ALGORITHMS).set_time_fn(move || time);
    let claims = token.claims(&verifier, nonce).map_err(|error| match error {
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey) => {
            Doubt::UnknownKey
        }
        other => Doubt::Wrong(words(&other).into()),
    })?;
    if claims.authorized_party().is_some_and(|party| party != client) {
        return Err(Doubt::Wrong("it was made for another client (azp)".into()));
    }
    let subject = claims.subject().as_str();
    if subject.is_empty() || subject.len() > LONGEST {
        return Err(Doubt::Wrong("its subject is empty or too long".into()));
    }
    let name = claims.name().and_then(|name| name.get(None)).map(|name| name.as_str());
    let shown = claims.preferred_username().map(|name| name.as_str()).or(name);
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(80).collect::<String>();
    Ok((subject.to_owned(), shown.map(clean).filter(|text| !text.is_empty())))
}

/// In words of ours, which repeat nothing of the token.
fn words(error: &ClaimsVerificationError) -> &'static str {
    match error {
        ClaimsVerificationError::Expired(_) => "it has expired; the clocks there and here may differ",
        ClaimsVerificationError::InvalidAudience(_) => "it was made for another client (aud)",
        ClaimsVerificationError::InvalidIssuer(_) => "another issuer made it (iss)",
        ClaimsVerificationError::InvalidNonce(_) => "it was made for another sign-in (nonce)",
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoSignature) => {
            "it is not signed"
        }
        ClaimsVerificationError::SignatureVerification(
            SignatureVerificationError::DisallowedAlg(_) | SignatureVerificationError::UnsupportedAlg(_),
        ) => "it is signed by an algorithm that does not count",
        ClaimsVerificationError::SignatureVerification(_) => "its signature is wrong",
        _ => "it is not as it should be",
    }
}
