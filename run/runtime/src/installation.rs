//! The id of an installation: what a Freehold makes on a machine carries it, so that several on one machine,
//! and tests beside them, never take each other's for their own.
//!
//! Made once and kept in the data directory. Links, the packet filter's table and control groups are named
//! after it; what an earlier version made has no id in its name, and is renamed when it is adopted.

use freehold_model::InstanceId;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::Path,
    str::FromStr,
};

/// Four characters: of two installations on one machine the same are one in a million.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Installation(String);

const LENGTH: usize = 4;
const CHARACTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// How the names of all links begin, of every installation.
pub(crate) const LINKS: &str = "fh";
const NAME: &str = "freehold";

/// What is no id of an installation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no id of an installation: it has {LENGTH} characters of a to z and 2 to 7")]
pub struct InstallationError(String);

impl Installation {
    /// The one whose data directory this is, made if there is none.
    ///
    /// # Errors
    /// When its file cannot be read or written, or is damaged.
    pub fn of(data: &Path) -> io::Result<Installation> {
        let file = data.join("installation");
        match fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let new = Installation::random()?;
                let draft = file.with_extension("new");
                let mut written = File::create(&draft)?;
                io::Write::write_all(&mut written, format!("{new}\n").as_bytes())?;
                written.sync_all()?;
                fs::rename(&draft, &file)?;
                Ok(new)
            }
            Err(error) => Err(error),
        }
    }

    fn random() -> io::Result<Installation> {
        let mut bytes = [0; LENGTH];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let characters = bytes.map(|byte| char::from(CHARACTERS[usize::from(byte % 32)]));
        Ok(Installation(characters.iter().collect()))
    }
}

impl FromStr for Installation {
    type Err = InstallationError;

    fn from_str(text: &str) -> Result<Installation, InstallationError> {
        let fits = text.len() == LENGTH && text.bytes().all(|byte| CHARACTERS.contains(&byte));
        if fits { Ok(Installation(text.into())) } else { Err(InstallationError(text.into())) }
    }
}

impl TryFrom<String> for Installation {
    type Error = InstallationError;

    fn try_from(text: String) -> Result<Installation, InstallationError> {
        text.parse()
    }
}

impl From<Installation> for String {
    fn from(id: Installation) -> String {
        id.0
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an installation's table of the packet filter; `None`: of those of earlier versions.
pub(crate) fn table(of: Option<&Installation>) -> String {
    group(of)
}

/// The name of its parent of control groups.
pub(crate) fn group(of: Option<&Installation>) -> String {
    of.map_or_else(|| NAME.into(), |id| format!("{NAME}-{id}"))
}

/// Whether a control group is the parent of some installation's.
pub(crate) fn is_group(name: &str) -> bool {
    let id = name.strip_prefix(NAME).map(|rest| rest.strip_prefix('-').unwrap_or(rest));
    name == NAME || id.is_some_and(|id| id.parse::<Installation>().is_ok())
}

/// How the names of its links begin.
pub(crate) fn links(of: Option<&Installation>) -> String {
    of.map_or_else(|| LINKS.into(), |id| format!("{LINKS}{id}"))
}

/// The link of an instance on the node's side; links have at most 15 characters. The end of an instance's id
/// is all random bits.
pub(crate) fn link(of: Option<&Installation>, instance: InstanceId) -> String {
    let id = instance.to_string();
    match of {
        Some(_) => format!("{}{}", links(of), &id[id.len() - 9..]),
        None => format!("{LINKS}{}", &id[id.len() - 12..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let made = Installation::of(dir.path()).unwrap();
        assert_eq!(Installation::of(dir.path()).unwrap(), made);
        assert_eq!(made.to_string().parse(), Ok(made));
        fs::write(dir.path().join("installation"), "../x").unwrap();
        assert!(Installation::of(dir.path()).unwrap_err().to_string().contains("`../x` is no id"));
    }

    #[test]
    fn names_fit_and_differ() {
        let (a, b) = ("ab2c".parse().unwrap(), "ab2d".parse().unwrap());
        let (one, two) = ("ins_01jd0000000000000000000000", "ins_01jd0000000000000000000001");
        let (one, two): (InstanceId, InstanceId) = (one.parse().unwrap(), two.parse().unwrap());
        let names = [link(Some(&a), one), link(Some(&a), two), link(Some(&b), one), link(None, one)];
        assert!(names.iter().all(|name| name.len() <= 15), "{names:?}");
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "{names:?}");
        assert!(names[0].starts_with(&links(Some(&a))) && !names[2].starts_with(&links(Some(&a))));
        assert_eq!((table(None).as_str(), table(Some(&a)).as_str()), ("freehold", "freehold-ab2c"));
        assert!(is_group("freehold") && is_group("freehold-ab2c") && !is_group("freehold-doctor-1"));
    }
}
