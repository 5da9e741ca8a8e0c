//! Single values: whether one is of the kind its key wants, and within its bounds.

use super::{Egress, EgressError, image, report::clip, restart::NEVER, shape::Shape, tree::Data};
use crate::{Bytes, LabelKey, Millicores, Millis, Name, Network, SecretName, label_value, units::UnitError};
use std::{fmt::Display, str::FromStr};
use toml::de::DeValue;

/// Why a value does not fit.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// It would fit, and cannot be done yet; `message` says what.
    pub(super) not_yet: bool,
}

/// Reads `value` as `shape`, which holds no other values.
pub(super) fn read(shape: &Shape, value: &DeValue<'_>) -> Result<Data, Fault> {
    match (shape, value) {
        (Shape::Integer(least, most), DeValue::Integer(number)) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
            let inside = parsed.filter(|number| (least..=most).contains(&number));
            inside.map(Data::Integer).ok_or_else(|| out_of_range(number, least, most))
        }
        (Shape::True, DeValue::Boolean(true)) => Ok(Data::True),
        (Shape::True, DeValue::Boolean(false)) => {
            Err(fault("`false` says nothing here", Some("leave the key out".into())))
        }
        (Shape::Integer(..) | Shape::True | Shape::List(..), _) => Err(wrong_kind(shape, value)),
        (Shape::Map(..) | Shape::Table(_) | Shape::Part(_) | Shape::Either(..) | Shape::OneOf(_), _) => {
            Err(wrong_kind(shape, value))
        }
        (_, DeValue::String(found)) => text(shape, found).map(|()| Data::Text(found.to_string())),
        _ => Err(wrong_kind(shape, value)),
    }
}

/// Judges a text, be it a value or a key.
pub(super) fn text(shape: &Shape, text: &str) -> Result<(), Fault> {
    match shape {
        Shape::Name => text.parse::<Name>().map(drop).map_err(|error| fault(error, None)),
        Shape::Secret => text.parse::<SecretName>().map(drop).map_err(|error| {
            fault(
                format!("`{}` is {error}", shown(text)),
                Some("a value has no place in the manifest".into()),
            )
        }),
        Shape::Image => match image::fault(text) {
            None => Ok(()),
            Some(why) => {
                let help = "write it like `guestbook:1` or `registry.example/name:tag`";
                Err(fault(format!("`{}` is not an image reference: {why}", shown(text)), Some(help.into())))
            }
        },
        Shape::Bytes(least, most) => bounded::<Bytes>(text, least, most),
        Shape::Millicores(least, most) => bounded::<Millicores>(text, least, most),
        Shape::Millis(least, most) => bounded::<Millis>(text, least, most),
        Shape::MillisOrNever(..) if text == NEVER => Ok(()),
        Shape::MillisOrNever(least, most) => bounded::<Millis>(text, least, most),
        Shape::Choice { can, not_yet } => choice(text, can, not_yet),
        Shape::Egress => match text.parse::<Egress>() {
            Ok(_) => Ok(()),
            Err(EgressError::Invalid(message, help)) => Err(fault(message, help)),
            Err(not_yet) => Err(Fault { message: not_yet.to_string(), help: None, not_yet: true }),
        },
        Shape::Redirect => match super::sign_in::fault(text) {
            None => Ok(()),
            Some(why) => {
                let help = "write the whole address, like `https://photos.example/callback`";
                Err(fault(
                    format!("`{}` is no address to send people to: {why}", shown(text)),
                    Some(help.into()),
                ))
            }
        },
        Shape::Label => text.parse::<LabelKey>().map(drop).map_err(|error| fault(error, None)),
        Shape::LabelValue => label_value(text).map_err(|error| fault(error, None)),
        Shape::Network => {
            text.parse::<Network>().map(drop).map_err(|error| fault(error.message, Some(error.help)))
        }
        _ if text.contains('\0') => Err(fault("text cannot hold a NUL character", None)),
        Shape::Variable if text.is_empty() => Err(fault("a variable's name cannot be empty", None)),
        Shape::Variable if text.contains('=') => {
            Err(fault(format!("`{}` cannot be a variable's name: it has a `=`", shown(text)), None))
        }
        Shape::UrlPath => {
            path(text, text.chars().any(|c| c.is_whitespace() || c.is_control()), "white space")
        }
        Shape::Path => path(text, text.split('/').any(|part| part == ".."), "`..`"),
        _ => Ok(()),
    }
}

