//! Where somebody goes after signing in: a path of this server, never another site.

use std::{fmt, str::FromStr};

/// A path of this server, with its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Local(String);

impl Local {
    /// Where those go who wanted nothing else.
    pub(crate) fn account() -> Local {
        Local("/account".into())
    }

    /// Whether what is there may answer with a redirect to an app. A form's answer may not lead to another site
    /// (`form-action` holds for redirects too), so such a path is gone to anew.
    pub(crate) fn may_lead_away(&self) -> bool {
        self.0.starts_with("/oidc/")
    }

    /// The sign-in page that leads there.
    pub(crate) fn after_sign_in(&self) -> String {
        self.after("/signin")
    }

    /// The page `path`, which leads there.
    pub(crate) fn after(&self, path: &str) -> String {
        let next: String = form_urlencoded::byte_serialize(self.0.as_bytes()).collect();
        if *self == Local::account() { path.into() } else { format!("{path}?next={next}") }
    }
}

impl FromStr for Local {
    type Err = &'static str;

    /// Browsers take `\` for `/`, skip tabs and line ends, and take `//` for another host: of all these, none.
    fn from_str(text: &str) -> Result<Local, &'static str> {
        let rest = text.strip_prefix('/').ok_or("is not a path of this server")?;
        let plain = text.len() <= 8192 && text.bytes().all(|c| c.is_ascii_graphic() && c != b'\\');
        let path = text.split(['?', '#']).next().unwrap_or_default();
        if !plain
            || rest.starts_with('/')
            || matches!(path, "/signin" | "/signin/code" | "/signin/passkey" | "/signout")
        {
            return Err("is not a path of this server");
        }
        Ok(Local(text.to_owned()))
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_server_are_taken() {
        for good in
            ["/account", "/oidc/authorize?client_id=a&state=b%2Fc", "/", "/a//b", "/a?u=https://x.example"]
        {
            assert!(good.parse::<Local>().is_ok(), "{good}");
        }
        let bads = [
            "",
            "account",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n/evil.example",
            " /x",
            "/a b",
            "/signout",
            "/signin?next=/signin",
            "/ü",
        ];
        for bad in bads {
            assert!(bad.parse::<Local>().is_err(), "{bad}");
        }
        assert!("/oidc/authorize".parse::<Local>().unwrap().may_lead_away());
        assert!(!"/account?next=/oidc/".parse::<Local>().unwrap().may_lead_away());
        assert_eq!("/a?b=c&d".parse::<Local>().unwrap().after_sign_in(), "/signin?next=%2Fa%3Fb%3Dc%26d");
    }
}
