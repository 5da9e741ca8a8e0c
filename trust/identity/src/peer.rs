//! Who is at the other end of a TLS connection: a machine that proved to have the key of its certificate.
//!
//! Made by the node door of the daemon after a handshake, and put into the extensions of each request of
//! the connection. Invariant: there is a [`Peer`] only where a certificate led to a root of this house.

use freehold_model::{AnyId, KeyFingerprint, MachineKind, NodeId};
use jiff::Timestamp;
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A machine that proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Which node, gateway or device it is.
    pub machine: AnyId,
    /// The key by which it is known.
    pub key: KeyFingerprint,
}

impl Peer {
    /// The node that it is, if it is one.
    pub fn node(&self) -> Option<NodeId> {
        NodeId::try_from(self.machine).ok()
    }
}

/// What a verified certificate says of its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// Who.
    pub peer: Peer,
    /// The certificate's serial number, in hex.
    pub serial: String,
    /// Until when it is valid.
    pub not_after: Timestamp,
}

/// Another control plane of this house, which proved it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlPeer;

impl ControlPeer {
    /// Reads the DER of a certificate that was verified already; `None`: it is no control plane's of that house.
    pub fn read(house: &str, der: &[u8]) -> Option<ControlPeer> {
        let der = rustls::pki_types::CertificateDer::from(der);
        let certificate = EndEntityCert::try_from(&der).ok()?;
        let mut names = certificate.valid_uri_names();
        let (Some(name), None) = (names.next(), names.next()) else { return None };
        (name == format!("spiffe://{house}/control")).then_some(ControlPeer)
    }
}

/// A certificate that leads to our root, but is no node's of this house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is not one of a machine of this house")]
pub struct NotANode;

impl Presented {
    /// Reads the DER of a certificate that was verified already, of the trust domain `house`.
    ///
    /// # Errors
    /// When it names no node of that house.
    pub fn read(house: &str, der: &[u8]) -> Result<Presented, NotANode> {
        let der = rustls::pki_types::CertificateDer::from(der);
        let certificate = EndEntityCert::try_from(&der).map_err(|_| NotANode)?;
        let mut names = certificate.valid_uri_names();
        // Exactly one, as SPIFFE wants it (X509-SVID, section 2).
        let (Some(name), None) = (names.next(), names.next()) else { return Err(NotANode) };
        let path = name.strip_prefix(&format!("spiffe://{house}/")).ok_or(NotANode)?;
        let (kind, id) = path.split_once('/').ok_or(NotANode)?;
        let machine: AnyId = id.parse().map_err(|_| NotANode)?;
        if MachineKind::of(machine).map(MachineKind::name) != Some(kind) {
            return Err(NotANode);
        }
        let peer = Peer { machine, key: KeyFingerprint::of(&certificate.subject_public_key_info()) };
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| NotANode)?;
        let not_after =
            Timestamp::from_second(parsed.validity().not_after.timestamp()).map_err(|_| NotANode)?;
        Ok(Presented { peer, serial: hex::encode(certificate.serial()), not_after })
    }
}
