//! From text to services: parsed, variables replaced, files laid over each other, `include` and `extends`
//! followed, profiles chosen. What comes out is what docker compose would run.

use crate::{
    ComposeError, File,
    dotenv::{self, Variable},
    interpolate::interpolate,
    merge::{is_same, laid_over, pruned},
    node::{Key, Node, Place, Text, Value},
    paths,
    report::Report,
    yaml,
};
use std::{
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

/// What lies outside the file: other files and variables. Paths are as seen from the folder of the project.
pub trait Outside {
    /// The text of a file; the error says why there is none.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self, path: &str) -> Result<String, String>;
    /// Whether a path on the host is a file and no folder; `None` where nothing is there.
    fn is_file(&self, path: &str) -> Option<bool>;
    /// The value of a variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// One text for all ways to write the same path.
    fn identity(&self, path: &str) -> String {
        paths::plain(path)
    }
}

/// How many files may be read, those that are included and extended too.
const MOST_FILES: usize = 100;
/// How many includes may be nested.
const DEEPEST: usize = 16;

/// A Compose file, ready to be converted.
pub(crate) struct Project {
    pub(crate) root: Rc<Node>,
    /// What is run, by name, in the order of the file.
    pub(crate) services: Vec<(Key, Rc<Node>)>,
    /// Variables that a value takes and nobody set: where, the path, the variable.
    pub(crate) unset: Vec<(Place, String, String)>,
    /// What `.env` sets.
    pub(crate) dotenv: Vec<Variable>,
}

pub(crate) struct Loader<'a> {
    pub(crate) outside: &'a dyn Outside,
    pub(crate) report: &'a mut Report,
    /// The name of the app, for `COMPOSE_PROJECT_NAME`.
    app: &'a str,
    /// `.env`, and one for each include that is being read.
    env_files: Vec<Vec<Variable>>,
    /// Files that were read, by path.
    documents: HashMap<String, Rc<Node>>,
    files: usize,
    used: BTreeSet<String>,
    unset: Vec<(Place, String, String)>,
}

/// Reads the Compose files, the later laid over the earlier.
pub(crate) fn load(
    files: &[File],
    app: &str,
    profiles: &[String],
    outside: &dyn Outside,
    report: &mut Report,
) -> Result<Project, ComposeError> {
    let mut loader = Loader {
        outside,
        report,
        app,
        env_files: vec![],
        documents: HashMap::new(),
        files: files.len(),
        used: BTreeSet::new(),
        unset: vec![],
    };
    let dotenv = loader.env_file(".env")?;
    loader.env_files.push(dotenv);
    let root = loader.model(files, "", 0)?;
    let services = match root.get("services").map(|node| &node.value) {
        Some(Value::Map(services)) if !services.is_empty() => services.clone(),
        _ => {
            let hint = "there is no `services` table with a service in it: is this a Compose file?";
            return Err(shape(&root.at, hint));
        }
    };
    let mut profiles = profiles.to_vec();
    if let Some(more) = loader.variable("COMPOSE_PROFILES") {
        profiles.extend(more.split(',').map(|profile| profile.trim().to_owned()));
    }
    let mut ready = vec![];
    for (key, service) in services {
        if !matches!(service.value, Value::Map(_)) {
            return Err(shape(&key.at, &format!("the service `{}` is not a table", key.name)));
        }
        if loader.is_chosen(&key, &service, &profiles) {
            ready.push((key, service));
        }
    }
    loader.say_what_was_used();
    let dotenv = loader.env_files.swap_remove(0);
    Ok(Project { root, services: ready, unset: loader.unset, dotenv })
}

pub(crate) fn shape(at: &Place, reason: &str) -> ComposeError {
    ComposeError::Shape { at: at.to_string(), reason: reason.to_owned() }
}

/// The files that `COMPOSE_FILE` names, in the environment or in `.env`.
pub fn chosen_files(outside: &dyn Outside) -> Option<Vec<String>> {
    let text = outside.read(".env").unwrap_or_default();
    let dotenv = dotenv::parse(&text, &|name| outside.variable(name)).unwrap_or_default();
    let in_file = |name: &str| Some(dotenv.iter().rev().find(|one| one.name == name)?.value.clone());
    let variable =
        |name: &str| outside.variable(name).or_else(|| in_file(name)).filter(|text| !text.is_empty());
    let separator = variable("COMPOSE_PATH_SEPARATOR").unwrap_or_else(|| ":".to_owned());
    Some(variable("COMPOSE_FILE")?.split(&separator).map(str::to_owned).collect())
}

