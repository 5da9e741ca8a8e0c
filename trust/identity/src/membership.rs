//! What a machine keeps of having joined: its key, its certificate, whom it trusts, where its control planes
//! are. In the folder `identity` of its data folder, for its owner alone.
//!
//! Written by `freehold node join` and by renewals; read by `freehold node run`. Invariants: the key never
//! leaves the machine; a crash at any moment leaves a key that can join or a certificate that is good; who
//! holds a [`Membership`] speaks with the newest certificate at each new connection.

mod file;

use crate::{ca::request::request, tls};
use freehold_model::{
    AnyId, Name,
    join::{Joined, MachineCertificate},
};
use jiff::Timestamp;
use rcgen::KeyPair;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};
use zeroize::Zeroizing;

const KEY: &str = "node.key";
const CHAIN: &str = "node.pem";
const ROOTS: &str = "root.pem";
const ABOUT: &str = "node.json";

/// `node.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Which node, gateway or device this machine is.
    #[serde(rename = "node")]
    pub machine: AnyId,
    /// What it is called.
    pub name: Name,
    /// Where control planes answered when it joined: always tried.
    pub urls: Vec<String>,
    /// Where control planes answer, as they announced the last time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub announced: Vec<String>,
    /// When to ask for the next certificate.
    pub renew_at: Timestamp,
    /// Until when the certificate is valid.
    pub not_after: Timestamp,
}

/// What a machine keeps cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// Other users could have read the key.
    #[error(
        "{path} can be read by other users (mode {mode:04o}): if none of them may have the key, `chmod 600 {path}`; \
         otherwise revoke this node and join anew", path = path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something is not what it should be.
    #[error("{path} is damaged: {why}; remove the folder and join anew, with a new token", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In what way.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{path} cannot be {what}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// A machine's key, before or after it has joined. Its `Debug` shows no key.
pub struct MachineKey {
    folder: PathBuf,
    pem: Zeroizing<String>,
    key: KeyPair,
}

/// A machine that has joined. Cheap to share.
pub struct Membership {
    key: MachineKey,
    now: Arc<RwLock<Now>>,
}

/// What a renewal changes.
struct Now {
    about: About,
    speaks: tls::Credentials,
}

impl MachineKey {
    /// The key of the machine with the data folder `data`, made if there is none yet, and never another one.
    ///
    /// # Errors
    /// When it cannot be made or used, or other users could have read it.
    pub fn open(data: &Path) -> Result<MachineKey, MembershipError> {
        let folder = data.join("identity");
        let path = folder.join(KEY);
        if let Some(pem) = file::read_own(&path)? {
            let key = KeyPair::from_pem(&pem);
            let key = key.map_err(|_| MembershipError::Damaged { path, why: "it holds no key".into() })?;
            return Ok(MachineKey { folder, pem, key });
        }
        let key = KeyPair::generate();
        let key =
            key.map_err(|error| MembershipError::Damaged { path: path.clone(), why: error.to_string() })?;
        let pem = Zeroizing::new(key.serialize_pem());
        file::folder(&folder)?;
        file::replace(&path, pem.as_bytes())?;
        Ok(MachineKey { folder, pem, key })
    }

    /// The request for a certificate of it.
    ///
    /// # Panics
    /// Never: the key signs whatever it is given.
    pub fn request(&self) -> String {
        request(&self.key).expect("a P-256 key signs")
    }

    /// Keeps what joining came to.
    ///
    /// # Errors
    /// When it cannot be written, or is of no use with this key.
    pub fn keep(self, joined: &Joined, urls: Vec<String>) -> Result<Membership, MembershipError> {
        let Joined { machine, name, certificate } = joined;
        let MachineCertificate { renew_at, not_after, .. } = *certificate;
        let announced = vec![];
        let about = About { machine: *machine, name: name.clone(), urls, announced, renew_at, not_after };
        let speaks = self.credentials(&certificate.chain, &certificate.roots)?;
        self.write(&about, certificate)?;
        Ok(Membership { key: self, now: Arc::new(RwLock::new(Now { about, speaks })) })
    }

