//! `[sign_in]`: people sign in to the app through the house, which is its OpenID provider.
//!
//! Checked by `parse` as the env has it, and turned by `fill` into what the process is given: the client's secret is
//! a secret like any other. [`Manifest::name_issuer`] adds what only the server knows. Invariant: a redirect URI is
//! absolute, and compared letter by letter, so what could mean two things is refused here.

use super::{
    Manifest, SecretUse,
    report::Report,
    resolve::unknown_process,
    scalar::shown,
    tree::{Data, Fields, Node},
};
use crate::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The secret that a client proves itself with; every env has its own.
pub const CLIENT_SECRET: &str = "OIDC_CLIENT_SECRET";
/// What is longer is a mistake.
const LONGEST: usize = 1000;

/// How people sign in to the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// The process that asks.
    pub process: Name,
    /// Where codes may be sent to.
    pub redirect: Vec<String>,
    /// Where people may be sent after they signed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_sign_out: Vec<String>,
    /// The variables that tell the process.
    pub env: SignInEnv,
}

/// The environment variables that tell a process how people sign in to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInEnv {
    /// The address of the provider.
    pub issuer: String,
    /// The client's name.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: String,
}

/// What `[sign_in]` is in `env`, once it was found to fit.
pub(super) fn resolve(file: &Node, env: &str, processes: &Fields, report: &mut Report<'_>) -> Option<Node> {
    let base = file.get("sign_in");
    let mut wanted = base.cloned();
    if let Some(base) = base {
        check(base, processes, report);
    }
    for (name, node) in file.get("env").and_then(Node::fields).into_iter().flatten() {
        let Some(over) = node.get("sign_in") else { continue };
        let Some(base) = base else {
            report.error(&over.key, "there is no `[sign_in]` to change", "write it for the whole file first");
            continue;
        };
        let merged = base.merged(over);
        check(&merged, processes, report);
        if name == env {
            wanted = Some(merged);
        }
    }
    wanted
}

fn check(sign_in: &Node, processes: &Fields, report: &mut Report<'_>) {
    let Some(name) = sign_in.text("process") else { return };
    let Some(process) = processes.get(name) else {
        if let Some(node) = sign_in.get("process") {
            unknown_process(&node.span, name, processes, "it must be the NAME of a `[process.NAME]`", report);
        }
        return;
    };
    let mut taken: BTreeSet<&str> = process
        .get("env")
        .and_then(Node::fields)
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    for secret in process.list("secrets") {
        match &secret.data {
            Data::Text(name) => drop(taken.insert(name)),
            _ if secret.get("file").is_none() => taken.extend(secret.text("env").or(secret.text("name"))),
            _ => {}
        }
    }
    let names = sign_in.get("env");
    for (key, default) in super::keys::SIGN_IN_VARIABLES {
        let said = names.and_then(|names| names.text(key));
        if !taken.insert(said.unwrap_or(default)) {
            let at = names.and_then(|names| names.get(key)).map_or(&sign_in.key, |node| &node.span);
            let message =
                format!("the variable `{}` has another value already", shown(said.unwrap_or(default)));
            report.error(at, message, format!("choose another name: env = {{ {key} = \"OTHER\" }}"));
        }
    }
}

/// What is wrong with a redirect URI.
pub(super) fn fault(text: &str) -> Option<&'static str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Some("it is not absolute") };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    if !matches!(scheme, "https" | "http") {
        Some("it is neither https nor http")
    } else if text.len() > LONGEST {
        Some("it is too long")
    } else if text
        .bytes()
        .any(|c| !c.is_ascii_graphic() || matches!(c, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`'))
    {
        Some("it has white space, or letters that must be written as %XX")
    } else if text.contains('#') {
        Some("it has a fragment, `#`")
    } else if text.contains('*') {
        Some("it has a `*`, and none is filled in")
    } else if authority.contains('@') {
        Some("it has a user")
    } else if host.is_empty() || rest.split(['/', '?']).any(|part| part == "..") {
        Some("it has no host, or a `..`")
    } else {
        None
    }
}

