//! From text to services: parsed, variables replaced, `extends` followed, profiles chosen.

use crate::{
    ComposeError, dotenv,
    interpolate::interpolate,
    node::{Key, Node, Place, Text, Value},
    report::Report,
    yaml,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// What lies outside the file: other files and variables.
pub trait Outside {
    /// The text of a file, named as in the Compose file; the error says why there is none.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self, path: &str) -> Result<String, String>;
    /// Whether a path on the host, named as in the Compose file, is a file and no folder; `None` where
    /// nothing is there.
    fn is_file(&self, path: &str) -> Option<bool>;
    /// The value of a variable.
    fn variable(&self, name: &str) -> Option<String>;
}

/// How many services `extends` may go through, one after another.
const LONGEST: usize = 16;

/// A Compose file, ready to be converted.
pub(crate) struct Project {
    pub(crate) root: Rc<Node>,
    /// What is run, by name, in the order of the file.
    pub(crate) services: Vec<(Key, Rc<Node>)>,
    /// Variables that a value takes and nobody set: where, the path, the variable.
    pub(crate) unset: Vec<(Place, String, String)>,
}

pub(crate) struct Loader<'a> {
    pub(crate) outside: &'a dyn Outside,
    pub(crate) report: &'a mut Report,
    env_file: BTreeMap<String, String>,
    used: BTreeSet<String>,
    unset: Vec<(Place, String, String)>,
}

/// Reads the Compose file `text`, called `file`.
pub(crate) fn load(
    file: &str,
    text: &str,
    profiles: &[String],
    outside: &dyn Outside,
    report: &mut Report,
) -> Result<Project, ComposeError> {
    let mut loader =
        Loader { outside, report, env_file: BTreeMap::new(), used: BTreeSet::new(), unset: vec![] };
    loader.read_env_file();
    let root = loader.document(file, text)?;
    let services = match root.get("services").map(|node| &node.value) {
        Some(Value::Map(services)) if !services.is_empty() => services.clone(),
        _ => {
            let hint = "there is no `services` table with a service in it: is this a Compose file?";
            return Err(shape(&root.at, hint));
        }
    };
    let mut ready = vec![];
    for (key, service) in services {
        if !matches!(service.value, Value::Map(_)) {
            return Err(shape(&key.at, &format!("the service `{}` is not a table", key.name)));
        }
        let mut seen = vec![(file.to_owned(), key.name.clone())];
        let whole = loader.extended(&root, &service, &key.name, &mut seen)?;
        if loader.is_chosen(&key, &whole, profiles) {
            ready.push((key, whole));
        }
    }
    loader.say_what_was_used();
    Ok(Project { root, services: ready, unset: loader.unset })
}

fn shape(at: &Place, reason: &str) -> ComposeError {
    ComposeError::Shape { at: at.to_string(), reason: reason.to_owned() }
}