    fn credentials(&self, chain: &str, roots: &str) -> Result<tls::Credentials, MembershipError> {
        let damaged = |error: tls::TlsError| MembershipError::Damaged {
            path: self.folder.join(CHAIN),
            why: error.to_string(),
        };
        tls::Credentials::new(chain, &self.pem, roots).map_err(damaged)
    }

    /// Whom to trust comes first: while the certificate is still the old one, that is more than is needed.
    fn write(&self, about: &About, certificate: &MachineCertificate) -> Result<(), MembershipError> {
        file::replace(&self.folder.join(ROOTS), certificate.roots.as_bytes())?;
        file::replace(&self.folder.join(CHAIN), certificate.chain.as_bytes())?;
        self.write_about(about)
    }

    fn write_about(&self, about: &About) -> Result<(), MembershipError> {
        let about = serde_json::to_vec_pretty(about).unwrap_or_default();
        file::replace(&self.folder.join(ABOUT), &about)
    }
}

impl Membership {
    /// What the machine with the data folder `data` keeps; `None` where it has not joined.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(data: &Path) -> Result<Option<Membership>, MembershipError> {
        let path = data.join("identity").join(ABOUT);
        let Some(about) = file::read(&path)? else { return Ok(None) };
        let about = serde_json::from_str(&about);
        let about: About =
            about.map_err(|error| MembershipError::Damaged { path: path.clone(), why: error.to_string() })?;
        let key = MachineKey::open(data)?;
        let text = |name: &str| {
            let path = key.folder.join(name);
            file::read(&path)?.ok_or(MembershipError::Damaged { path, why: "it is missing".into() })
        };
        let speaks = key.credentials(&text(CHAIN)?, &text(ROOTS)?)?;
        Ok(Some(Membership { key, now: Arc::new(RwLock::new(Now { about, speaks })) }))
    }

    /// What is known of the machine.
    pub fn about(&self) -> About {
        self.now.read().unwrap_or_else(PoisonError::into_inner).about.clone()
    }

    /// The request for its next certificate.
    pub fn request(&self) -> String {
        self.key.request()
    }

    /// Keeps the next certificate, and speaks with it from now on.
    ///
    /// # Errors
    /// When it cannot be written, or is of no use with this machine's key.
    pub fn renewed(&self, certificate: &MachineCertificate) -> Result<(), MembershipError> {
        let speaks = self.key.credentials(&certificate.chain, &certificate.roots)?;
        let MachineCertificate { renew_at, not_after, .. } = *certificate;
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let about = About { renew_at, not_after, ..now.about.clone() };
        self.key.write(&about, certificate)?;
        *now = Now { about, speaks };
        Ok(())
    }

    /// Keeps where control planes answer, as they announce it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn announced(&self, urls: Vec<String>) -> Result<(), MembershipError> {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if now.about.announced == urls {
            return Ok(());
        }
        now.about.announced = urls;
        self.key.write_about(&now.about)
    }

    /// How it speaks to its control planes: with the certificate, and trust in the roots, that it has at the
    /// time of each connection.
    pub fn tls(&self) -> ClientConfig {
        tls::member(self.current())
    }

    /// The same without showing a certificate, as where that has ended.
    pub fn tls_of_nobody(&self) -> ClientConfig {
        tls::nobody(self.current())
    }

    fn current(&self) -> tls::Current {
        let now = self.now.clone();
        tls::Current::new(move || now.read().unwrap_or_else(PoisonError::into_inner).speaks.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    #[test]
    fn the_key_is_made_once_and_for_its_owner_alone() {
        let data = tempfile::tempdir().unwrap();
        let (first, second) =
            (MachineKey::open(data.path()).unwrap(), MachineKey::open(data.path()).unwrap());
        assert_eq!(*first.pem, *second.pem);
        let path = data.path().join("identity/node.key");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(Membership::open(data.path()).unwrap().is_none(), "it has not joined");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = MachineKey::open(data.path()).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hunter2").unwrap();
        let error = MachineKey::open(data.path()).err().unwrap().to_string();
        assert!(error.contains("join anew") && !error.contains("hunter2"), "{error}");
    }
}
