//! How a registry asks for a token: `WWW-Authenticate` (RFC 9110, 11.6.1; distribution's token authentication).

use reqwest::{
    Url,
    header::{HeaderMap, WWW_AUTHENTICATE},
};

/// Where a token is given, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    realm: Url,
    service: Option<String>,
    scope: Option<String>,
}

impl Challenge {
    /// The first challenge for a bearer's token.
    pub(super) fn of(headers: &HeaderMap) -> Option<Challenge> {
        let mut values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        values.find_map(parse)
    }

    /// What to ask for a token that lets one pull from `repository`.
    pub(super) fn url(&self, repository: &str) -> Url {
        let mut url = self.realm.clone();
        let pull = format!("repository:{repository}:pull");
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &self.service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", self.scope.as_deref().unwrap_or(&pull));
        }
        url
    }
}

fn parse(text: &str) -> Option<Challenge> {
    let (scheme, mut rest) = text.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    while let Some((key, after)) = rest.split_once('=') {
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        match key.trim_start_matches([',', ' ']).trim().to_ascii_lowercase().as_str() {
            "realm" => realm = value.parse().ok(),
            "service" => service = Some(value.to_owned()),
            "scope" => scope = Some(value.to_owned()),
            _ => {}
        }
        rest = left;
    }
    Some(Challenge { realm: realm?, service, scope })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        for (text, url) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                Some(
                    "https://auth.docker.io/token?service=registry.docker.io&scope=repository%3Aa%2Fb%3Apull%2Cpush",
                ),
            ),
            (
                r#"bearer realm="https://r.example/t?x=1""#,
                Some("https://r.example/t?x=1&scope=repository%3Aapp%3Apull"),
            ),
            (
                r"Bearer realm=https://r.example/t, service=s",
                Some("https://r.example/t?service=s&scope=repository%3Aapp%3Apull"),
            ),
            (r#"Basic realm="r""#, None),
            (r#"Bearer service="s""#, None),
            (r#"Bearer realm="https://r.example"#, None),
            (r#"Bearer realm="/token""#, None),
        ] {
            assert_eq!(parse(text).map(|it| it.url("app").to_string()).as_deref(), url, "{text}");
        }
    }
}
