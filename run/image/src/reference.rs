//! Image references: `[HOST/]NAME[:TAG][@DIGEST]`, and the grammar of their parts.
//!
//! A first component with a dot or a colon, or `localhost`, is the host of another registry (the
//! rule that docker and podman use); without one the image is in the built-in registry.

use crate::ImageError;
use freehold_model::Digest;
use std::{fmt, str::FromStr};

/// A parsed reference. Its parts satisfy the distribution spec's grammar, so they are safe as paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    host: Option<String>,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry that holds it; `None` is the built-in one.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The name within its registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The name under which the built-in registry keeps it: the host, if any, comes first.
    pub fn name(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}/{}", self.repository),
            None => self.repository.clone(),
        }
    }

    /// The tag, `latest` when none was given.
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }

    /// The digest, which says more than a tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same image, by digest.
    pub(crate) fn at_digest(&self, digest: Digest) -> Reference {
        Reference { digest: Some(digest), ..self.clone() }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        match (&self.tag, &self.digest) {
            (None, Some(digest)) => write!(f, "@{digest}"),
            (Some(tag), Some(digest)) => write!(f, ":{tag}@{digest}"),
            (_, None) => write!(f, ":{}", self.tag()),
        }
    }
}

impl FromStr for Reference {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Reference, ImageError> {
        parse(text).map_err(|reason| ImageError::Reference { text: text.chars().take(200).collect(), reason })
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => {
            (rest, Some(digest.parse().map_err(|_| "after `@` comes `sha256:` and 64 hex digits")?))
        }
        None => (text, None),
    };
    let (host, rest) = match rest.split_once('/') {
        Some((first, rest)) if is_host(first) => (Some(hub_host(first)), rest),
        _ => (None, rest),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) => (name, Some(tag)),
        None => (rest, None),
    };
    if !is_repository(name) {
        return Err(
            "a name is made of a-z, 0-9 and single `.`, `_`, `-` between them, in parts divided by `/`",
        );
    }
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err("a tag is 1 to 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`");
    }
    if host.as_deref().is_some_and(|host| !is_host_name(host)) {
        return Err("the host is not a host name or an address with an optional port");
    }
    let repository = match host.as_deref() {
        Some("docker.io") if !name.contains('/') => format!("library/{name}"),
        _ => name.to_owned(),
    };
    Ok(Reference { host, repository, tag: tag.map(str::to_owned), digest })
}

/// Docker Hub has three names; it goes by one here.
fn hub_host(host: &str) -> String {
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".into(),
        other => other.to_ascii_lowercase(),
    }
}

fn is_host(component: &str) -> bool {
    component.contains(['.', ':']) || component == "localhost"
}

fn is_host_name(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, port)) => {
            if v6.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("v6", port.strip_prefix(':').or(port.is_empty().then_some("443")))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, Some("443")),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
    };
    name.split('.').all(label) && port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Whether `name` is a repository name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, in parts divided by `/`
/// (distribution spec 1.1, "Pulling manifests"), 255 characters at most.
pub(crate) fn is_repository(name: &str) -> bool {
    name.len() <= 255 && name.split('/').all(is_component)
}

fn is_component(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends_well = part.starts_with(alphanumeric) && part.ends_with(alphanumeric);
    let separators = part.split(alphanumeric).filter(|run| !run.is_empty());
    ends_well
        && separators.into_iter().all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|c| c == b'-'))
}

/// Whether `tag` is a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(crate) fn is_tag(tag: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    (1..=128).contains(&tag.len())
        && word(tag.as_bytes()[0])
        && tag.bytes().all(|c| word(c) || matches!(c, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_names() {
        for (text, host, repository, tag) in [
            ("guestbook:1", None, "guestbook", "1"),
            ("guestbook", None, "guestbook", "latest"),
            ("team/guestbook:1", None, "team/guestbook", "1"),
            ("docker.io/nginx:1.27", Some("docker.io"), "library/nginx", "1.27"),
            ("docker.io/team/app", Some("docker.io"), "team/app", "latest"),
            ("localhost/app:x", Some("localhost"), "app", "x"),
            ("127.0.0.1:5000/a/b:x", Some("127.0.0.1:5000"), "a/b", "x"),
            ("[::1]:5000/a:x", Some("[::1]:5000"), "a", "x"),
        ] {
            let reference: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((reference.host(), reference.repository(), reference.tag()), (host, repository, tag));
        }
    }

    #[test]
    fn a_digest_is_kept_and_printed() {
        let text = format!("app:1@{}", Digest::of(b""));
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.digest(), Some(&Digest::of(b"")));
        assert_eq!(reference.to_string(), text);
        assert_eq!("app".parse::<Reference>().unwrap().to_string(), "app:latest");
    }

    #[test]
    fn what_could_be_a_path_or_a_typo_is_refused() {
        let long = format!("{}:1", "a".repeat(256));
        for bad in [
            "",
            ":1",
            "App",
            "a//b",
            "/a",
            "a/",
            "a/../b",
            "..",
            "a:.x",
            "a:",
            "a:b:c",
            "a@sha256:12",
            "a___b",
            "a..b",
            "-a",
            "a-",
            "_tags",
            "a b",
            "a.b.c/",
            "x.y:port/a",
            "[::z]:1/a",
            "a:-1",
            &long,
            "a\0b",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
        for good in ["a__b", "a---b", "a.b", "a_b-c.d/e"] {
            assert!(is_repository(good), "{good}");
        }
    }
}
