//! What looks as if chance had made it: keys, tokens, hashes.

/// Beginnings that makers of tokens use, so that they are found when they leak.
const KNOWN: [&str; 34] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "gldt-",
    "sk-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "pk_live_",
    "whsec_",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "eyJ",
    "AGE-SECRET-KEY-",
    "hvs.",
    "dckr_pat_",
    "npm_",
    "pypi-",
    "SG.",
    "tskey-",
    "dop_v1_",
    "base64:",
    "$argon2",
    "PMAK-",
];

/// Whether a value has the look of a token, whatever it is called.
pub(crate) fn is_random(value: &str) -> bool {
    let value = value.trim();
    let known = KNOWN.iter().any(|start| value.len() >= start.len() + 12 && value.starts_with(start));
    known || is_hash_of_password(value) || is_uuid(value) || parts(value).any(is_made_by_chance)
}

/// A value in pieces: tokens stand in paths, lists and queries too. A digest is what its name says.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let digest = value.contains("sha256:") || value.contains("sha512:") && value.contains('@');
    let ends = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '.' | ',' | ';' | ':' | '?' | '&' | '@' | '"' | '\'' | '(' | ')' | '[' | ']' | '{' | '}'
            )
    };
    value.split(ends).filter(move |_| !digest).flat_map(|part| {
        // `KEY=TOKEN`, and slashes, which base64 has as well: the pieces and the whole.
        let inner = part.split_once('=').map_or("", |(_, value)| value);
        let path = part.starts_with('/') || part.starts_with('.') || value_is_path(part);
        let whole = if path { "" } else { part };
        [whole, inner].into_iter().chain(part.split('/'))
    })
}

/// Whether it is a path or a name with folders rather than base64: several short pieces.
fn value_is_path(part: &str) -> bool {
    let count = part.matches('/').count();
    count > 0 && part.len() / (count + 1) < 8
}

/// Twenty characters or more that change between small, capital and digit as chance does, and seldom words do.
fn is_made_by_chance(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-');
    if part.len() < 20 || part.len() > 10_000 || !part.chars().all(allowed) {
        return false;
    }
    let class = |c: char| match c {
        '0'..='9' => 0,
        'a'..='z' => 1,
        _ => 2,
    };
    let letters: Vec<char> = part.chars().filter(char::is_ascii_alphanumeric).collect();
    let classes: Vec<i32> = letters.iter().map(|c| class(*c)).collect();
    let changes: usize = part
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(|word| {
            let classes: Vec<i32> = word.chars().map(class).collect();
            let changes = classes.windows(2).filter(|pair| pair[0] != pair[1]).count();
            // A capital that begins a word is nothing odd.
            if classes.starts_with(&[2, 1]) { changes - 1 } else { changes }
        })
        .sum();
    let kinds = [0, 1, 2].iter().filter(|kind| classes.contains(kind)).count();
    let hex =
        letters.len() >= 32 && letters.iter().all(char::is_ascii_hexdigit) && letters.len() == part.len();
    kinds >= 2 && (changes * 4 >= letters.len() || hex)
}

/// `$2y$…`, `$apr1$…`, `$6$…`
fn is_hash_of_password(value: &str) -> bool {
    let hash = |at: usize| {
        let rest = &value[at + 1..];
        let kind = rest.split('$').next().unwrap_or_default();
        matches!(kind, "1" | "5" | "6" | "y" | "2a" | "2b" | "2y" | "apr1" | "7")
            && rest.matches('$').count() >= 1
            && rest.len() >= 20
    };
    value.match_indices('$').any(|(at, _)| hash(at))
}

fn is_uuid(value: &str) -> bool {
    let lengths: Vec<usize> = value.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && value.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_look_like_chance() {
        for value in [
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
            "d41d8cd98f00b204e9800998ecf8427e",
            "q1W9zX0cV8bN7mL6kJ5hG4fD",
            "https://hooks.example.org/services/T01ABCD2EFG/B02HIJK3LMN/x7Yz8Wv9Ut0Sr1Qp2On3Ml4K",
            "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.c2lnbmF0dXJl",
            "admin:$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUV",
            "admin:$apr1$abcdefgh$abcdefghijklmnopqrstu/",
            "550e8400-e29b-41d4-a716-446655440000",
            "base64:MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=",
            "token=aB3dE5gH7jK9mN1pQ3sT5vW7 x",
            "/hook/aB3dE5gH7jK9mN1pQ3sT5vW7",
            "ghp_abcdefghijklmnopqrstuvwxyz",
        ] {
            assert!(is_random(value), "{value}");
        }
    }

    #[test]
    fn settings_do_not() {
        for value in [
            "",
            "production",
            "Europe/Paris",
            "/var/lib/postgresql/17/data/pgdata",
            "http://elasticsearch-master.internal.example.org:9200",
            "ghcr.io/immich-app/immich-server:v1.135.3",
            "nginx@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "My-Application-Production-Server-01",
            "postgres,redis,elasticsearch",
            "-Xms512m -Xmx512m",
            "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16",
            "en_US.UTF-8",
            "io.confluent.metrics.reporter.ConfluentMetricsReporter",
            "0123456789",
            "2020-01-01 00:00:00 +0000 UTC",
            "PLAINTEXT://kafka:9092,EXTERNAL://localhost:29092",
            "org.apache.kafka.connect.json.JsonConverter",
            "--innodb-buffer-pool-size=512M",
            "smtp-relay-server-europe-west1",
        ] {
            assert!(!is_random(value), "{value}");
        }
    }
}
