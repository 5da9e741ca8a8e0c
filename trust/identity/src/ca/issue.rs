//! Makes certificates: roots, intermediates, and those of machines. Pure but for the randomness of keys and
//! serial numbers; the time is a parameter.
//!
//! All keys are ECDSA on P-256 (what rustls with ring, OpenSSL and every device speak). A certificate of a
//! machine is good for TLS clients alone and has no DNS name, so no machine can pass for the control plane.

use freehold_model::{KeyFingerprint, Millis};
use jiff::Timestamp;
use rand::Rng as _;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use time::OffsetDateTime;

/// The name that every control plane's certificate has; machines check it instead of the host they dial,
/// which may be any address of it.
pub const CONTROL_NAME: &str = "control.freehold.internal";

/// Clocks may differ by so much: certificates are valid from that long before they are made.
pub(crate) const SKEW: Millis = Millis(2 * 3_600_000);
/// The life of a machine's certificate.
pub(crate) const LEAF: Millis = Millis(24 * 3_600_000);
/// The life of an intermediate; it is replaced at two thirds.
pub(crate) const INTERMEDIATE: Millis = Millis(365 * 86_400_000);
/// The life of a root.
pub(crate) const ROOT: Millis = Millis(10 * 365 * 86_400_000);

/// From when to when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    /// `life` from now on, in whole seconds, as certificates count.
    pub(crate) fn from(now: Timestamp, life: Millis) -> Validity {
        let whole = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
        Validity { not_before: whole(now - SKEW.signed()), not_after: whole(now + life.signed()) }
    }
}

/// The time at which a certificate of that life is to be replaced: two thirds of it.
pub(crate) fn renew_at(issued: Timestamp, not_after: Timestamp) -> Timestamp {
    issued + (not_after.duration_since(issued) * 2) / 3
}

/// A key and a certificate of it.
pub(crate) struct Made {
    pub(crate) key: KeyPair,
    pub(crate) certificate: Certificate,
    pub(crate) validity: Validity,
}

/// What signs.
pub(crate) type Signer = Issuer<'static, KeyPair>;

/// A root that signs itself.
pub(crate) fn root(house: &str, number: u32, now: Timestamp) -> Result<Made, rcgen::Error> {
    let validity = Validity::from(now, ROOT);
    let (key, params) = (KeyPair::generate()?, authority(house, "root", number, validity, None));
    let certificate = params.self_signed(&key)?;
    Ok(Made { key, certificate, validity })
}

/// An intermediate, signed by a root.
pub(crate) fn intermediate(
    house: &str,
    number: u32,
    now: Timestamp,
    root: &Signer,
) -> Result<Made, rcgen::Error> {
    let validity = Validity::from(now, INTERMEDIATE);
    let (key, params) = (KeyPair::generate()?, authority(house, "intermediate", number, validity, Some(0)));
    let certificate = params.signed_by(&key, root)?;
    Ok(Made { key, certificate, validity })
}

/// The root `made` as the root before it certifies it: who trusts only that one finds a way to the new one.
pub(crate) fn cross(
    house: &str,
    number: u32,
    made: &Made,
    older: &Signer,
) -> Result<Certificate, rcgen::Error> {
    authority(house, "root", number, made.validity, None).signed_by(&made.key, older)
}

/// The certificate of a control plane.
pub(crate) fn control(house: &str, now: Timestamp, signer: &Signer) -> Result<Made, rcgen::Error> {
    let validity = Validity::from(now, LEAF);
    let key = KeyPair::generate()?;
    let mut params = leaf(&format!("spiffe://{house}/control"), "control", validity)?;
    params.subject_alt_names.push(SanType::DnsName(CONTROL_NAME.try_into()?));
    // To each other they are clients, too.
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, signer)?;
    Ok(Made { key, certificate, validity })
}

/// A machine's certificate, and its serial number.
pub(crate) fn machine(
    (house, path): (&str, &str),
    validity: Validity,
    key: &impl PublicKeyData,
    signer: &Signer,
) -> Result<(Certificate, String), rcgen::Error> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let params = leaf(&format!("spiffe://{house}/{path}"), name, validity)?;
    let serial = params.serial_number.as_ref().map(SerialNumber::to_bytes).unwrap_or_default();
    Ok((params.signed_by(key, signer)?, hex::encode(serial)))
}

/// The fingerprint of a public key.
pub(crate) fn fingerprint(key: &impl PublicKeyData) -> KeyFingerprint {
    KeyFingerprint::of(&key.subject_public_key_info())
}

fn authority(
    house: &str,
    what: &str,
    number: u32,
    validity: Validity,
    below: Option<u8>,
) -> CertificateParams {
    let mut params = named(&format!("Freehold {what} {number}"), validity);
    params.distinguished_name.push(DnType::OrganizationName, house);
    let below = below.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained);
    params.is_ca = IsCa::Ca(below);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(uri: &str, name: &str, validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = named(name, validity);
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn named(name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial());
    (params.not_before, params.not_after) = (offset(validity.not_before), offset(validity.not_after));
    params
}

/// 127 random bits, positive and without a leading zero byte (RFC 5280, 4.1.2.2).
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::rng().random();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn offset(at: Timestamp) -> OffsetDateTime {
    // Whatever a Timestamp can say and this cannot lies beyond the year 9999.
    OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// What signs with `key` in the name of the PEM `certificate`.
pub(crate) fn signer(certificate: &str, key: &[u8]) -> Result<Signer, rcgen::Error> {
    let der =
        rustls::pki_types::PrivateKeyDer::try_from(key).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    Issuer::from_ca_cert_pem(certificate, KeyPair::try_from(&der)?)
}

impl Made {
    /// What signs with it.
    pub(crate) fn signer(self) -> Result<Signer, rcgen::Error> {
        Issuer::from_ca_cert_der(self.certificate.der(), self.key)
    }
}
