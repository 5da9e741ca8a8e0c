//! Signed statements: JWS with ES256 (RFC 7515; RFC 7518, 3.4), by ring. Reads none but its own.

use super::claims::TokenClaims;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_model::SigningKey;
use freehold_secrets::Plaintext;
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        UnparsedPublicKey,
    },
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// ES256 of P-256: small, quick, and known to every client that is kept.
pub(super) const ALGORITHM: &str = "ES256";

/// The head of a token.
#[derive(Serialize, Deserialize)]
struct Head {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
    kid: String,
}

/// A new private key (PKCS#8), and what is published of it.
pub(super) fn generate(now: jiff::Timestamp) -> Option<(Plaintext, SigningKey)> {
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).ok()?;
    let private = Plaintext::new(document.as_ref().to_vec());
    let pair = open(&private)?;
    // 4, then x and y (SEC 1, 2.3.3).
    let point = pair.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
    // RFC 7638, 3.
    let thumb = Sha256::digest(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#));
    let kid = URL_SAFE_NO_PAD.encode(&thumb[..12]);
    Some((private, SigningKey { kid, x, y, created: now, sealed: None }))
}

pub(super) fn open(private: &Plaintext) -> Option<EcdsaKeyPair> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.expose(), &SystemRandom::new()).ok()
}

/// The token.
pub(super) fn sign(pair: &EcdsaKeyPair, kid: &str, claims: &TokenClaims) -> Option<String> {
    let head = Head { alg: ALGORITHM.into(), typ: Some("JWT".into()), kid: kid.to_owned() };
    let part = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
    let text =
        format!("{}.{}", part(serde_json::to_vec(&head).ok()?), part(serde_json::to_vec(claims).ok()?));
    let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).ok()?;
    Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
}

/// What one of `keys` signed, whether or not it has expired. The algorithm is ours, whatever the token says.
pub(super) fn verify(keys: &[SigningKey], token: &str) -> Option<TokenClaims> {
    let mut parts = token.split('.');
    let (head, body, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let said: Head = serde_json::from_slice(&bytes(head)?).ok()?;
    let key = keys.iter().find(|key| key.kid == said.kid && said.alg == ALGORITHM)?;
    let mut point = vec![4];
    point.extend(bytes(&key.x)?);
    point.extend(bytes(&key.y)?);
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(format!("{head}.{body}").as_bytes(), &bytes(signature)?).ok()?;
    serde_json::from_slice(&bytes(body)?).ok()
}
