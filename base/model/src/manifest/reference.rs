//! Keeps `docs/manifest.schema.json` and the tables of `docs/manifest.md` equal to the table of keys.
//!
//! `FREEHOLD_REGENERATE=1 cargo test -p freehold-model manifest::reference` writes both.

use super::{
    keys,
    schema::schema,
    shape::{Key, Shape},
};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

const TABLES: &[(&str, &[Key])] = &[
    ("file", keys::FILE),
    ("process", keys::PROCESS),
    ("affinity", keys::AFFINITY),
    ("spread", keys::SPREAD),
    ("check", keys::CHECK),
    ("endpoint", keys::ENDPOINT),
    ("deploy", keys::DEPLOY),
    ("volume", keys::VOLUME),
    ("secret", keys::SECRET),
    ("sign_in", keys::SIGN_IN),
    ("sign_in_env", keys::SIGN_IN_ENV),
    ("env", keys::ENV),
];

fn docs(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file)
}

/// Compares a committed file with what it should be, or writes it when asked to.
fn current(file: &str, wanted: &str) {
    let path = docs(file);
    if std::env::var_os("FREEHOLD_REGENERATE").is_some() {
        fs::write(&path, wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/{file} is not current: run FREEHOLD_REGENERATE=1 cargo test -p freehold-model manifest::reference"
    );
}

fn row(key: &Key) -> String {
    let default = match (key.required, key.default) {
        (true, _) => "required".into(),
        (false, Some(default)) => format!("`{}`", default.json()),
        (false, None) => String::new(),
    };
    let example = if key.example.is_empty() { String::new() } else { format!("`{}`", key.example) };
    let yet = key.not_yet.map(|_| "*Not yet.* ").unwrap_or_default();
    format!("| `{}` | {} | {default} | {example} | {yet}{} |\n", key.name, kind(&key.shape), key.doc)
}

fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Name => "name".into(),
        Shape::Image => "image reference".into(),
        Shape::Text | Shape::Variable | Shape::Secret => "text".into(),
        Shape::Path | Shape::UrlPath => "path".into(),
        Shape::Label => "label".into(),
        Shape::LabelValue => "text".into(),
        Shape::OneOf(_) => "text or list".into(),
        Shape::Redirect => "address".into(),
        Shape::List(_, Shape::Redirect) => "list of addresses".into(),
        Shape::Egress => "destination".into(),
        Shape::Network => "network".into(),
        Shape::True => "`true`".into(),
        Shape::Integer(least, most) if least == most => format!("{least}"),
        Shape::Integer(least, most) => format!("number, {least} to {most}"),
        Shape::Bytes(least, most) => format!("size, {least} to {most}"),
        Shape::Millicores(..) => "processor, 1m to 1024 cores".into(),
        Shape::Millis(least, most) => format!("time, {least} to {most}"),
        Shape::MillisOrNever(least, most) => format!("time, {least} to {most}, or `never`"),
        Shape::Choice { can, not_yet } => {
            let can = can.iter().map(|one| format!("`{one}`"));
            let all: Vec<_> = can.chain(not_yet.iter().map(|one| format!("`{one}` (not yet)"))).collect();
            all.join(", ")
        }
        Shape::List(_, Shape::Egress) => "list of destinations".into(),
        Shape::List(_, Shape::Network) => "list of networks".into(),
        Shape::List(..) => "list".into(),
        Shape::Map(..) | Shape::Table(_) | Shape::Part(_) => "table".into(),
        Shape::Either(..) => "text or table".into(),
        Shape::Any => String::new(),
    }
}

/// `text` with the rows between each pair of `<!-- keys: NAME -->` and `<!-- end -->` made anew.
fn with_tables(text: &str) -> String {
    TABLES.iter().fold(text.to_owned(), |text, (name, keys)| {
        let mark = format!("<!-- keys: {name} -->\n");
        let (before, rest) =
            text.split_once(&mark).unwrap_or_else(|| panic!("no {mark} in docs/manifest.md"));
        let (_, after) = rest.split_once("<!-- end -->").expect("an end of the table");
        let rows: String = keys.iter().map(row).collect();
        let head = "| key | holds | default | example | what it says |\n| --- | --- | --- | --- | --- |\n";
        format!("{before}{mark}{head}{rows}<!-- end -->{after}")
    })
}

#[test]
fn the_committed_schema_is_current() {
    current("manifest.schema.json", &format!("{:#}\n", schema()));
}

#[test]
fn the_committed_reference_is_current() {
    let text = fs::read_to_string(docs("manifest.md")).unwrap();
    current("manifest.md", &with_tables(&text));
}

#[test]
fn every_example_of_the_reference_parses_or_is_not_yet() {
    let text = fs::read_to_string(docs("manifest.md")).unwrap();
    let blocks: Vec<&str> =
        text.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 2, "examples were lost");
    for block in blocks {
        let parsed = super::Manifest::parse("docs/manifest.md", block, &"prod".parse().unwrap());
        assert!(
            parsed.as_ref().err().is_none_or(|errors| errors.list.iter().all(|d| d.not_yet)),
            "{parsed:?}"
        );
    }
}

/// Follows `value` through `schema`: every key must be one that the schema knows, every type its own.
fn fits(schema: &Value, value: &Value, at: &str) {
    let schema = match schema.get("anyOf") {
        Some(choices) => {
            choices.as_array().unwrap().iter().find(|one| one["type"] == type_of(value)).unwrap()
        }
        None => schema,
    };
    if let Some(kind) = schema.get("type") {
        assert_eq!(kind, type_of(value), "{at}");
    }
    if let Some(choices) = schema.get("enum") {
        assert!(choices.as_array().unwrap().contains(value), "{at}");
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let property = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
        assert!(property.is_object(), "the schema does not know {at}.{name}");
        fits(property, value, &format!("{at}.{name}"));
    }
    for value in value.as_array().into_iter().flatten() {
        fits(&schema["items"], value, &format!("{at}[]"));
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{at} lacks {name}");
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[test]
fn the_schema_takes_the_full_manifest() {
    let full: Value = toml::from_str(include_str!("testdata/full.toml")).unwrap();
    fits(&schema(), &full, "file");
    let typo = json!({ "schema": 1, "app": "a", "process": { "web": { "imge": "a" } } });
    assert!(std::panic::catch_unwind(|| fits(&schema(), &typo, "file")).is_err());
}
