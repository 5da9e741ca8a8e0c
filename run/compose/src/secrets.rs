//! What looks like a secret: by the name of its variable, or by its own look.
//!
//! It errs on the side of secrecy: a value that is taken for a secret and is none costs one command, the
//! other way round it stands in a file that is committed.

use crate::random::is_random;

/// Parts of the names of secrets.
const MARKS: [&str; 25] = [
    "PASSWORD",
    "PASSWD",
    "PASSWRD",
    "PASSPHRASE",
    "PASSCODE",
    "SECRET",
    "TOKEN",
    "APIKEY",
    "API_KEY",
    "ACCESS_KEY",
    "ACCESSKEY",
    "PRIVATE_KEY",
    "PRIVATEKEY",
    "ENCRYPTION_KEY",
    "ENCRYPTIONKEY",
    "SIGNING_KEY",
    "MASTER_KEY",
    "MASTERKEY",
    "CREDENTIAL",
    "AUTH_KEY",
    "AUTHKEY",
    "LICENSE_KEY",
    "APPKEY",
    "HTPASSWD",
    "PASSKEY",
];
const ENDS: [&str; 18] = [
    "PASS",
    "_PW",
    "PWD",
    "_KEY",
    "_SALT",
    "_DSN",
    "_PSK",
    "_PAT",
    "_SEED",
    "_AUTH",
    "_CREDS",
    "_CRED",
    "_JWT",
    "_PIN",
    "_WEBHOOK",
    "WEBHOOK_URL",
    "BASIC_AUTH",
    "_PASSWORDS",
];
const NAMES: [&str; 8] = ["PW", "KEY", "SALT", "DSN", "PSK", "JWT", "AUTH", "CREDS"];
/// Ends of names that say something about a secret, and hold none.
const ABOUT: [&str; 34] = [
    "_FILE",
    "PASSFILE",
    "_PATH",
    "_DIR",
    "_EXPIRY",
    "_EXPIRATION",
    "_EXPIRES_IN",
    "_EXP",
    "_TTL",
    "_LIFETIME",
    "_LENGTH",
    "_ENABLED",
    "_DISABLED",
    "_REQUIRED",
    "_METHOD",
    "_METHODS",
    "_ALGORITHM",
    "_ALG",
    "_ISSUER",
    "_AUDIENCE",
    "_TYPE",
    "_HEADER",
    "_CLAIM",
    "_URL",
    "_HOST",
    "_PORT",
    "_NAME",
    "_USER",
    "_USERNAME",
    "_PUBLIC_KEY",
    "_PUBLICKEY",
    "_POLICY",
    "_BYPASS",
    "_COMPASS",
];

/// Whether a variable of this name holds a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace(['-', '.', ' '], "_");
    let whole = matches!(name.as_str(), "PWD" | "OLDPWD" | "PUBLIC_KEY" | "COMPASS" | "BYPASS");
    let about = !name.ends_with("WEBHOOK_URL") && ABOUT.iter().any(|end| name.ends_with(end));
    let marked = MARKS.iter().any(|mark| name.contains(mark)) || NAMES.contains(&name.as_str());
    let jwt = name.starts_with("JWT_") || name.contains("_JWT_");
    !about && !whole && (marked || jwt || ENDS.iter().any(|end| name.ends_with(end)))
}

/// Whether a value cannot be a secret, whatever its name: a switch or a small number.
pub(crate) fn is_plain_value(value: &str) -> bool {
    let switch = ["", "yes", "no", "true", "false", "on", "off", "0", "1", "none"];
    switch.contains(&value.to_ascii_lowercase().as_str())
}

/// Whether a value is a secret, whatever its name: a URL or a connection string with a password, a private
/// key, or what looks as if chance had made it.
pub(crate) fn is_secret_value(value: &str) -> bool {
    let key = value.contains("-----BEGIN") && value.contains("PRIVATE") || value.contains("PRIVATE KEY-----");
    key || has_user_and_password(value) || has_setting(value) || is_random(value)
}

/// `scheme://user:password@host`, and `user:password@tcp(host)` as MySQL has it in Go.
fn has_user_and_password(value: &str) -> bool {
    let in_url = |rest: &str| {
        let end = rest.find(['/', '?', '#', ' ']).filter(|end| rest[..*end].contains('@'));
        // A password may hold a slash, where nobody wrote it as %2F.
        let end = end.or_else(|| rest.find([' ', '"'])).unwrap_or(rest.len());
        let user = rest[..end].rsplit_once('@').map(|(user, _)| user);
        user.and_then(|user| user.split_once(':')).is_some_and(|(user, password)| {
            // `host:8080/path@x` has a port there.
            let port =
                password.split_once('/').is_some_and(|(port, _)| port.bytes().all(|c| c.is_ascii_digit()));
            !password.is_empty() && !port && !user.contains('/')
        })
    };
    let url = value.match_indices("://").any(|(at, _)| in_url(&value[at + 3..]));
    let tcp = ["@tcp(", "@unix("].iter().any(|mark| {
        let user = value.split_once(mark).map(|(user, _)| user);
        user.and_then(|user| user.rsplit_once(':')).is_some_and(|(_, password)| !password.is_empty())
    });
    url || tcp
}

