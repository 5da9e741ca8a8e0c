//! The machine's side: verifies that the other end is a control plane of its house, before it says anything.
//!
//! The host that was dialled proves nothing and is not looked at: a control plane has many addresses. Its
//! certificate must lead to a trusted root and have the one name of control planes, which no machine's has.

use super::{Own, TlsError, certificates, provider, store};
use crate::ca::issue::CONTROL_NAME;
use freehold_model::KeyFingerprint;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    sign::CertifiedKey,
    version::TLS13,
};
use std::{fmt, sync::Arc};
use webpki::EndEntityCert;

/// With what a machine speaks now: its certificate and key, and whom it trusts.
#[derive(Clone)]
pub struct Credentials {
    own: Arc<CertifiedKey>,
    trusts: Arc<WebPkiServerVerifier>,
}

impl Credentials {
    /// Takes `chain` and `key` of the machine, and the `roots` it trusts, all as PEM.
    ///
    /// # Errors
    /// When they cannot be used, or the key is not the certificate's.
    pub fn new(chain: &str, key: &str, roots: &str) -> Result<Credentials, TlsError> {
        let trusts = WebPkiServerVerifier::builder_with_provider(store(roots)?, provider()).build()?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let own = CertifiedKey::from_der(certificates(chain)?, key, &provider())?;
        Ok(Credentials { own: Arc::new(own), trusts })
    }

    /// Those of a control plane, which is a client to others of its house.
    pub(crate) fn of_control(own: &Own) -> Result<Credentials, TlsError> {
        let trusts = WebPkiServerVerifier::builder_with_provider(store(&own.roots)?, provider()).build()?;
        let key = PrivateKeyDer::Pkcs8(own.key.clone().into());
        let own = CertifiedKey::from_der(certificates(&own.chain)?, key, &provider())?;
        Ok(Credentials { own: Arc::new(own), trusts })
    }
}

/// Asked for the credentials at each connection, so that a renewal needs no restart.
#[derive(Clone)]
pub struct Current(Arc<dyn Fn() -> Credentials + Send + Sync>);

impl Current {
    /// What `ask` says at each time.
    pub fn new(ask: impl Fn() -> Credentials + Send + Sync + 'static) -> Current {
        Current(Arc::new(ask))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current(…)")
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some((self.0)().own)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// How a machine that has joined speaks to its control planes.
///
/// # Panics
/// Never: ring speaks TLS 1.3.
pub fn member(current: Current) -> ClientConfig {
    let builder = builder(Arc::new(Control(Trust::Current(current.clone())))).expect("ring speaks TLS 1.3");
    finished(builder.with_client_cert_resolver(Arc::new(current)))
}

/// How it speaks to them where its certificate has ended: it trusts the same, and shows nothing.
///
/// # Panics
/// Never: ring speaks TLS 1.3.
pub fn nobody(current: Current) -> ClientConfig {
    let builder = builder(Arc::new(Control(Trust::Current(current)))).expect("ring speaks TLS 1.3");
    finished(builder.with_no_client_auth())
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
struct Control(Trust);

/// Where the roots come from.
#[derive(Debug)]
enum Trust {
    /// Those of one moment.
    Fixed(Arc<WebPkiServerVerifier>),
    /// Those of each moment.
    Current(Current),
}

impl Control {
    fn roots(&self) -> Arc<WebPkiServerVerifier> {
        match &self.0 {
            Trust::Fixed(fixed) => fixed.clone(),
            Trust::Current(current) => (current.0)().trusts,
        }
    }
}

impl ServerCertVerifier for Control {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.roots().verify_server_cert(own, others, &control_name(), ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots().verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots().verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
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
        Control(Trust::Fixed(inner)).verify_server_cert(own, others, dialled, ocsp, now)
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
