//! `extends`: a service laid over another one, of the same file or of another.

use crate::{
    ComposeError,
    load::{Loader, shape},
    merge::laid_over,
    node::{Key, Node, Value},
    paths,
};
use std::rc::Rc;

/// How many services `extends` may go through, one after another.
const LONGEST: usize = 16;

/// A file of services, as `extends` looks into it.
struct Source<'a> {
    root: &'a Rc<Node>,
    /// Files below it, which it is laid over.
    below: Option<&'a Rc<Node>>,
    name: &'a str,
    /// Where its paths begin.
    folder: &'a str,
}

impl Source<'_> {
    fn service(&self, name: &str) -> Option<Rc<Node>> {
        let of = |root: &Rc<Node>| root.get("services")?.get(name).cloned();
        of(self.root).or_else(|| of(self.below?))
    }
}

impl Loader<'_> {
    /// A file with each of its services laid over what it extends.
    pub(crate) fn extend_all(
        &mut self,
        root: &Rc<Node>,
        below: Option<&Rc<Node>>,
        name: &str,
        folder: &str,
    ) -> Result<Rc<Node>, ComposeError> {
        let Some(services) = root.get("services").filter(|all| extends_any(all)) else {
            return Ok(root.clone());
        };
        let source = Source { root, below, name, folder };
        let whole = |(key, service): &(Key, Rc<Node>)| {
            let mut seen = vec![(name.to_owned(), key.name.clone())];
            Ok((key.clone(), self.extended(&source, service, &key.name, &mut seen)?))
        };
        let whole = services.entries().iter().map(whole).collect::<Result<Vec<_>, ComposeError>>()?;
        let top = root.entries().iter().map(|(key, node)| match key.name.as_str() {
            "services" => (key.clone(), node.with(Value::Map(whole.clone()))),
            _ => (key.clone(), node.clone()),
        });
        Ok(root.with(Value::Map(top.collect())))
    }

    /// The service with what it extends below it.
    fn extended(
        &mut self,
        source: &Source<'_>,
        service: &Rc<Node>,
        name: &str,
        seen: &mut Vec<(String, String)>,
    ) -> Result<Rc<Node>, ComposeError> {
        let extends = service.get("extends").filter(|extends| !matches!(extends.value, Value::Null));
        let Some(extends) = extends.cloned() else { return Ok(service.clone()) };
        let base = extends.text().or_else(|| extends.get("service")?.text());
        let Some(base) = base.map(str::to_owned) else {
            return Err(shape(&extends.at, "`extends` names no service"));
        };
        let file = extends.get("file").and_then(|file| file.text());
        let file = file.map(|file| paths::join(source.folder, file));
        let document = match &file {
            Some(file) => Some((self.document(file, &extends)?, paths::folder(file))),
            None => None,
        };
        let from = match (&document, &file) {
            (Some((root, folder)), Some(file)) => Source { root, below: None, name: file, folder },
            _ => Source { ..*source },
        };
        let step = (from.name.to_owned(), base.clone());
        if seen.contains(&step) || seen.len() >= LONGEST {
            let reason = format!("`extends` of `{name}` leads back to itself, or too far");
            return Err(shape(&extends.at, &reason));
        }
        seen.push(step);
        let found = from.service(&base);
        let found =
            found.ok_or_else(|| shape(&extends.at, &format!("there is no service `{base}` to extend")))?;
        let below = self.extended(&from, &found, &base, seen)?;
        let below = match document {
            Some((_, folder)) => as_seen_from(&below, &folder, source.folder),
            None => below,
        };
        self.profiles(service, &below, name, &base);
        Ok(laid_over(&without(&below, "profiles"), &without(service, "extends"), &mut path()))
    }

    /// Compose hands profiles down: a service that extends one with profiles is run only with one of them.
    /// It is converted all the same, and that is said.
    fn profiles(&mut self, service: &Node, below: &Node, name: &str, base: &str) {
        let Some(inherited) = below.get("profiles").filter(|all| !all.is_idle()) else { return };
        if service.get("profiles").is_some_and(|own| !own.is_idle()) {
            return;
        }
        let all: Vec<&str> = inherited.items().iter().filter_map(|item| item.text()).collect();
        let reason = format!(
            "`{base}`, which it extends, has the profiles {}: Compose runs `{name}` only with one of them, and \
             here it is a process of the app",
            all.join(", ")
        );
        let help = format!("take [process.{name}] out if it is not wanted");
        self.report.lose(format!("services.{name}.extends"), &service.at, reason, help);
    }
}

fn path() -> Vec<String> {
    vec!["services".to_owned(), String::new()]
}

fn extends_any(services: &Rc<Node>) -> bool {
    services.entries().iter().any(|(_, service)| service.get("extends").is_some())
}

fn without(service: &Rc<Node>, name: &str) -> Rc<Node> {
    let kept = service.entries().iter().filter(|(key, _)| key.name != name).cloned();
    service.with(Value::Map(kept.collect()))
}

/// A service of a file in `folder`, its paths as seen from `from`. The file that extends it may be moved
/// into the project's folder as a whole later on.
fn as_seen_from(service: &Rc<Node>, folder: &str, from: &str) -> Rc<Node> {
    let inside = folder.strip_prefix(from).filter(|_| !from.is_empty());
    let folder = match inside {
        Some(inside) => inside.trim_start_matches('/').to_owned(),
        None if from.is_empty() => folder.to_owned(),
        None => paths::plain(&format!("{}{folder}", "../".repeat(from.split('/').count()))),
    };
    paths::rebase_service(service, &folder)
}