/// `host=db password=x`, `Server=db;Pwd=x`, `?token=x`
fn has_setting(value: &str) -> bool {
    let pieces = value.split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '?' | ','));
    pieces.filter_map(|piece| piece.split_once('=')).any(|(name, value)| {
        let name = name.trim_start_matches('-');
        let name = name.rsplit(['/', '(', '"', '\'']).next().unwrap_or_default();
        (is_secret_name(name) || name.eq_ignore_ascii_case("pwd")) && is_telling(value)
    })
}

/// Whether the value of a flag or setting with a secret's name gives something away: no switch, path or variable.
fn is_telling(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'']);
    !is_plain_value(value) && !value.starts_with(['-', '/', '$', '{', '<', '%'])
}

/// Whether other texts that contain this secret are to be taken for secrets: not where it is a word.
pub(crate) fn is_worth_a_search(value: &str) -> bool {
    let length = value.chars().count();
    length >= 16 && !value.contains(' ') || length >= 6 && !value.chars().all(|c| c.is_ascii_lowercase())
}

/// Whether a command gives a secret away: `--password=x`, `--requirepass x`, `PGPASSWORD=x`, `-u user:x`.
pub(crate) fn in_words(words: &[String]) -> bool {
    let flag = |word: &str| {
        let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
        word.starts_with('-') && (is_secret_name(name) || name.to_ascii_lowercase().ends_with("pass"))
    };
    let user = |word: &str, next: &str| {
        matches!(word, "-u" | "--user")
            && next.split_once(':').is_some_and(|(_, password)| {
                is_telling(password) && !password.bytes().all(|c| c.is_ascii_digit())
            })
    };
    words.iter().enumerate().any(|(at, word)| {
        let next = words.get(at + 1).map_or("", String::as_str);
        let value = word.split_once('=').map_or(next, |(_, value)| value);
        flag(word) && is_telling(value) || user(word, next)
    }) || words.iter().any(|word| {
        let script = word.contains(char::is_whitespace);
        let inner: Vec<String> =
            word.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned()).collect();
        is_secret_value(word) || script && in_words(&inner)
    })
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
        for name in [
            "POSTGRES_PASSWORD",
            "db-pass",
            "JWT_SECRET",
            "GITHUB_TOKEN",
            "APP_KEY",
            "S3_SECRET_ACCESS_KEY",
            "PGPASSWORD",
            "MYSQL_PWD",
            "SMTP_PASS",
            "SSHPASS",
            "TS_AUTHKEY",
            "SENTRY_DSN",
            "JWT_SIGNER",
            "apiKey",
            "dbPassword",
            "GOOGLE_APIKEY",
            "APP_CREDENTIALS",
            "NEO4J_AUTH",
            "WIFI_PSK",
            "SLACK_WEBHOOK_URL",
            "KEY",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "POSTGRES_PASSWORD_FILE",
            "TOKEN_EXPIRY",
            "COMPASS",
            "PATH",
            "KEYBOARD",
            "DB_HOST",
            "PUBLIC_KEY",
            "PWD",
            "JWT_ALGORITHM",
            "JWT_EXPIRES_IN",
            "PGPASSFILE",
            "SMTP_USER",
            "TOKEN_URL",
            "MONKEY",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn values_tell() {
        assert!(is_secret_value("postgres://app:hunter2@db/app"));
        assert!(!is_secret_value("http://db:8080/a@b"));
        assert!(!is_secret_value("redis://cache:6379"));
        for value in [
            "user:hunter2@tcp(db:3306)/app",
            "host=db user=app password=hunter2",
            "Server=db;User Id=sa;Password=hunter2;",
            "https://example.org/hook?token=hunter2",
            "amqp://guest:hun/ter2@mq",
            "a,redis://:hunter2@cache:6379/0",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIB",
        ] {
            assert!(is_secret_value(value), "{value}");
        }
        for value in
            ["http://a:80,http://b:80", "user@example.org", "password=${PASSWORD}", "a=b;c=d", "mailto:x@y"]
        {
            assert!(!is_secret_value(value), "{value}");
        }
        assert!(is_plain_value("Yes") && !is_plain_value("hunter2"));
    }

    #[test]
    fn words_tell() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(in_words(&words("redis-server --requirepass hunter2")));
        assert!(in_words(&words("x --api-key=hunter2")));
        assert!(!in_words(&words("x --password-file /run/secrets/p --verbose")));
        assert!(!in_words(&words("redis-server --appendonly yes")));
        assert!(
            in_words(&words("curl -u admin:hunter2 http://x")) && !in_words(&words("run --user 1000:1000"))
        );
        assert!(in_words(&["sh".into(), "-c".into(), "PGPASSWORD=hunter2 psql -h db".into()]));
        assert!(!in_words(&["sh".into(), "-c".into(), "redis-cli -a \"$PASSWORD\" --pass=$X ping".into()]));
    }

    #[test]
    fn a_name_is_made_of_what_is_allowed() {
        assert_eq!(name_for("db-pass.v1"), "db_pass_v1");
        assert_eq!(name_for("1st"), "_1st");
    }
}
