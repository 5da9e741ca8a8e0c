//! What one run is given beside its launch: values that must never be in a file.
//!
//! The agent's side puts them into memory that only a descriptor names (memfd_create(2)), the shim
//! inherits the descriptor, and an exec helper gets it from the shim: so `launch.json`, the bundle, the
//! arguments and the environment of our own processes hold none of them.

use freehold_secrets::Plaintext;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, memfd_create};
use std::{
    fs::File,
    io::{self, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt as _,
    },
};
use zeroize::Zeroizing;

/// The secrets of one run. Prints no values.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Vec<(Place, Plaintext)>);

/// Where an instance finds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this environment variable.
    Variable(String),
    /// In this file, readable by the instance's user alone.
    File(String),
}

impl Secrets {
    /// None.
    pub fn none() -> Secrets {
        Secrets::default()
    }

    /// Adds one.
    ///
    /// # Errors
    /// Says why the value cannot be there; never what it is.
    pub fn add(&mut self, place: Place, value: Plaintext) -> Result<(), &'static str> {
        if matches!(place, Place::Variable(_)) && value.as_variable().is_none() {
            return Err("it is not text, or has a zero byte, which no environment variable can hold");
        }
        self.0.push((place, value));
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The environment variables.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(place, value)| match place {
            Place::Variable(name) => Some((name.as_str(), value.as_variable()?)),
            Place::File(_) => None,
        })
    }

    /// The files: path and content.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().filter_map(|(place, value)| match place {
            Place::File(path) => Some((path.as_str(), value.expose())),
            Place::Variable(_) => None,
        })
    }

    /// A descriptor of memory that holds them, and that nobody can change any more.
    pub(crate) fn to_memory(&self) -> io::Result<OwnedFd> {
        let memory = memfd_create("freehold-secrets", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(memory);
        file.write_all(&self.encoded())?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        fcntl_add_seals(&file, seals)?;
        Ok(file.into())
    }

    /// What `memory` holds.
    pub(crate) fn from_memory(memory: impl AsFd) -> io::Result<Secrets> {
        let file = File::from(memory.as_fd().try_clone_to_owned()?);
        let size = usize::try_from(fstat(&file)?.st_size).unwrap_or(0);
        let mut bytes = Zeroizing::new(vec![0; size]);
        // From its beginning, wherever others who have it are.
        file.read_exact_at(&mut bytes, 0)?;
        Secrets::decoded(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Each: `v` or `f`, the length of the name, the length of the value (32 bits, big endian), both.
    fn encoded(&self) -> Zeroizing<Vec<u8>> {
        let parts = self.0.iter().map(|(place, value)| {
            let (kind, name) = match place {
                Place::Variable(name) => (b'v', name),
                Place::File(path) => (b'f', path),
            };
            (kind, name.as_bytes(), value.expose())
        });
        let size = parts.clone().map(|(_, name, value)| 9 + name.len() + value.len()).sum();
        let mut bytes = Zeroizing::new(Vec::with_capacity(size));
        for (kind, name, value) in parts {
            bytes.push(kind);
            bytes.extend_from_slice(&(name.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value);
        }
        bytes
    }

    fn decoded(mut bytes: &[u8]) -> Option<Secrets> {
        let mut secrets = Secrets::none();
        while !bytes.is_empty() {
            let kind = *bytes.first()?;
            let length = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
            let (name_end, value_end) = (9 + length(1)?, 9 + length(1)? + length(5)?);
            let name = String::from_utf8(bytes.get(9..name_end)?.to_vec()).ok()?;
            let value = Plaintext::new(bytes.get(name_end..value_end)?.to_vec());
            let place = if kind == b'v' { Place::Variable(name) } else { Place::File(name) };
            secrets.0.push((place, value));
            bytes = &bytes[value_end..];
        }
        Some(secrets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_memory_is_read_from_it_by_everybody_who_has_it_and_changed_by_nobody() {
        let mut secrets = Secrets::none();
        secrets.add(Place::Variable("A".into()), Plaintext::new(b"hunter2".to_vec())).unwrap();
        secrets.add(Place::File("/run/b".into()), Plaintext::new(vec![0, 255, 10])).unwrap();
        let memory = secrets.to_memory().unwrap();
        for _ in 0..2 {
            let read = Secrets::from_memory(&memory).unwrap();
            assert_eq!(read.variables().collect::<Vec<_>>(), [("A", "hunter2")]);
            assert_eq!(read.files().collect::<Vec<_>>(), [("/run/b", &[0, 255, 10][..])]);
        }
        assert!(File::from(memory).write_all(b"x").is_err());
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }

    #[test]
    fn what_no_variable_can_hold_is_refused() {
        let mut secrets = Secrets::none();
        assert!(secrets.add(Place::Variable("A".into()), Plaintext::new(vec![b'a', 0])).is_err());
        assert!(secrets.is_empty());
    }
}
