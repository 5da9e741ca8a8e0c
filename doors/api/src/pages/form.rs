//! A form that somebody sent, and the token that proves that a page of this server asked for it.
//!
//! Who is signed in has the csrf token of their session. Who is not has a cookie of random bits, and the form
//! its hash: a foreign page can neither read nor set either. [`super::guard`] compares before any handler runs.

use crate::{browser, who::Who};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, request::Parts},
};
use freehold_identity::{Token, TokenHash};
use freehold_model::secrets::Hidden;
use std::convert::Infallible;

/// The field that holds the token.
pub(crate) const FIELD: &str = "csrf";
/// The cookie of who is not signed in.
const COOKIE: &str = "freehold_form";
/// How long a page may stay open before its form is sent.
const SECONDS: i64 = 12 * 60 * 60;

/// What a form held. Its `Debug` says nothing of it: passwords are in it.
#[derive(Clone, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Form(…)")
    }
}

impl Form {
    pub(crate) fn parse(body: &[u8]) -> Form {
        Form(form_urlencoded::parse(body).into_owned().collect())
    }

    /// The first field of that name; nothing, if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// The same, where it is a secret.
    pub(crate) fn hidden(&self, name: &str) -> Hidden {
        Hidden::new(self.get(name).to_owned())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Form {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Form>().cloned().unwrap_or_default())
    }
}

/// What forms on a page carry, and the cookie that goes with it if it is new.
#[derive(Clone)]
pub(crate) struct FormToken {
    pub(crate) text: String,
    pub(crate) set: Option<HeaderValue>,
}

impl FormToken {
    /// For forms that are sent to who is signed in; for those of everybody, `who` is none.
    pub(crate) fn of(who: Option<&Who>, headers: &HeaderMap) -> FormToken {
        if let Some(who) = who {
            return FormToken { text: who.csrf().expose().to_owned(), set: None };
        }
        let known = browser::cookie(headers, COOKIE).filter(|text| text.parse::<Token>().is_ok());
        if let Some(known) = known {
            return FormToken { text: derived(&known), set: None };
        }
        let fresh = Token::generate();
        let set = browser::set(headers, COOKIE, fresh.reveal(), "Strict", SECONDS);
        FormToken { text: derived(fresh.reveal()), set }
    }

    /// Whether `form` carries it. One that is new cannot have been in any page.
    pub(crate) fn is_in(&self, form: &Form) -> bool {
        self.set.is_none() && TokenHash::of(form.get(FIELD)).matches(&TokenHash::of(&self.text))
    }
}

fn derived(cookie: &str) -> String {
    TokenHash::of(&format!("form {cookie}")).hex()
}
