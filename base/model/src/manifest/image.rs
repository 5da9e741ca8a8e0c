//! The grammar of image references: `[host[:port]/]path[:tag][@digest]`.
//!
//! Source: github.com/distribution/reference, `reference.go` and `normalize.go`. Only the form is
//! judged here; what a reference means is up to the image store.

/// Says what is wrong with `text` as an image reference, if anything is.
pub(super) fn fault(text: &str) -> Option<&'static str> {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    // A colon before the last slash belongs to the host's port.
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[slash..].find(':') {
        Some(at) => (&rest[..slash + at], Some(&rest[slash + at + 1..])),
        None => (rest, None),
    };
    let (host, path) = match name.split_once('/') {
        Some((first, path)) if is_host(first) => (Some(first), path),
        _ => (None, name),
    };
    if name.len() > 255 {
        Some("its name is longer than 255 characters")
    } else if host.is_some_and(|host| !host_is_good(host)) {
        Some("its registry's host is not `host` or `host:port`")
    } else if !path.split('/').all(component_is_good) {
        Some("its path may have only a-z, 0-9 and, between them, `.`, `_`, `__`, `-` and `/`")
    } else if tag.is_some_and(|tag| !tag_is_good(tag)) {
        Some(
            "its tag may have only letters, digits, `_`, `.` and `-`, at most 128, and not start with `.` or `-`",
        )
    } else if digest.is_some_and(|digest| digest.parse::<crate::Digest>().is_err()) {
        Some("its digest is not `sha256:` and 64 lower-case hex digits")
    } else {
        None
    }
}

/// The first part of a name is a host when it cannot be anything else.
fn is_host(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|c| c.is_ascii_uppercase())
}

fn host_is_good(host: &str) -> bool {
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (host, None),
    };
    let label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-')
            && bytes.first().is_some_and(|c| *c != b'-')
            && bytes.last().is_some_and(|c| *c != b'-')
    };
    let host_is_good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    host_is_good && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or dashes.
fn component_is_good(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().copied().is_some_and(inner) && bytes.last().copied().is_some_and(inner);
    let joints = text.split(|c: char| inner(c as u8)).filter(|joint| !joint.is_empty());
    ends && text.is_ascii()
        && joints
            .into_iter()
            .all(|joint| matches!(joint, "." | "_" | "__") || joint.bytes().all(|c| c == b'-'))
}

fn tag_is_good(tag: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|c| word(c) || c == b'.' || c == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_as_people_write_them() {
        for good in [
            "guestbook:1",
            "nginx",
            "library/nginx:1.27-alpine",
            "ghcr.io/owner/app_x/y__z:V1.0_rc",
            "localhost:5000/a--b:latest",
            "localhost/app",
            "[::1]:5000/app:1",
            "Registry/app",
            &format!("app@sha256:{HEX}"),
            &format!("host.example:443/app:1@sha256:{HEX}"),
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
    }

    #[test]
    fn what_is_no_reference() {
        for bad in [
            "",
            ":1",
            "app:",
            "app:-1",
            "App:1",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a b",
            "ä",
            "http://host/app",
            "host:0/app",
            "host:99999/app",
            "-host.example/app",
            "[::g]/app",
            "app@sha256:12",
            "app@",
            "app:1:2",
        ] {
            assert!(fault(bad).is_some(), "{bad}");
        }
        assert!(fault(&format!("app:{}", "t".repeat(129))).is_some());
        assert!(fault(&"p/".repeat(200)).is_some());
    }
}
