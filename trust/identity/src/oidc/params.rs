//! The parameters of a request, be they in its address or its body: each at most once, none longer than it may be
//! (RFC 6749, 3.1: a parameter without a value is one that was left out, unknown ones are ignored).

use super::error::OidcError;
use std::collections::BTreeMap;

/// What is longer is no request.
const LONGEST: usize = 16 << 10;
/// Whatever the parameter.
const LONGEST_VALUE: usize = 4 << 10;
/// So many are read.
const MOST: usize = 64;

/// The parameters of a request.
#[derive(Debug, Clone, Default)]
pub struct OidcParams {
    values: BTreeMap<String, String>,
    twice: Vec<String>,
}

impl OidcParams {
    /// Reads a query, or a form.
    ///
    /// # Errors
    /// When it is too long for any request.
    pub fn read(encoded: &[u8]) -> Result<OidcParams, OidcError> {
        if encoded.len() > LONGEST {
            return Err(OidcError::request("The request is too long."));
        }
        let mut params = OidcParams::default();
        for (at, (name, value)) in form_urlencoded::parse(encoded).enumerate() {
            if at >= MOST {
                return Err(OidcError::request("The request has too many parameters."));
            }
            if value.is_empty() {
                continue;
            }
            if value.len() > LONGEST_VALUE {
                return Err(OidcError::request("A parameter is too long."));
            }
            let name = name.into_owned();
            if params.values.insert(name.clone(), value.into_owned()).is_some() {
                params.twice.push(name);
            }
        }
        Ok(params)
    }

    /// A parameter, if it is given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A parameter that must be given.
    pub(super) fn required(&self, name: &'static str) -> Result<&str, OidcError> {
        self.get(name).ok_or_else(|| OidcError::request(format!("{name} is missing.")))
    }

    /// Refuses what is given twice: who checks and who uses could take different ones.
    ///
    /// # Errors
    /// When one of `names` is.
    pub fn once(&self, names: &[&'static str]) -> Result<(), OidcError> {
        match names.iter().find(|name| self.twice.iter().any(|twice| twice == **name)) {
            Some(name) => Err(OidcError::request(format!("{name} is given more than once."))),
            None => Ok(()),
        }
    }

    /// Those of `names` that are given, for a form that sends them again.
    pub fn kept<'a>(&'a self, names: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
        names.iter().filter_map(|name| Some((*name, self.get(name)?)))
    }
}
