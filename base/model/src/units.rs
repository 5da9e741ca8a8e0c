//! Quantities that parse and print themselves: `64MiB`, `250m`, `10s`.
//!
//! On the wire and in manifests a quantity is its text; arithmetic uses the number inside.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A text that is not a quantity of the wanted unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}; write it like {example}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    example: &'static str,
}

/// A number of bytes: `B`, or binary `KiB`, `MiB`, `GiB`, `TiB`, or decimal `kB`, `MB`, `GB`, `TB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

/// Thousandths of a processor: `250m`, or whole and decimal cores: `2`, `0.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millicores(pub u32);

/// A length of time in milliseconds: `500ms`, `10s`, `5m`, `1h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

const TIMES: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Millis {
    /// The same length as a standard duration.
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }

    /// The same length, to be added to a timestamp.
    pub fn signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_millis(i64::try_from(self.0).unwrap_or(i64::MAX))
    }
}

impl FromStr for Bytes {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, SIZES).map(Bytes).ok_or_else(|| UnitError {
            text: clip(text),
            what: "a size",
            example: "`64MiB` or `2GB`",
        })
    }
}

impl FromStr for Millis {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, TIMES).map(Millis).ok_or_else(|| UnitError {
            text: clip(text),
            what: "a length of time",
            example: "`500ms`, `10s` or `5m`",
        })
    }
}

impl FromStr for Millicores {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let parsed = match text.strip_suffix('m') {
            Some(milli) if milli.bytes().all(|c| c.is_ascii_digit()) => milli.parse().ok(),
            Some(_) => None,
            None => decimal_cores(text),
        };
        parsed.map(Millicores).ok_or_else(|| UnitError {
            text: clip(text),
            what: "an amount of processor",
            example: "`250m` (a quarter of a core), `0.5` or `2`",
        })
    }
}

impl Bytes {
    /// For people: to a tenth of the largest unit that it is one of, `10.2GiB`.
    pub fn rounded(self) -> String {
        let unit = SIZES[..4].iter().find(|(_, scale)| *scale <= self.0);
        match unit {
            Some((name, scale)) => {
                let tenths = (u128::from(self.0) * 10 + u128::from(*scale) / 2) / u128::from(*scale);
                let (whole, tenth) = (tenths / 10, tenths % 10);
                if tenth == 0 { format!("{whole}{name}") } else { format!("{whole}.{tenth}{name}") }
            }
            None => self.to_string(),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&largest_exact(self.0, &SIZES[..4]).unwrap_or_else(|| format!("{}B", self.0)))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&largest_exact(self.0, TIMES).unwrap_or_else(|| "0s".into()))
    }
}

impl fmt::Display for Millicores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}m", self.0))
    }
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(scale)
}

fn decimal_cores(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|c| c.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let milli: u32 = format!("{fraction:0<3}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(milli)
}

fn largest_exact(value: u64, units: &[(&str, u64)]) -> Option<String> {
    let (name, scale) = units.iter().find(|(_, scale)| value != 0 && value.is_multiple_of(*scale))?;
    Some(format!("{}{name}", value / scale))
}

macro_rules! as_text {
    ($($unit:ident, $pattern:literal, $example:literal;)*) => {$(
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $unit {
            fn schema_name() -> std::borrow::Cow<'static, str> { stringify!($unit).into() }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": $pattern, "examples": [$example]})
            }
        }

        impl utoipa::PartialSchema for $unit {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some($pattern))
                    .examples([$example])
                    .into()
            }
        }

        impl utoipa::ToSchema for $unit {}
    )*};
}

as_text! {
    Bytes, r"^[0-9]+(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)$", "64MiB";
    Millicores, r"^([0-9]+m|[0-9]+(\.[0-9]{1,3})?)$", "250m";
    Millis, r"^[0-9]+(ms|s|m|h|d)$", "10s";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_read_tenths() {
        let rounded = |bytes| Bytes(bytes).rounded();
        assert_eq!([rounded(0), rounded(1023), rounded(1024)], ["0B", "1023B", "1KiB"]);
        assert_eq!([rounded((10 << 30) + (1 << 28)), rounded(u64::MAX)], ["10.3GiB", "16777216TiB"]);
    }

    #[test]
    fn the_usual_spellings() {
        assert_eq!("64MiB".parse(), Ok(Bytes(64 << 20)));
        assert_eq!("2GB".parse(), Ok(Bytes(2_000_000_000)));
        assert_eq!("250m".parse(), Ok(Millicores(250)));
        assert_eq!("0.5".parse(), Ok(Millicores(500)));
        assert_eq!("2".parse(), Ok(Millicores(2000)));
        assert_eq!("500ms".parse(), Ok(Millis(500)));
        assert_eq!("5m".parse(), Ok(Millis(300_000)));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for bad in ["", "64", "MiB", "-1MiB", "64mb", "64 MiB", "99999999999999TiB", "1.5GiB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
        for bad in ["", "m", "1.2345", ".5", "5.", "-1", "+1", "+5m", "5000000"] {
            assert!(bad.parse::<Millicores>().is_err(), "{bad}");
        }
        for bad in ["", "10", "s", "10 s", "1y"] {
            assert!(bad.parse::<Millis>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_agree(n in any::<u64>(), m in any::<u32>()) {
            prop_assert_eq!(Bytes(n).to_string().parse(), Ok(Bytes(n)));
            prop_assert_eq!(Millis(n).to_string().parse(), Ok(Millis(n)));
            prop_assert_eq!(Millicores(m).to_string().parse(), Ok(Millicores(m)));
        }
    }
}
