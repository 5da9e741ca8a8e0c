//! Walks the parsed TOML beside the table of keys: what fits becomes a [`Node`], the rest a report.
//!
//! Invariant: every key of the file is either in the tree or reported; what was reported is in the
//! tree as [`Data::Broken`], so that no later check speaks of it again.

use super::{
    report::{Report, Span},
    scalar,
    shape::{Key, MOST, Shape},
    tree::{Data, Fields, Node},
};
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

/// Checks `root` against `keys`.
pub(super) fn walk(root: &DeTable<'_>, keys: &'static [Key], report: &mut Report<'_>) -> Node {
    // The file has no header to point at: what is missing is missing at its start.
    let start = 0..0;
    let fields = Walk { report }.table(root, keys, Some(&start));
    Node { key: start.clone(), span: start, data: Data::Table(fields) }
}

struct Walk<'r, 't> {
    report: &'r mut Report<'t>,
}

impl Walk<'_, '_> {
    fn value(&mut self, shape: &Shape, key: &Span, value: &Spanned<DeValue<'_>>) -> Node {
        let span = value.span();
        let data = match (shape, value.get_ref()) {
            (Shape::Table(keys), DeValue::Table(table)) => Data::Table(self.table(table, keys, Some(key))),
            (Shape::Part(keys), DeValue::Table(table)) => Data::Table(self.table(table, keys, None)),
            (Shape::Map(most, ..), DeValue::Table(table)) if table.len() > *most => {
                self.too_many(key, table.len(), *most)
            }
            (Shape::List(..), DeValue::Array(array)) if array.len() > MOST => {
                self.too_many(key, array.len(), MOST)
            }
            (Shape::Map(_, name, each), DeValue::Table(table)) => Data::Table(self.map(table, name, each)),
            (Shape::List(least, each), DeValue::Array(array)) => self.list(*least, each, &span, array),
            (Shape::Either(_, table), DeValue::Table(_)) => return self.value(table, key, value),
            (Shape::Either(text, _), DeValue::String(_)) => return self.value(text, key, value),
            (Shape::OneOf(each), DeValue::String(_)) => Data::List(vec![self.value(each, &span, value)]),
            (Shape::OneOf(_), DeValue::Array(array)) if array.len() > MOST => {
                self.too_many(key, array.len(), MOST)
            }
            (Shape::OneOf(each), DeValue::Array(array)) => self.list(1, each, &span, array),
            (Shape::Any, _) => Data::Broken,
            (shape, value) => self.scalar(shape, &span, value),
        };
        Node { key: key.clone(), span, data }
    }

    /// A table with fixed keys; where one is missing is told by `place`, unless it may be.
    fn table(&mut self, table: &DeTable<'_>, keys: &'static [Key], place: Option<&Span>) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in table.iter() {
            let at = name.span();
            match keys.iter().find(|key| key.name == name.get_ref()) {
                Some(key) => {
                    let node = self.value(&key.shape, &at, value);
                    if let Some(what) = key.not_yet.filter(|_| !asks_for_nothing(value.get_ref())) {
                        self.report.not_yet(&at, what);
                    }
                    fields.insert(key.name.to_owned(), node);
                }
                None => {
                    if let Some(meant) = self.unknown(&at, name.get_ref(), keys) {
                        let broken = Node { key: at, span: value.span(), data: Data::Broken };
                        fields.entry(meant.to_owned()).or_insert(broken);
                    }
                }
            }
        }
        if let Some(place) = place {
            self.missing(&fields, keys, place);
        }
        fields
    }

    /// Reports an unknown key and answers with the one that was probably meant.
    fn unknown(&mut self, at: &Span, name: &str, keys: &'static [Key]) -> Option<&'static str> {
        let names = || keys.iter().map(|key| key.name);
        let meant = nearest(name, names());
        let guess = meant.map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
        let all: Vec<String> = names().map(|name| format!("`{name}`")).collect();
        let help = format!("{guess}the keys here are {}", all.join(", "));
        self.report.error(at, format!("unknown key `{}`", scalar::shown(name)), help);
        meant
    }

    fn missing(&mut self, fields: &Fields, keys: &'static [Key], place: &Span) {
        for key in keys.iter().filter(|key| key.required && !fields.contains_key(key.name)) {
            let help = match key.example {
                "" => format!("{} Add a `[{}.NAME]` table", key.doc, key.name),
                example => format!("{} Add a line like: {} = {example}", key.doc, key.name),
            };
            self.report.error(place, format!("`{}` is missing", key.name), help);
        }
    }

    fn map(&mut self, table: &DeTable<'_>, name_shape: &Shape, each: &Shape) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in table.iter() {
            let at = name.span();
            if let Err(fault) = scalar::text(name_shape, name.get_ref()) {
                self.report.error(&at, fault.message, fault.help);
            }
            fields.insert(name.get_ref().to_string(), self.value(each, &at, value));
        }
        fields
    }

    fn too_many(&mut self, at: &Span, found: usize, most: usize) -> Data {
        self.report.error(at, format!("too many entries: {found} of at most {most}"), None);
        Data::Broken
    }

    fn list(&mut self, least: usize, each: &Shape, span: &Span, array: &DeArray<'_>) -> Data {
        if array.len() < least {
            self.report.error(span, "the list is empty", "leave the key out to have its default");
            return Data::Broken;
        }
        Data::List(array.iter().map(|value| self.value(each, &value.span(), value)).collect())
    }

    fn scalar(&mut self, shape: &Shape, span: &Span, value: &DeValue<'_>) -> Data {
        match scalar::read(shape, value) {
            Ok(data) => data,
            Err(fault) if fault.not_yet => {
                self.report.not_yet(span, &fault.message);
                Data::Broken
            }
            Err(fault) => {
                self.report.error(span, fault.message, fault.help);
                Data::Broken
            }
        }
    }
}

/// Whether a key that is not there yet is used without asking for anything: `volume = []`.
fn asks_for_nothing(value: &DeValue<'_>) -> bool {
    matches!(value, DeValue::Array(array) if array.is_empty())
}

/// The name that `text` was probably meant to be.
pub(super) fn nearest<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // Nobody mistypes a name into something this long, and the distance costs its length each time.
    if text.len() > 64 {
        return None;
    }
    let near = names.map(|name| (strsim::damerau_levenshtein(&text.to_lowercase(), name), name));
    let close = |(distance, name): &(usize, &str)| *distance <= (name.len().max(text.len()) / 3).max(1);
    near.filter(close).min().map(|(_, name)| name)
}
