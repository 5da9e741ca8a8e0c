//! Where servers are and how to sign in, kept between commands: `contexts.json` in `FREEHOLD_HOME`.
//!
//! `freehold up` and `freehold login` add to it; every other command reads the current one. It is readable by its
//! owner alone. Invariant: what one server's context is never changes because of another server.

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

/// Every server that commands were pointed at, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contexts {
    /// The one that is used where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    all: BTreeMap<String, Context>,
}

impl Contexts {
    /// What is kept. A file of the version before holds one context and no name.
    pub(crate) fn load(home: &Path) -> Outcome<Contexts> {
        if let Some(contexts) = read(&home.join("contexts.json"))? {
            return Ok(contexts);
        }
        let mut contexts = Contexts::default();
        if let Some(context) = read::<Context>(&home.join("context.json"))? {
            let name = contexts.add(context);
            contexts.current = Some(name);
        }
        Ok(contexts)
    }

    /// Writes it: whole or not at all, and for its owner alone.
    pub(crate) fn save(&self, home: &Path) -> Outcome {
        write(home, "contexts.json", self)
            .map_err(|error| Failure::local(format!("write {}", home.display()), error))
    }

    /// The one that is used where none is named, with its name.
    pub(crate) fn current(&self) -> Option<(&str, &Context)> {
        let (name, context) = self.all.get_key_value(self.current.as_ref()?)?;
        Some((name, context))
    }

    /// Each with its name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Context)> {
        self.all.iter().map(|(name, context)| (name.as_str(), context))
    }

    /// Adds the context of a server, or changes that of the same one; answers its name.
    pub(crate) fn add(&mut self, context: Context) -> String {
        let same = |it: &Context| {
            same_server(&it.url, &context.url)
                || context.token_file.is_some() && it.token_file == context.token_file
        };
        let known = self.all.iter().find(|(_, it)| same(it)).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| self.free_name(&context.url));
        self.all.insert(name.clone(), context);
        name
    }

    /// Uses the one of that name from now on.
    pub(crate) fn choose(&mut self, name: &str) -> Outcome {
        self.known(name)?;
        self.current = Some(name.to_owned());
        Ok(())
    }

    /// Forgets the one of that name.
    pub(crate) fn remove(&mut self, name: &str) -> Outcome {
        self.known(name)?;
        self.all.remove(name);
        self.current = self.current.take().filter(|current| current != name);
        Ok(())
    }

    fn known(&self, name: &str) -> Outcome {
        let names: Vec<&str> = self.all.keys().map(String::as_str).collect();
        match self.all.contains_key(name) {
            true => Ok(()),
            false if names.is_empty() => Err(Failure::not_found(
                format!("there is no context `{name}`"),
                "`freehold login --url` makes one.",
            )),
            false => Err(Failure::not_found(
                format!("there is no context `{name}`"),
                format!("There are: {}.", names.join(", ")),
            )),
        }
    }

    /// The server's host, with its port where that name is taken.
    fn free_name(&self, url: &str) -> String {
        let server = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
        let host = match server.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => server,
        };
        let host = if matches!(host, "127.0.0.1" | "localhost" | "[::1]") { "local" } else { host };
        let port = server.rsplit_once(':').map_or("", |(_, port)| port);
        let names = [host.to_owned(), format!("{host}-{port}")].into_iter();
        let numbered = (2..).map(|n| format!("{host}-{n}"));
        names.chain(numbered).find(|name| !self.all.contains_key(name)).unwrap_or_default()
    }
}

/// Whether two addresses are of one server.
pub(crate) fn same_server(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

/// What a file holds; `None` where there is none.
fn read<T: serde::de::DeserializeOwned>(file: &Path) -> Outcome<Option<T>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::local(format!("read {}", file.display()), error)),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Failure::usage(
            format!("{} cannot be read: {error}", file.display()),
            "Remove it: `freehold up` and `freehold login` write it again.",
        )
    })
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

    fn at(url: &str) -> Context {
        Context { url: url.into(), token_file: None, token: Some("t".into()) }
    }

    #[test]
    fn what_is_saved_is_loaded_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("new/freehold");
        assert_eq!(Contexts::load(&home).unwrap(), Contexts::default());
        let mut contexts = Contexts::default();
        let name = contexts.add(at("http://h:1"));
        contexts.choose(&name).unwrap();
        contexts.save(&home).unwrap();
        assert_eq!(Contexts::load(&home).unwrap(), contexts);
        let mode = fs::metadata(home.join("contexts.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&home).unwrap().count(), 1);
    }

    #[test]
    fn one_server_never_overwrites_another() {
        let mut contexts = Contexts::default();
        let names =
            ["http://127.0.0.1:7117", "http://127.0.0.1:7402/", "https://home.example", "http://[::1]:1"]
                .map(|url| contexts.add(at(url)));
        assert_eq!(names, ["local", "local-7402", "home.example", "local-1"]);
        assert_eq!(contexts.add(at("http://127.0.0.1:7402")), "local-7402", "it is the same");
        assert!(contexts.current().is_none() && contexts.choose("nope").is_err());
        contexts.choose("home.example").unwrap();
        assert_eq!(contexts.current().unwrap().1.url, "https://home.example");
        // Another address of one data folder.
        let moved = |url: &str| Context { token_file: Some("/data/token".into()), token: None, ..at(url) };
        assert_eq!(contexts.add(moved("http://127.0.0.1:9")), "local-9");
        assert_eq!(contexts.add(moved("http://127.0.0.1:10")), "local-9");
        contexts.remove("home.example").unwrap();
        assert!(contexts.current().is_none() && contexts.iter().count() == 4);
    }

    #[test]
    fn the_one_context_of_the_version_before_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "context.json", &at("http://127.0.0.1:7117")).unwrap();
        let contexts = Contexts::load(folder.path()).unwrap();
        assert_eq!(contexts.current(), Some(("local", &at("http://127.0.0.1:7117"))));
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
