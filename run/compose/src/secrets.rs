//! What looks like a secret: by the name of its variable, or by its own look.
//!
//! It errs on the side of secrecy: a value that is taken for a secret and is none costs one command, the
//! other way round it stands in a file that is committed.

/// Parts of the names of secrets.
const MARKS: [&str; 14] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "APIKEY",
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "ENCRYPTION_KEY",
    "SIGNING_KEY",
    "CREDENTIAL",
    "AUTH_KEY",
    "LICENSE_KEY",
];
const ENDS: [&str; 6] = ["_PASS", "_PW", "_PWD", "_KEY", "_SALT", "_DSN"];
/// Ends of names that say something about a secret, and hold none.
const ABOUT: [&str; 14] = [
    "_FILE",
    "_PATH",
    "_EXPIRY",
    "_EXPIRATION",
    "_TTL",
    "_LENGTH",
    "_ENABLED",
    "_REQUIRED",
    "_METHOD",
    "_URL",
    "_HOST",
    "_NAME",
    "_PUBLIC_KEY",
    "_POLICY",
];

/// Whether a variable of this name holds a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
    let about = ABOUT.iter().any(|end| name.ends_with(end)) || name == "PUBLIC_KEY";
    let marked = MARKS.iter().any(|mark| name.contains(mark)) || name == "PASS";
    !about && (marked || ENDS.iter().any(|end| name.ends_with(end)))
}

/// Whether a value cannot be a secret, whatever its name: a switch or a small number.
pub(crate) fn is_plain_value(value: &str) -> bool {
    let switch = ["", "yes", "no", "true", "false", "on", "off", "0", "1", "none"];
    switch.contains(&value.to_ascii_lowercase().as_str())
}

/// Whether a value is a secret, whatever its name: a URL with a password, or a private key.
pub(crate) fn is_secret_value(value: &str) -> bool {
    let password =
        value.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next()?.rsplit_once('@'));
    let password = password.and_then(|(user, _)| user.split_once(':'));
    password.is_some_and(|(_, password)| !password.is_empty())
        || value.contains("-----BEGIN") && value.contains("PRIVATE KEY")
}

/// The first word of a command that gives a secret away, if any does: `--password=x`, `--requirepass x`.
pub(crate) fn in_words(words: &[String]) -> bool {
    let flag = |word: &str| {
        let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
        word.starts_with('-') && (is_secret_name(name) || name.to_ascii_lowercase().ends_with("pass"))
    };
    words.iter().enumerate().any(|(at, word)| {
        let value = match word.split_once('=') {
            Some((_, value)) => value,
            None => words.get(at + 1).map_or("", String::as_str),
        };
        flag(word) && !is_plain_value(value) && !value.starts_with(['-', '/', '$'])
    }) || words.iter().any(|word| is_secret_value(word))
}

/// A name for a secret: letters, digits and `_`, not beginning with a digit.
pub(crate) fn name_for(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    let plain: String = plain.take(100).collect();
    if plain.starts_with(|c: char| c.is_ascii_digit()) || plain.is_empty() {
        format!("_{plain}")
    } else {
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell() {
        for name in
            ["POSTGRES_PASSWORD", "db-pass", "JWT_SECRET", "GITHUB_TOKEN", "APP_KEY", "S3_SECRET_ACCESS_KEY"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in
            ["POSTGRES_PASSWORD_FILE", "TOKEN_EXPIRY", "COMPASS", "PATH", "KEYBOARD", "DB_HOST", "PUBLIC_KEY"]
        {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn values_tell() {
        assert!(is_secret_value("postgres://app:hunter2@db/app"));
        assert!(!is_secret_value("http://db:8080/a@b"));
        assert!(!is_secret_value("redis://cache:6379"));
        assert!(is_plain_value("Yes") && !is_plain_value("hunter2"));
    }

    #[test]
    fn words_tell() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(in_words(&words("redis-server --requirepass hunter2")));
        assert!(in_words(&words("x --api-key=hunter2")));
        assert!(!in_words(&words("x --password-file /run/secrets/p --verbose")));
        assert!(!in_words(&words("redis-server --appendonly yes")));
    }

    #[test]
    fn a_name_is_made_of_what_is_allowed() {
        assert_eq!(name_for("db-pass.v1"), "db_pass_v1");
        assert_eq!(name_for("1st"), "_1st");
    }
}
