//! Typed, prefixed, sortable identifiers: the one registry of kinds.
//!
//! An id is `<prefix>_<ULID in lower case>`: 26 characters of Crockford base 32 whose first ten are
//! the time in milliseconds, so ids sort by creation. Ids never change and are never reused.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};
use ulid::Ulid;

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted} id; one looks like `{example}`")]
pub struct IdError {
    text: String,
    wanted: &'static str,
    example: String,
}

/// The id of a resource of any kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnyId {
    /// What the id names.
    pub kind: Kind,
    /// Time and randomness.
    pub ulid: Ulid,
}

impl fmt::Display for AnyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_id(f, self.kind, self.ulid)
    }
}

impl FromStr for AnyId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError {
            text: text.chars().take(64).collect(),
            wanted: "a resource",
            example: format!("app_{}", "0".repeat(26)),
        };
        let (prefix, ulid) = text.split_once('_').ok_or_else(error)?;
        let kind = Kind::from_prefix(prefix).ok_or_else(error)?;
        let ulid = parse_ulid(ulid).ok_or_else(error)?;
        Ok(AnyId { kind, ulid })
    }
}

impl Serialize for AnyId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AnyId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

fn write_id(f: &mut fmt::Formatter<'_>, kind: Kind, ulid: Ulid) -> fmt::Result {
    let mut buffer = [0; ulid::ULID_LEN];
    let text = ulid.array_to_str(&mut buffer);
    text.make_ascii_lowercase();
    write!(f, "{}_{text}", kind.prefix())
}

/// Accepts only the canonical spelling, so that one id has one text.
fn parse_ulid(text: &str) -> Option<Ulid> {
    let ulid = Ulid::from_string(text).ok()?;
    (text.len() == 26 && ulid.to_string().to_ascii_lowercase() == text).then_some(ulid)
}

macro_rules! registry {
    ($($kind:ident $id:ident $prefix:literal $name:literal $article:literal;)*) => {
        /// Everything a user can name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "lowercase")]
        pub enum Kind { $(#[doc = $name] $kind,)* }

        impl Kind {
            /// Every kind, in the order of the registry.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind),*];

            /// The letters before the underscore of an id of this kind.
            pub fn prefix(self) -> &'static str {
                match self { $(Kind::$kind => $prefix,)* }
            }

            /// The noun, in lower case, singular.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)* }
            }

            /// The kind whose ids start with `prefix_`.
            pub fn from_prefix(prefix: &str) -> Option<Kind> {
                match prefix { $($prefix => Some(Kind::$kind),)* _ => None }
            }

            /// The kind called `name`.
            pub fn from_name(name: &str) -> Option<Kind> {
                match name { $($name => Some(Kind::$kind),)* _ => None }
            }
        }

        $(
            #[doc = concat!("The id of ", $article, " ", $name, ": `", $prefix, "_…`.")]
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $id(pub Ulid);

            impl fmt::Display for $id {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write_id(f, Kind::$kind, self.0)
                }
            }

            impl FromStr for $id {
                type Err = IdError;
                fn from_str(text: &str) -> Result<Self, IdError> {
                    match text.parse::<AnyId>() {
                        Ok(AnyId { kind: Kind::$kind, ulid }) => Ok($id(ulid)),
                        _ => Err(IdError {
                            text: text.chars().take(64).collect(),
                            wanted: concat!($article, " ", $name),
                            example: format!("{}_{}", $prefix, "0".repeat(26)),
                        }),
                    }
                }
            }

            impl From<$id> for AnyId {
                fn from(id: $id) -> AnyId { AnyId { kind: Kind::$kind, ulid: id.0 } }
            }

            impl From<Ulid> for $id {
                fn from(ulid: Ulid) -> $id { $id(ulid) }
            }

            impl TryFrom<AnyId> for $id {
                type Error = IdError;
                fn try_from(id: AnyId) -> Result<Self, IdError> { id.to_string().parse() }
            }

            impl Serialize for $id {
                fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
            }

            impl<'de> Deserialize<'de> for $id {
                fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                    String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
                }
            }
        )*
    };
}

registry! {
    Org OrgId "org" "org" "an";
    Project ProjectId "prj" "project" "a";
    App AppId "app" "app" "an";
    Env EnvId "env" "env" "an";
    Release ReleaseId "rel" "release" "a";
    Rollout RolloutId "rol" "rollout" "a";
    Receipt ReceiptId "rcp" "receipt" "a";
    Instance InstanceId "ins" "instance" "an";
    Endpoint EndpointId "end" "endpoint" "an";
    Volume VolumeId "vol" "volume" "a";
    Secret SecretId "sec" "secret" "a";
    Image ImageId "img" "image" "an";
    Node NodeId "nod" "node" "a";
    Gateway GatewayId "gtw" "gateway" "a";
    Device DeviceId "dev" "device" "a";
    Authority AuthorityId "aut" "authority" "an";
    Identity IdentityId "idn" "identity" "an";
    JoinToken JoinTokenId "jtk" "jointoken" "a";
    Token TokenId "tok" "token" "a";
    User UserId "usr" "user" "a";
    Session SessionId "ses" "session" "a";
    Grant GrantId "grt" "grant" "a";
    Issuer IssuerId "iss" "issuer" "an";
    IdentityProvider IdentityProviderId "idp" "identityprovider" "an";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_prints_and_nothing_else() {
        let id = AppId(Ulid::from_parts(1, 2));
        assert_eq!(id.to_string().parse::<AppId>().unwrap(), id);
        assert_eq!(id.to_string().parse::<AnyId>().unwrap(), id.into());
        let shouted = id.to_string().to_uppercase();
        for bad in ["", "app_", "app", "ins_00000000000000000000000001", shouted.as_str()] {
            assert!(bad.parse::<AppId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_sort_by_time() {
        let (early, late) = (AppId(Ulid::from_parts(1, 9)), AppId(Ulid::from_parts(2, 0)));
        assert!(early.to_string() < late.to_string());
    }

    #[test]
    fn prefixes_and_names_are_unique() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_prefix(kind.prefix()), Some(*kind));
            assert_eq!(Kind::from_name(kind.name()), Some(*kind));
        }
    }
}