impl Loader<'_> {
    /// `.env` beside the file: variables for the file itself.
    fn read_env_file(&mut self) {
        let Ok(text) = self.outside.read(".env") else { return };
        let outside = self.outside;
        let (variables, wrong) = dotenv::parse(&text, &|name| outside.variable(name));
        for line in wrong {
            let at = Place { file: ".env".into(), line, column: 1 };
            self.report.lose(".env", &at, "this line is no `NAME=value`", "");
        }
        self.env_file = variables.into_iter().map(|one| (one.name, one.value)).collect();
    }

    fn document(&mut self, file: &str, text: &str) -> Result<Rc<Node>, ComposeError> {
        let tree = yaml::parse(file, text)?;
        self.replaced(&tree, "")
    }

    /// The same tree with its variables replaced.
    fn replaced(&mut self, node: &Rc<Node>, path: &str) -> Result<Rc<Node>, ComposeError> {
        let value = match &node.value {
            Value::Null => return Ok(node.clone()),
            Value::Text(text) if text.text.contains('$') => self.replaced_text(text, node, path)?,
            Value::Text(_) => return Ok(node.clone()),
            Value::List(items) => {
                let path = format!("{path}[]");
                Value::List(items.iter().map(|item| self.replaced(item, &path)).collect::<Result<_, _>>()?)
            }
            Value::Map(entries) => {
                let below = |key: &Key| join(path, &key.name);
                let entries =
                    entries.iter().map(|(key, node)| Ok((key.clone(), self.replaced(node, &below(key))?)));
                Value::Map(entries.collect::<Result<_, ComposeError>>()?)
            }
        };
        Ok(Rc::new(Node { at: node.at.clone(), value }))
    }

    fn replaced_text(&mut self, text: &Text, node: &Node, path: &str) -> Result<Value, ComposeError> {
        let (outside, env_file) = (self.outside, &self.env_file);
        let variable = |name: &str| outside.variable(name).or_else(|| env_file.get(name).cloned());
        let replaced = interpolate(&text.text, &variable).map_err(|reason| shape(&node.at, &reason))?;
        self.used.extend(replaced.used.iter().cloned());
        for name in &replaced.unset {
            self.unset.push((node.at.clone(), path.to_owned(), name.clone()));
        }
        let secret = replaced.secret();
        Ok(Value::Text(Text { text: replaced.text, secret, unset: replaced.unset }))
    }

    fn say_what_was_used(&mut self) {
        if self.used.is_empty() {
            return;
        }
        let names = self.used.iter().cloned().collect::<Vec<_>>().join(", ");
        self.report.note(format!(
            "The values that these variables have now (.env, or the environment) went in: {names}."
        ));
    }

    /// The service with what it extends below it.
    fn extended(
        &mut self,
        root: &Rc<Node>,
        service: &Rc<Node>,
        name: &str,
        seen: &mut Vec<(String, String)>,
    ) -> Result<Rc<Node>, ComposeError> {
        let Some(extends) = service.get("extends").cloned() else { return Ok(service.clone()) };
        let base = extends.text().or_else(|| extends.get("service")?.text());
        let Some(base) = base.map(str::to_owned) else {
            return Err(shape(&extends.at, "`extends` names no service"));
        };
        let file = extends.get("file").and_then(|file| file.text()).map(str::to_owned);
        let from = match &file {
            Some(file) => {
                let text = self.outside.read(file).map_err(|reason| {
                    shape(&extends.at, &format!("the file `{file}`, which `{name}` extends: {reason}"))
                })?;
                self.document(file, &text)?
            }
            None => root.clone(),
        };
        let step = (
            file.unwrap_or_else(|| seen.last().map(|(file, _)| file.clone()).unwrap_or_default()),
            base.clone(),
        );
        if seen.contains(&step) || seen.len() >= LONGEST {
            return Err(shape(
                &extends.at,
                &format!("`extends` of `{name}` leads back to itself, or too far"),
            ));
        }
        seen.push(step);
        let found = from.get("services").and_then(|all| all.get(&base)).cloned();
        let found =
            found.ok_or_else(|| shape(&extends.at, &format!("there is no service `{base}` to extend")))?;
        let below = self.extended(&from, &found, &base, seen)?;
        Ok(laid_over(&below, service, ""))
    }

    /// Whether a service is run: those with profiles only where one of them is asked for.
    fn is_chosen(&mut self, key: &Key, service: &Node, profiles: &[String]) -> bool {
        let Some(own) = service.get("profiles") else { return true };
        let own: Vec<&str> = own.items().iter().filter_map(|item| item.text()).collect();
        if own.is_empty()
            || own.iter().any(|profile| profiles.iter().any(|wanted| wanted == profile || wanted == "*"))
        {
            return true;
        }
        let reason = format!("it is run only with one of its profiles: {}", own.join(", "));
        let help = format!("convert again with --profile {} to have it", own[0]);
        self.report.lose(format!("services.{}", key.name), &key.at, reason, help);
        false
    }
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// `over` laid over `below` as `extends` does it: tables merge, lists are joined, the rest is replaced.
fn laid_over(below: &Rc<Node>, over: &Rc<Node>, key: &str) -> Rc<Node> {
    let whole = matches!(key, "command" | "entrypoint" | "test" | "profiles");
    let value = match (&below.value, &over.value) {
        _ if whole => return over.clone(),
        (Value::Map(_), Value::Map(_)) => merged(below, over),
        (Value::List(first), Value::List(second)) if !pairs(key) => {
            Value::List(first.iter().chain(second).cloned().collect())
        }
        (Value::List(_) | Value::Map(_), Value::List(_) | Value::Map(_)) if pairs(key) => {
            return laid_over(&as_map(below), &as_map(over), "");
        }
        _ => return over.clone(),
    };
    Rc::new(Node { at: over.at.clone(), value })
}

fn merged(below: &Node, over: &Node) -> Value {
    let mut entries: Vec<(Key, Rc<Node>)> = vec![];
    for (key, node) in below.entries() {
        // What a service extends, and what it waits for, is its own business.
        if matches!(key.name.as_str(), "extends" | "depends_on" | "profiles") {
            continue;
        }
        let node = over.get(&key.name).map_or_else(|| node.clone(), |over| laid_over(node, over, &key.name));
        entries.push((key.clone(), node));
    }
    for (key, node) in over.entries() {
        if !entries.iter().any(|(known, _)| known.name == key.name) {
            entries.push((key.clone(), node.clone()));
        }
    }
    Value::Map(entries)
}

/// Whether a key may be a table, or a list of `NAME=value`.
fn pairs(key: &str) -> bool {
    matches!(key, "environment" | "labels" | "sysctls" | "annotations")
}

/// `[A=1, B]` as a table.
pub(crate) fn as_map(node: &Rc<Node>) -> Rc<Node> {
    let Value::List(items) = &node.value else { return node.clone() };
    let entries = items.iter().filter_map(|item| {
        let text = item.scalar()?;
        let (name, value) = match text.text.split_once('=') {
            Some((name, value)) => (name, Value::Text(Text { text: value.to_owned(), ..text.clone() })),
            None => (text.text.as_str(), Value::Null),
        };
        let key = Key { at: item.at.clone(), name: name.to_owned() };
        Some((key, Rc::new(Node { at: item.at.clone(), value })))
    });
    Rc::new(Node { at: node.at.clone(), value: Value::Map(entries.collect()) })
}
