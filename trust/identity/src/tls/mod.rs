//! TLS between machines and control planes: version 1.3, both sides verified against the house's roots.
//!
//! The daemon's node door uses [`server`]; machines use
//! [`Membership::tls`](crate::Membership::tls), and [`joining`] before they have one.

mod client;
mod server;

pub use client::{Credentials, Current, joining, member, nobody};
pub(crate) use server::{Own, server};

use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject as _},
};
use std::sync::Arc;

/// What cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It is no PEM.
    #[error("no certificate or key as PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// It is no good.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// It verifies nothing.
    #[error(transparent)]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Always ring, whatever else is in the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    Ok(CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>()?)
}

fn store(roots: &str) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for root in certificates(roots)? {
        store.add(root)?;
    }
    Ok(Arc::new(store))
}
