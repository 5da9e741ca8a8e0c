//! The conversion from end to end: load, convert each service, render, and read the result back.

use crate::{
    ComposeError, File,
    draft::{Draft, Process},
    keys::{self, sweep},
    load::{Outside, Project, load},
    node::Node,
    render::render,
    report::{Lost, Report, SecretToSet},
    secrets::is_secret_name,
    service::{self, Scene},
};
use freehold_model::{Manifest, Name};
use std::collections::BTreeMap;

/// How to convert.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The app's name; that of the file, or of its folder, when not given.
    pub app: Option<Name>,
    /// What the app is called where neither says it.
    pub fallback: String,
    /// Profiles that are on; `*` is all.
    pub profiles: Vec<String>,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The app.
    pub app: Name,
    /// The text of the manifest.
    pub manifest: String,
    /// Its processes.
    pub processes: Vec<Name>,
    /// Keys that ask for something and were not carried, in the order of the file.
    pub lost: Vec<Lost>,
    /// Secrets that must be set before a deploy.
    pub secrets: Vec<SecretToSet>,
    /// Images that must be pushed before a deploy.
    pub builds: Vec<String>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

/// Converts Compose files: the first, with the others laid over it.
///
/// # Errors
/// [`ComposeError`]: nothing can be made of it.
pub fn import(files: &[File], options: &Options, outside: &dyn Outside) -> Result<Import, ComposeError> {
    let mut report = Report::default();
    let called = options.app.as_ref().map_or(options.fallback.as_str(), Name::as_str);
    let project = load(files, called, &options.profiles, outside, &mut report)?;
    sweep(&project.root, keys::FILE, "", &mut report);
    let app = app(&project.root, options, outside, &mut report);
    let mut scene = Scene::new(&app, &project, outside, &mut report);
    let processes: Vec<Process> = service::all(&mut scene)?;
    let (endpoints, volumes) = (std::mem::take(&mut scene.endpoints), std::mem::take(&mut scene.volumes));
    let secrets = scene.vault.to_set();
    let builds = std::mem::take(&mut scene.builds);
    unset(&project, &mut report);
    if processes.is_empty() {
        let at = project.root.at.to_string();
        let reason = "no service is left to convert: see which profiles there are".to_owned();
        return Err(ComposeError::Shape { at, reason });
    }
    report.lost.sort_by(|a, b| (&a.at, &a.path).cmp(&(&b.at, &b.path)));
    let draft = Draft { app, processes, endpoints, volumes };
    let sources: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let manifest = render(&draft, &sources.join(", "), &report.lost);
    read_back(&manifest)?;
    Ok(Import {
        app: draft.app,
        manifest,
        processes: draft.processes.into_iter().map(|process| process.name).collect(),
        lost: report.lost,
        secrets,
        builds,
        notes: report.notes,
    })
}

fn app(root: &Node, options: &Options, outside: &dyn Outside, report: &mut Report) -> Name {
    if let Some(app) = &options.app {
        return app.clone();
    }
    if let Some(name) = outside.variable("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()) {
        return service::name_of(&name);
    }
    let given = root.get("name").and_then(|name| Some((name.at.clone(), name.text()?.to_owned())));
    if let Some((at, given)) = given {
        let name = service::name_of(&given);
        if name.as_str() != given {
            report.lose("name", &at, format!("an app cannot be called so: it is `{name}`"), "");
        }
        return name;
    }
    service::name_of(&options.fallback)
}

/// Variables that nobody set, where they are not a secret that is to be set anyway.
fn unset(project: &Project, report: &mut Report) {
    let mut by_name: BTreeMap<&str, _> = BTreeMap::new();
    for (at, path, name) in project.unset.iter().filter(|(_, _, name)| !is_secret_name(name)) {
        by_name.entry(name).or_insert((at, path));
    }
    for (name, (at, path)) in by_name {
        let reason = format!("the variable `{name}` is set nowhere: nothing stands for it");
        report.lose(path, at, reason, "set it in .env or the environment, and convert again");
    }
}

/// The result is what `deploy` would accept; but keys that Freehold cannot do yet may be in it.
fn read_back(manifest: &str) -> Result<(), ComposeError> {
    let env: Name = "prod".parse().map_err(|error| ComposeError::Invalid(format!("{error}")))?;
    match Manifest::parse("freehold.toml", manifest, &env) {
        Err(errors) if errors.list.iter().any(|error| !error.not_yet) => {
            Err(ComposeError::Invalid(errors.to_string()))
        }
        _ => Ok(()),
    }
}
