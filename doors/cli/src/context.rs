//! Where the server is and how to sign in, kept between commands: `context.json` in `FREEHOLD_HOME`.
//!
//! `freehold up` writes it; every other command reads it. It is readable by its owner alone.

use crate::failure::{Failure, Outcome};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    env, fmt, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// A server to talk to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Context {
    /// Its address.
    pub(crate) url: String,
    /// The file that holds the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    /// The token itself, where there is no such file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("url", &self.url).field("token_file", &self.token_file).finish()
    }
}

impl Context {
    /// The token, read from its file if need be.
    pub(crate) fn token(&self) -> Outcome<Option<String>> {
        let Some(file) = &self.token_file else { return Ok(self.token.clone()) };
        match fs::read_to_string(file) {
            Ok(token) => Ok(Some(token.trim().to_owned())),
            Err(error) => Err(Failure::local(format!("read the token from {}", file.display()), error)),
        }
    }
}

/// What `freehold login` keeps: for each server, what lets its owner in. `logins.json` in `FREEHOLD_HOME`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Logins(BTreeMap<String, String>);

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Logins {
    /// What is kept.
    pub(crate) fn load(home: &Path) -> Outcome<Logins> {
        let file = home.join("logins.json");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Logins::default()),
            Err(error) => return Err(Failure::local(format!("read {}", file.display()), error)),
        };
        serde_json::from_str(&text).map_err(|_| {
            Failure::usage(format!("{} cannot be read", file.display()), "Remove it, and sign in again.")
        })
    }

    /// What lets in at `url`.
    pub(crate) fn get(&self, url: &str) -> Option<String> {
        self.0.get(url.trim_end_matches('/')).cloned()
    }

    pub(crate) fn put(&mut self, url: &str, token: String) {
        self.0.insert(url.trim_end_matches('/').to_owned(), token);
    }

    pub(crate) fn take(&mut self, url: &str) -> Option<String> {
        self.0.remove(url.trim_end_matches('/'))
    }

    /// Writes it: whole or not at all, and for its owner alone.
    pub(crate) fn save(&self, home: &Path) -> Outcome {
        write(home, "logins.json", self)
            .map_err(|error| Failure::local(format!("write {}", home.display()), error))
    }
}

/// The folder of Freehold's own settings.
pub(crate) fn home() -> Outcome<PathBuf> {
    let given = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    given("FREEHOLD_HOME")
        .or_else(|| given("XDG_CONFIG_HOME").map(|folder| folder.join("freehold")))
        .or_else(|| given("HOME").map(|folder| folder.join(".config/freehold")))
        .ok_or_else(|| {
            Failure::usage("there is no folder for settings", "Set HOME, or FREEHOLD_HOME to a folder.")
        })
}

/// The context, if `up` or a person ever wrote one.
pub(crate) fn load(home: &Path) -> Outcome<Option<Context>> {
    let file = home.join("context.json");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::local(format!("read {}", file.display()), error)),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Failure::usage(
            format!("{} cannot be read: {error}", file.display()),
            "Remove it: `freehold up` writes it again.",
        )
    })
}

/// Writes the context: whole or not at all, and for its owner alone.
pub(crate) fn save(home: &Path, context: &Context) -> Outcome {
    if load(home).is_ok_and(|there| there.as_ref() == Some(context)) {
        return Ok(());
    }
    write(home, "context.json", context)
        .map_err(|error| Failure::local(format!("write {}", home.display()), error))
}

fn write(home: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(home)?;
    let mut file = tempfile::NamedTempFile::new_in(home)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(&serde_json::to_vec_pretty(value)?)?;
    file.write_all(b"\n")?;
    file.persist(home.join(name))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("new/freehold");
        assert_eq!(load(&home).unwrap(), None);
        let context = Context { url: "http://h:1".into(), token_file: None, token: Some("t".into()) };
        save(&home, &context).unwrap();
        save(&home, &context).unwrap();
        assert_eq!(load(&home).unwrap(), Some(context));
        let mode = fs::metadata(home.join("context.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&home).unwrap().count(), 1);
    }

    #[test]
    fn the_token_comes_from_its_file_and_is_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "fht_x\n").unwrap();
        let context = Context { url: "u".into(), token_file: Some(file), token: None };
        assert_eq!(context.token().unwrap().as_deref(), Some("fht_x"));
        let context = Context { token: Some("fht_x".into()), token_file: None, ..context };
        assert!(!format!("{context:?}").contains("fht_x"));
    }
}