impl Loader<'_> {
    /// A file of variables for Compose files themselves; where there is none, it sets nothing.
    fn env_file(&self, path: &str) -> Result<Vec<Variable>, ComposeError> {
        let Ok(text) = self.outside.read(path) else { return Ok(vec![]) };
        dotenv::parse(&text, &|name| self.variable(name))
            .map_err(|wrong| shape(&Place { file: path.into(), line: wrong.line, column: 1 }, wrong.reason))
    }

    /// What a variable is, in a Compose file: the environment wins over `.env`, that over an include's.
    fn variable(&self, name: &str) -> Option<String> {
        let in_files = || Some(self.in_env_files(name)?.value.clone());
        let own = || (name == "COMPOSE_PROJECT_NAME").then(|| self.app.to_owned());
        self.outside.variable(name).or_else(in_files).or_else(own)
    }

    fn in_env_files(&self, name: &str) -> Option<&Variable> {
        self.env_files.iter().find_map(|file| file.iter().rev().find(|one| one.name == name))
    }

    /// Several files as one, with what they include; paths as seen from the project's folder.
    fn model(&mut self, files: &[File], folder: &str, depth: usize) -> Result<Rc<Node>, ComposeError> {
        let mut root: Option<Rc<Node>> = None;
        for file in files {
            for tree in yaml::parse(&file.name, &file.text)? {
                let tree = self.replaced(&tree, "")?;
                let tree = self.extend_all(&tree, root.as_ref(), &file.name, folder)?;
                let tree = paths::rebase(&tree, folder);
                root = Some(match root {
                    Some(below) => laid_over(&below, &tree, &mut vec![]),
                    None => tree,
                });
            }
        }
        let at = Place { file: "".into(), line: 1, column: 1 };
        let root = root.unwrap_or_else(|| Rc::new(Node::new(at, Value::Null)));
        self.included(&pruned(&root), folder, depth)
    }

    fn included(&mut self, root: &Rc<Node>, folder: &str, depth: usize) -> Result<Rc<Node>, ComposeError> {
        let Some(include) = root.get("include").cloned() else { return Ok(root.clone()) };
        let mut whole = root.clone();
        for item in include.items() {
            if depth >= DEEPEST {
                return Err(shape(&item.at, "`include` leads back to itself, or too far"));
            }
            let model = self.include(item, folder, depth)?;
            whole = import(&whole, &model)?;
        }
        Ok(whole)
    }

    /// One entry of `include`.
    fn include(&mut self, item: &Rc<Node>, folder: &str, depth: usize) -> Result<Rc<Node>, ComposeError> {
        let texts = |node: &Rc<Node>| -> Vec<String> {
            let all = node.items().iter().chain(node.text().map(|_| node));
            all.filter_map(|node| Some(paths::join(folder, node.text()?))).collect()
        };
        let path = if item.text().is_some() { Some(item) } else { item.get("path") };
        let names = path.map(texts).unwrap_or_default();
        let Some(first) = names.first() else {
            return Err(shape(&item.at, "`include` names no file"));
        };
        let own = item.get("project_directory").and_then(|node| node.text());
        let own = own.map_or_else(|| paths::folder(first), |own| paths::join(folder, own));
        let own = if own == "." { String::new() } else { own };
        let env = item.get("env_file").map(texts);
        let env = env.unwrap_or_else(|| vec![paths::join(&own, ".env")]);
        let files = names.into_iter().map(|name| Ok(File { text: self.read(&name, item)?, name }));
        let files = files.collect::<Result<Vec<_>, ComposeError>>()?;
        let mut variables = vec![];
        for file in env {
            variables.extend(self.env_file(&file)?);
        }
        self.env_files.push(variables);
        let model = self.model(&files, &own, depth + 1);
        self.env_files.pop();
        model
    }

    /// A file that another one names at `from`.
    pub(crate) fn read(&mut self, path: &str, from: &Node) -> Result<String, ComposeError> {
        self.files += 1;
        if self.files > MOST_FILES {
            return Err(shape(&from.at, "more than 100 files are read: does one lead back to itself?"));
        }
        self.outside.read(path).map_err(|reason| shape(&from.at, &format!("the file `{path}`: {reason}")))
    }

    /// A file of services to extend.
    pub(crate) fn document(&mut self, path: &str, from: &Node) -> Result<Rc<Node>, ComposeError> {
        if let Some(known) = self.documents.get(path) {
            return Ok(known.clone());
        }
        let text = self.read(path, from)?;
        let tree = yaml::parse(path, &text)?.swap_remove(0);
        let tree = self.replaced(&tree, "")?;
        self.documents.insert(path.to_owned(), tree.clone());
        Ok(tree)
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
        Ok(node.with(value))
    }

    fn replaced_text(&mut self, text: &Text, node: &Node, path: &str) -> Result<Value, ComposeError> {
        let replaced = interpolate(&text.text, &|name| self.variable(name));
        let replaced = replaced.map_err(|reason| shape(&node.at, &reason))?;
        self.used.extend(replaced.used.iter().cloned());
        for name in &replaced.unset {
            self.unset.push((node.at.clone(), path.to_owned(), name.clone()));
        }
        let secret = replaced.secret();
        let from = self.origin(&replaced.used, &replaced.text);
        Ok(Value::Text(Text { text: replaced.text, secret, unset: replaced.unset, from }))
    }

    /// Where a value stands that is a variable's alone.
    fn origin(&self, used: &[String], value: &str) -> Option<Place> {
        let [name] = used else { return None };
        let variable = self.env_files.first()?.iter().rev().find(|one| one.name == *name)?;
        let alone = variable.value == value && self.outside.variable(name).is_none();
        alone.then(|| Place { file: ".env".into(), line: variable.line, column: 1 })
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

/// The services and other resources of an included file beside those of `root`.
fn import(root: &Rc<Node>, model: &Rc<Node>) -> Result<Rc<Node>, ComposeError> {
    let mut top = root.entries().to_vec();
    for (key, section) in model.entries() {
        if !matches!(key.name.as_str(), "services" | "volumes" | "networks" | "secrets" | "configs") {
            continue;
        }
        let Some(at) = top.iter().position(|(known, _)| known.name == key.name) else {
            top.push((key.clone(), section.clone()));
            continue;
        };
        let mut entries = top[at].1.entries().to_vec();
        for (name, node) in section.entries() {
            match entries.iter().find(|(known, _)| known.name == name.name) {
                None => entries.push((name.clone(), node.clone())),
                Some((_, other)) if is_same(node, other) => {}
                Some((known, _)) => {
                    let reason = format!(
                        "`{}.{}` is in an included file too ({}), and says something else",
                        key.name, name.name, name.at
                    );
                    return Err(shape(&known.at, &reason));
                }
            }
        }
        top[at].1 = top[at].1.with(Value::Map(entries));
    }
    Ok(root.with(Value::Map(top)))
}
