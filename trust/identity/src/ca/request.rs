//! Reads certificate requests (PKCS #10, RFC 2986) that strangers send.
//!
//! Invariant: nothing is taken from one but its public key, and only if the request proves that its sender
//! has the private half. Whatever names, usages or lifetimes it asks for are ours to say.

use super::issue::fingerprint;
use freehold_model::{KeyFingerprint, join::MAX_CSR};
use rcgen::{CertificateSigningRequestParams, KeyPair, PublicKey, PublicKeyData};

/// A public key whose owner proved to have the private half.
#[derive(Debug)]
pub(crate) struct Proved {
    pub(crate) key: PublicKey,
    pub(crate) fingerprint: KeyFingerprint,
}

/// A certificate request that is not granted as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is too much of it.
    #[error("the certificate request is larger than {} KiB", MAX_CSR >> 10)]
    TooLarge,
    /// It is something else.
    #[error("the certificate request cannot be read: it must be one PKCS #10 request as PEM")]
    Malformed,
    /// It is not signed by the key in it.
    #[error("the certificate request is not signed with the key that it is for")]
    Signature,
    /// Its key is of another kind.
    #[error("the key of the certificate request is of a kind that is not taken: use ECDSA on P-256")]
    Algorithm,
}

impl Proved {
    /// Reads a request.
    pub(crate) fn read(pem: &str) -> Result<Proved, RequestError> {
        if pem.len() > MAX_CSR {
            return Err(RequestError::TooLarge);
        }
        let request = CertificateSigningRequestParams::from_pem(pem).map_err(|error| match error {
            rcgen::Error::InvalidCertificationRequestSignature => RequestError::Signature,
            _ => RequestError::Malformed,
        })?;
        let key = request.public_key;
        if PublicKeyData::algorithm(&key) != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(RequestError::Algorithm);
        }
        Ok(Proved { fingerprint: fingerprint(&key), key })
    }
}

/// The request that a machine sends for its key.
///
/// # Errors
/// When the key cannot sign.
pub fn request(key: &KeyPair) -> Result<String, rcgen::Error> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serialize_request(key)?.pem()
}
