//! The JSON Schema of `freehold.toml`, for editors; made from the table of keys.
//!
//! It says what one key may hold. What several keys say together (names that must exist, ports that
//! must differ) only the parser knows.

use super::{
    keys::{self, FILE},
    restart::NEVER,
    shape::{Key, MOST, Shape},
};
use crate::{Bytes, Millicores, Millis, Name};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// The JSON Schema (draft 2020-12) of the manifest.
pub fn schema() -> Value {
    let mut schema = table(FILE, true);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("freehold.toml");
    schema["description"] = json!("The manifest of an app that runs on Freehold.");
    // Whether serde_json sorts by itself depends on who else is in the build.
    schema.sort_all_objects();
    schema
}

fn table(keys: &[Key], complete: bool) -> Value {
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), property(key, complete))).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    if complete && !required.is_empty() {
        schema["required"] = json!(required);
    }
    if std::ptr::eq(keys, keys::CHECK) && complete {
        let probes = keys::PROBES.iter().map(|probe| json!({ "required": [probe] }));
        schema["oneOf"] = probes.collect();
    }
    schema
}

fn property(key: &Key, complete: bool) -> Value {
    let mut schema = of(&key.shape, complete);
    schema["description"] = match key.not_yet {
        Some(_) => json!(format!("Not yet. {}", key.doc)),
        None => json!(key.doc),
    };
    if let Some(default) = key.default {
        schema["default"] = default.json();
    }
    schema
}

/// `complete`: whether a table holds all of its keys, or is laid over another that does.
fn of(shape: &Shape, complete: bool) -> Value {
    match shape {
        Shape::Name => unit::<Name>(),
        Shape::Image => json!({ "type": "string", "minLength": 1 }),
        Shape::Text => json!({ "type": "string" }),
        Shape::Egress | Shape::Network => json!({ "type": "string", "minLength": 1 }),
        Shape::Variable => json!({ "type": "string", "pattern": "^[^=\\u0000]+$" }),
        Shape::Secret => json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,127}$" }),
        Shape::Label => {
            json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$" })
        }
        Shape::LabelValue => json!({ "type": "string", "pattern": "^[A-Za-z0-9._/-]{1,63}$" }),
        Shape::Redirect => json!({ "type": "string", "pattern": "^https?://[^#*\\s]+$" }),
        Shape::Path => json!({ "type": "string", "pattern": "^/" }),
        Shape::UrlPath => json!({ "type": "string", "pattern": "^/\\S*$" }),
        Shape::True => json!({ "const": true }),
        Shape::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Bytes(..) => unit::<Bytes>(),
        Shape::Millicores(..) => unit::<Millicores>(),
        Shape::Millis(..) => unit::<Millis>(),
        Shape::MillisOrNever(..) => json!({ "anyOf": [unit::<Millis>(), { "const": NEVER }] }),
        Shape::Choice { can, not_yet } => json!({ "enum": (&[*can, *not_yet].concat()) }),
        Shape::List(least, each) => {
            json!({ "type": "array", "items": of(each, true), "minItems": least, "maxItems": MOST })
        }
        Shape::OneOf(each) => {
            let list = json!({ "type": "array", "items": of(each, true), "minItems": 1, "maxItems": MOST });
            json!({ "anyOf": [of(each, true), list] })
        }
        Shape::Map(most, name, each) => json!({
            "type": "object", "propertyNames": of(name, true), "additionalProperties": of(each, complete), "maxProperties": most,
        }),
        Shape::Table(keys) => table(keys, complete),
        Shape::Part(keys) => table(keys, false),
        Shape::Either(one, other) => json!({ "anyOf": [of(one, true), of(other, true)] }),
        Shape::Any => json!({}),
    }
}

/// The schema that a unit declares for itself.
fn unit<T: JsonSchema>() -> Value {
    T::json_schema(&mut SchemaGenerator::default()).to_value()
}
