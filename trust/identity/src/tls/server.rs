//! The control plane's side: shows its certificate, and asks for the machine's, which may be missing while
//! it joins; each route says whether it needs one.

use super::{TlsError, certificates, provider, store};
use jiff::Timestamp;
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use std::sync::Arc;

/// What a control plane shows and whom it trusts. Has no `Debug`: it holds a private key.
pub(crate) struct Own {
    pub(crate) chain: String,
    pub(crate) key: Vec<u8>,
    pub(crate) roots: String,
    pub(crate) renew_at: Timestamp,
}

/// How a control plane speaks TLS.
pub(crate) fn server(own: &Own) -> Result<ServerConfig, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(store(&own.roots)?, provider())
        .allow_unauthenticated()
        .build()?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.key.clone()));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&own.chain)?, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Every connection proves itself anew: nothing that was verified earlier is taken for granted.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
