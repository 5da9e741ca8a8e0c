//! Query strings, read key by key: all mistakes at once, unknown keys included.
//!
//! A route's parameters are a struct with [`FromParams`]; handlers take [`Params`] of it.

use crate::{error::Failure, extract::excerpt};
use axum::{extract::FromRequestParts, http::request::Parts};
use freehold_model::{Code, Problem};
use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

/// The parameters of a route.
pub(crate) struct Params<T>(pub(crate) T);

/// Parameters that can be read from a query string.
pub(crate) trait FromParams: Sized {
    /// Asks `keys` for every key there may be.
    fn from_params(keys: &mut Keys) -> Self;
}

impl<S: Send + Sync, T: FromParams> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let mut keys = Keys::parse(parts.uri.query().unwrap_or_default());
        let value = T::from_params(&mut keys);
        keys.finish()?;
        Ok(Params(value))
    }
}

/// The keys of a query string that nobody asked for yet, and what was wrong with the others.
pub(crate) struct Keys {
    rest: Vec<(String, String)>,
    known: Vec<&'static str>,
    mistakes: Vec<String>,
}

impl Keys {
    fn parse(query: &str) -> Keys {
        let rest = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Keys { rest, known: vec![], mistakes: vec![] }
    }

    /// Every value of `key`.
    pub(crate) fn many(&mut self, key: &'static str) -> Vec<String> {
        self.known.push(key);
        let (taken, rest) = std::mem::take(&mut self.rest).into_iter().partition(|(name, _)| name == key);
        self.rest = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// Every value of `key`, read.
    pub(crate) fn several<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Vec<T> {
        let texts = self.many(key);
        texts.into_iter().filter_map(|text| self.read(key, &text)).collect()
    }

    /// The value of `key`, if it is given.
    pub(crate) fn optional<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Option<T> {
        let mut values = self.many(key);
        let text = values.pop()?;
        if !values.is_empty() {
            self.mistake(key, "is given more than once");
        }
        self.read(key, &text)
    }

    fn read<T: FromStr<Err: Display>>(&mut self, key: &'static str, text: &str) -> Option<T> {
        let value = text.parse().map_err(|error| self.mistake(key, format!("`{}`: {error}", excerpt(text))));
        value.ok()
    }

    /// The value of `key`, which must be given. `None` only where a mistake was noted.
    pub(crate) fn required<T: FromStr<Err: Display>>(&mut self, key: &'static str, why: &str) -> Option<T> {
        let before = self.mistakes.len();
        let value = self.optional(key);
        if value.is_none() && self.mistakes.len() == before {
            self.mistake(key, format!("is missing; {why}"));
        }
        value
    }

    /// A whole number within `range`.
    pub(crate) fn number(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let text: String = self.optional(key)?;
        match text.parse() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let (low, high) = range.into_inner();
                self.mistake(key, format!("`{}`: must be a whole number, {low} to {high}", excerpt(&text)));
                None
            }
        }
    }

    /// `true` or `false`; false when not given.
    pub(crate) fn flag(&mut self, key: &'static str) -> bool {
        self.optional(key).unwrap_or_default()
    }

    /// Notes what is wrong with `key`.
    pub(crate) fn mistake(&mut self, key: &str, what: impl Display) {
        self.mistakes.push(format!("{key}: {what}"));
    }

    fn finish(mut self) -> Result<(), Failure> {
        for (key, _) in std::mem::take(&mut self.rest) {
            self.mistake(&excerpt(&key), "is not a parameter of this route");
        }
        if self.mistakes.is_empty() {
            return Ok(());
        }
        let hint = match self.known.as_slice() {
            [] => "This route takes no parameters.".to_owned(),
            known => format!("This route takes: {}.", known.join(", ")),
        };
        let problem = Problem::new(Code::Invalid, "The query string is not as expected.");
        Err(problem.detail(self.mistakes.join("\n")).hint(hint).into())
    }
}

/// A route without parameters.
pub(crate) struct NoParams;

impl FromParams for NoParams {
    fn from_params(_: &mut Keys) -> Self {
        NoParams
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(query: &str, ask: impl FnOnce(&mut Keys)) -> String {
        let mut keys = Keys::parse(query);
        ask(&mut keys);
        keys.finish().map_or_else(|failure| failure.0.to_string(), |()| String::new())
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let text = failure("limit=-1&follow=maybe&x=1&name=a&name=b", |keys| {
            keys.number("limit", 1..=9);
            keys.flag("follow");
            keys.optional::<String>("name");
            keys.required::<String>("kind", "say which");
        });
        for part in
            ["limit: `-1`", "1 to 9", "follow: `maybe`", "x: is not", "name: is given", "kind: is missing"]
        {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
    }

    #[test]
    fn values_are_decoded_and_empty_ones_are_values() {
        let text = failure("label=a%3Db&label=c+d&limit=", |keys| {
            assert_eq!(keys.many("label"), ["a=b", "c d"]);
            keys.number("limit", 1..=9);
        });
        assert!(text.contains("limit: ``: must be a whole number"), "{text}");
    }
}
