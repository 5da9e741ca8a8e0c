//! What looks secret in what people read: variables by their names, passwords in addresses by their place.
//!
//! Called by the code that shows manifests and releases. Invariant: a masked value shows neither its characters, nor
//! its length, nor a hash of it.

/// What is shown instead.
pub const MASK: &str = "••••••";
/// Part of a name anywhere.
const ANYWHERE: [&str; 6] = ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "CREDENTIAL"];
/// A whole word of a name.
const WORDS: [&str; 7] = ["KEY", "PASS", "PWD", "PW", "AUTH", "APIKEY", "PRIVATE"];

/// Whether a variable's name says that its value is a secret.
pub fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ANYWHERE.iter().any(|part| name.contains(part)) || name.split('_').any(|word| WORDS.contains(&word))
}

/// `postgres://app:hunter2@db/shop` without the password.
pub fn without_passwords(value: &str) -> String {
    let mut shown = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(after.len());
        let (authority, left) = after.split_at(end);
        match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?, host))) {
            Some(((user, _), host)) => shown.push_str(&format!("{user}:{MASK}@{host}")),
            None => shown.push_str(authority),
        }
        rest = left;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_is_secret() {
        for name in ["DB_PASSWORD", "github_token", "SECRETS", "API_KEY", "KEY", "APP_KEY_BASE", "PGPASSWORD"]
        {
            assert!(looks_secret(name), "{name}");
        }
        for name in ["LOG", "KEYBOARD", "MONKEY", "AUTHOR", "PASSENGER_COUNT", "PATH"] {
            assert!(!looks_secret(name), "{name}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_masked() {
        let text = "postgres://app:hunter2@db:5432/shop redis://cache http://a:b:c@d";
        assert_eq!(
            without_passwords(text),
            format!("postgres://app:{MASK}@db:5432/shop redis://cache http://a:{MASK}@d")
        );
    }
}