/// A text of the user's as an error shows it.
pub(crate) fn shown(text: &str) -> String {
    clip(text).escape_debug().to_string()
}

fn path(text: &str, has_odd: bool, odd: &str) -> Result<(), Fault> {
    if !text.starts_with('/') {
        let help = format!("write it like `/{}`", shown(text));
        Err(fault(format!("`{}` is not a path that starts with `/`", shown(text)), Some(help)))
    } else if has_odd {
        Err(fault(format!("the path `{}` has {odd}", shown(text)), None))
    } else {
        Ok(())
    }
}

fn bounded<T>(text: &str, least: &T, most: &T) -> Result<(), Fault>
where
    T: FromStr<Err = UnitError> + PartialOrd + Display,
{
    let value: T = text.parse().map_err(|error| fault(error, None))?;
    if (least..=most).contains(&&value) { Ok(()) } else { Err(out_of_range(text, least, most)) }
}

fn choice(text: &str, can: &[&str], not_yet: &[&str]) -> Result<(), Fault> {
    if can.contains(&text) {
        return Ok(());
    }
    if not_yet.contains(&text) {
        return Err(Fault { message: format!("`{text}`"), help: None, not_yet: true });
    }
    let all: Vec<String> = can.iter().chain(not_yet).map(|one| format!("`{one}`")).collect();
    let message = format!("`{}` is not one of {}", shown(text), all.join(", "));
    let near = super::walk::nearest(text, can.iter().chain(not_yet).copied());
    Err(fault(message, near.map(|near| format!("did you mean `{near}`?"))))
}

fn out_of_range(found: impl Display, least: impl Display, most: impl Display) -> Fault {
    let found = clip(&found.to_string());
    fault(format!("`{found}` is out of range: it may be {least} to {most}"), None)
}

fn wrong_kind(shape: &Shape, value: &DeValue<'_>) -> Fault {
    let found = match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    let help = match value {
        DeValue::String(text) if wants_bare(shape, text) => Some(format!("write it without quotes: {text}")),
        DeValue::String(_) if matches!(shape, Shape::List(..)) => {
            Some("write it in brackets, each part in quotes of its own: [\"/bin/app\", \"--flag\"]".into())
        }
        DeValue::Integer(number) => quoted(shape, &number.to_string()),
        DeValue::Float(number) => quoted(shape, &number.to_string()),
        DeValue::Boolean(yes) => quoted(shape, &yes.to_string()),
        _ => None,
    };
    fault(format!("expected {}, found {found}", shape.noun()), help)
}

fn wants_bare(shape: &Shape, text: &str) -> bool {
    match shape {
        Shape::Integer(..) => text.parse::<i64>().is_ok(),
        Shape::True => text == "true",
        _ => false,
    }
}

/// How a bare value would be written as the text that `shape` wants.
fn quoted(shape: &Shape, text: &str) -> Option<String> {
    let value = match shape {
        Shape::Bytes(..) => format!("{text}MiB"),
        Shape::Millis(..) => format!("{text}s"),
        Shape::MillisOrNever(..) if text == "false" => NEVER.to_owned(),
        Shape::MillisOrNever(..) => format!("{text}s"),
        Shape::Millicores(..) | Shape::Text => text.to_owned(),
        _ => return None,
    };
    Some(format!("write it in quotes: \"{value}\""))
}

fn fault(message: impl Display, help: Option<String>) -> Fault {
    Fault { message: message.to_string(), help, not_yet: false }
}