impl Manifest {
    /// Tells the process that people sign in to who signs them in, and by which name it is known there; opens the
    /// way to it. `issuer` is an address that [`fault`] has nothing against.
    pub fn name_issuer(&mut self, issuer: &str, client: &str) {
        let Some(sign_in) = &self.sign_in else { return };
        let Some(process) = self.process.get_mut(&sign_in.process) else { return };
        process.env.insert(sign_in.env.issuer.clone(), issuer.to_owned());
        process.env.insert(sign_in.env.client_id.clone(), client.to_owned());
        let rest = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let port = if issuer.starts_with("https") { 443 } else { 80 };
        let bare = authority.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err());
        let text = if bare { format!("{authority}:{port}/tcp") } else { format!("{authority}/tcp") };
        // Without walls there is nothing to open; and instances have no way to IPv6.
        if process.driver == super::Driver::Container
            && let Ok(way) = text.parse()
            && !process.egress.contains(&way)
        {
            process.egress.push(way);
        }
    }

    /// Gives the process that people sign in to its secret; part of filling a manifest.
    pub(super) fn add_client_secret(&mut self) {
        let Some(sign_in) = &self.sign_in else { return };
        let Some(process) = self.process.get_mut(&sign_in.process) else { return };
        let (Ok(name), env) = (CLIENT_SECRET.parse(), Some(sign_in.env.client_secret.clone())) else {
            return;
        };
        process.secrets.push(SecretUse { name, env, file: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "schema = 1\napp = \"a\"\n[process.web]\nimage = \"a\"\n";

    fn parse(more: &str, env: &str) -> Result<Manifest, super::super::Diagnostics> {
        Manifest::parse("freehold.toml", &format!("{APP}{more}"), &env.parse().unwrap())
    }

    #[test]
    fn the_process_gets_a_secret_and_is_told_who_signs_people_in() {
        let text = "[sign_in]\nprocess = \"web\"\nredirect = [\"https://a.example/cb\"]\nenv = { issuer = \"ISS\" }\n\
                    [env.test.sign_in]\nredirect = [\"http://127.0.0.1:8000/cb\"]\n";
        let mut prod = parse(text, "prod").unwrap();
        assert_eq!(prod.sign_in.as_ref().unwrap().redirect, ["https://a.example/cb"]);
        assert_eq!(parse(text, "test").unwrap().sign_in.unwrap().redirect, ["http://127.0.0.1:8000/cb"]);
        prod.name_issuer("https://home.example", "default.a.prod");
        let web = &prod.process["web"];
        assert_eq!(web.env["ISS"], "https://home.example");
        assert_eq!(web.env["OIDC_CLIENT_ID"], "default.a.prod");
        assert_eq!(web.secrets[0].name.as_str(), CLIENT_SECRET);
        assert_eq!(web.egress[0].to_string(), "home.example:443/tcp");
    }

    #[test]
    fn what_cannot_be_is_said_with_the_way_out() {
        let sign_in = "[sign_in]\nprocess = \"web\"\nredirect = [\"https://a.example/cb\"]\n";
        for (text, expected) in [
            ("[sign_in]\nprocess = \"wbe\"\nredirect = [\"https://a/cb\"]\n".to_owned(), "no process `wbe`"),
            ("[sign_in]\nprocess = \"web\"\nredirect = []\n".into(), "the list is empty"),
            ("[sign_in]\nprocess = \"web\"\n".into(), "`redirect`"),
            (format!("env.OIDC_ISSUER = \"x\"\n{sign_in}"), "another value already"),
            (format!("{sign_in}env = {{ issuer = \"X\", client_id = \"X\" }}\n"), "another value already"),
            ("[env.prod.sign_in]\nredirect = [\"https://a/cb\"]\n".into(), "no `[sign_in]` to change"),
        ] {
            let error = parse(&text, "prod").unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn redirect_uris_mean_one_thing() {
        for good in [
            "https://a.example/cb",
            "http://127.0.0.1:8000/",
            "https://a.example/cb?x=1",
            "http://[::1]:80/x",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in [
            "/cb",
            "javascript:alert(1)",
            "ftp://a/",
            "https://",
            "https://a/#x",
            "https://*.a/cb",
            "https://u@a/",
            "https://a/b c",
            "https://a/../b",
            "https://ä/",
            "https://a/\"",
            "data://x",
        ] {
            assert!(fault(bad).is_some(), "{bad}");
        }
    }
}
