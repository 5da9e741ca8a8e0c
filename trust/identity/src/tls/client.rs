//! The machine's side: verifies that the other end is a control plane of its house, before it says anything.
//!
//! The host that was dialled proves nothing and is not looked at: a control plane has many addresses. Its
//! certificate must lead to a trusted root and have the one name of control planes, which no machine's has.

use super::{TlsError, certificates, provider, store};
use crate::ca::issue::CONTROL_NAME;
use freehold_model::KeyFingerprint;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    version::TLS13,
};
use std::sync::Arc;
use webpki::EndEntityCert;

/// How a machine that has an identity speaks to its control plane: `chain` and `key` are its own, `roots`
/// those it trusts, all as PEM.
///
/// # Errors
/// When they cannot be used.
pub fn member(chain: &str, key: &str, roots: &str) -> Result<ClientConfig, TlsError> {
    let inner = WebPkiServerVerifier::builder_with_provider(store(roots)?, provider()).build()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let config = builder(Arc::new(Control(inner)))?;
    Ok(finished(config.with_client_auth_cert(certificates(chain)?, key)?))
}

/// How a machine that joins speaks to a control plane of which it knows the root's fingerprint alone.
///
/// # Errors
/// When TLS cannot be set up.
pub fn joining(root: KeyFingerprint) -> Result<ClientConfig, TlsError> {
    Ok(finished(builder(Arc::new(Pinned(root)))?.with_no_client_auth()))
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn builder(verifier: Arc<dyn ServerCertVerifier>) -> Result<Builder, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier))
}

fn finished(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    config
}

fn control_name() -> ServerName<'static> {
    ServerName::try_from(CONTROL_NAME).expect("it is a DNS name")
}

/// Takes control planes of the house, whatever they were dialled as.
#[derive(Debug)]
struct Control(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Control {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.verify_server_cert(own, others, &control_name(), ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Takes control planes whose chain, as they show it, holds the root with this fingerprint and leads to it.
#[derive(Debug)]
struct Pinned(KeyFingerprint);

impl Pinned {
    fn root(&self, others: &[CertificateDer<'_>]) -> Option<CertificateDer<'static>> {
        let is_it = |one: &&CertificateDer<'_>| {
            let certificate = EndEntityCert::try_from(*one);
            certificate.is_ok_and(|it| KeyFingerprint::of(&it.subject_public_key_info()) == self.0)
        };
        others.iter().find(is_it).map(|root| root.clone().into_owned())
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = self.root(others).ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(root)?;
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let inner = inner.map_err(|error| Error::General(error.to_string()))?;
        Control(inner).verify_server_cert(own, others, dialled, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, own, signed, &schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, own, signed, &schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
