//! What differs between two releases, process by process and endpoint by endpoint, for people.

use super::places;
use crate::{
    claims, secrets,
    templates::{self, count},
};
use freehold_model::{
    Name, ReleaseSpec, Template,
    manifest::{self, Check, Driver, Endpoint, Probe},
    plan::{Action, Change, Field},
};
use std::collections::{BTreeMap, BTreeSet};

type Fields = BTreeMap<String, String>;

/// The changes from `current` to `wanted`: processes, then endpoints.
pub(crate) fn changes(current: Option<&ReleaseSpec>, wanted: &ReleaseSpec) -> Vec<Change> {
    let names: BTreeSet<&Name> =
        current.into_iter().chain([wanted]).flat_map(|release| release.templates.keys()).collect();
    let processes = names.into_iter().map(|name| process(name, current, Some(wanted)));
    processes.chain(endpoints(current, Some(wanted))).chain(sign_in(current, Some(wanted))).collect()
}

/// The changes when all of `current` goes.
pub(super) fn removals(current: &ReleaseSpec) -> Vec<Change> {
    let processes = current.templates.keys().map(|name| process(name, Some(current), None));
    processes.chain(endpoints(Some(current), None)).chain(sign_in(Some(current), None)).collect()
}

fn process(name: &Name, current: Option<&ReleaseSpec>, wanted: Option<&ReleaseSpec>) -> Change {
    let template = |release: Option<&ReleaseSpec>| release.and_then(|it| it.templates.get(name)).cloned();
    let counted = |release: Option<&ReleaseSpec>| release.map_or(0, |it| count(it, name));
    let (before, after) = (template(current), template(wanted));
    let (old, new) = (counted(current), counted(wanted));
    let keep = if before == after { old.min(new) } else { 0 };
    let described = |template: Option<Template>, release: Option<&ReleaseSpec>, count| {
        let after = release.map_or(&[][..], |it| templates::after(it, name));
        let process = release.and_then(|it| it.manifest.process.get(name));
        template.map(|it| {
            let mut fields = process_fields(&it, count, after);
            fields.extend(process.into_iter().flat_map(places::fields));
            fields
        })
    };
    let (was, will) = (described(before, current, old), described(after, wanted, new));
    let mut change = compare("process", name.to_string(), was, will);
    (change.start, change.keep, change.stop) = (new - keep, keep, old - keep);
    change
}

fn endpoints(current: Option<&ReleaseSpec>, wanted: Option<&ReleaseSpec>) -> Vec<Change> {
    let by_name = |release: Option<&ReleaseSpec>| -> BTreeMap<String, Fields> {
        let all = release.into_iter().flat_map(|release| &release.manifest.endpoint);
        all.map(|it| (claims::port(it.protocol, it.listen), endpoint_fields(it))).collect()
    };
    let (mut before, mut after) = (by_name(current), by_name(wanted));
    let names: BTreeSet<String> = before.keys().chain(after.keys()).cloned().collect();
    let one = |name: String| {
        let (old, new) = (before.remove(&name), after.remove(&name));
        compare("endpoint", name, old, new)
    };
    names.into_iter().map(one).collect()
}

/// Whether and how people sign in to the app.
fn sign_in(current: Option<&ReleaseSpec>, wanted: Option<&ReleaseSpec>) -> Option<Change> {
    let of = |release: Option<&ReleaseSpec>| {
        let sign_in = release?.manifest.sign_in.as_ref()?;
        let client = release?.manifest.process.get(&sign_in.process)?.env.get(&sign_in.env.client_id)?;
        let mut fields = Fields::from([("redirect".to_owned(), joined(&sign_in.redirect))]);
        fields.insert("process".into(), sign_in.process.to_string());
        if !sign_in.after_sign_out.is_empty() {
            fields.insert("after_sign_out".into(), joined(&sign_in.after_sign_out));
        }
        Some((client.clone(), fields))
    };
    let (before, after) = (of(current), of(wanted));
    let name = after.as_ref().or(before.as_ref()).map(|(client, _)| client.clone())?;
    Some(compare("sign-in", name, before.map(|it| it.1), after.map(|it| it.1)))
}

/// The endpoints of a release, as they are called.
pub(crate) fn endpoint_names(release: &ReleaseSpec) -> Vec<String> {
    release.manifest.endpoint.iter().map(|it| claims::port(it.protocol, it.listen)).collect()
}

fn compare(kind: &str, name: String, before: Option<Fields>, after: Option<Fields>) -> Change {
    let mut action = match (&before, &after) {
        (None, _) => Action::Add,
        (_, None) => Action::Remove,
        _ => Action::Change,
    };
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let field = |path: &String| Field {
        path: path.clone(),
        before: before.get(path).cloned(),
        after: after.get(path).cloned(),
    };
    let fields: Vec<Field> =
        paths.into_iter().map(field).filter(|field| field.before != field.after).collect();
    if action == Action::Change && fields.is_empty() {
        action = Action::Keep;
    }
    Change { action, kind: kind.into(), name, start: 0, keep: 0, stop: 0, fields }
}

fn process_fields(template: &Template, count: u32, after: &[Name]) -> Fields {
    let mut fields = Fields::new();
    let mut set = |path: &str, value: String| fields.insert(path.to_owned(), value);
    set("image", format!("{} ({})", template.image.reference, template.image.digest.short()));
    let driver = match template.driver {
        Driver::Container => "container",
        Driver::Process => "process (no isolation)",
    };
    set("driver", driver.to_owned());
    set("count", count.to_string());
    set("cpu", template.cpu.to_string());
    set("memory", template.memory.to_string());
    set("stop_timeout", template.stop_timeout.to_string());
    if template.pids != manifest::DEFAULT_PIDS {
        set("pids", template.pids.to_string());
    }
    if template.disk != manifest::DEFAULT_DISK {
        set("disk", template.disk.to_string());
    }
    if !template.egress.is_empty() {
        set("egress", joined(&template.egress));
    }
    if !after.is_empty() {
        set("after", joined(after));
    }
    if let Some(command) = &template.command {
        set("command", command.join(" "));
    }
    if let Some(args) = &template.args {
        set("args", args.join(" "));
    }
    if template.revision > 0 {
        set("restarts", template.revision.to_string());
    }
    for (key, value) in &template.env {
        set(&format!("env.{key}"), value.clone());
    }
    for secret in &template.secrets {
        let place = secret.env.iter().map(|it| format!("variable {it}"));
        let place: Vec<String> = place.chain(secret.file.iter().map(|it| format!("file {it}"))).collect();
        // One secret may be in two places, and each is a line.
        let path = match &secret.file {
            Some(file) => format!("secret.{} {file}", secret.name),
            None => format!("secret.{}", secret.name),
        };
        set(&path, format!("{} as {}", secrets::shown(secret.version), place.join(", ")));
    }
    if let Some(check) = &template.check {
        fields.extend(check_fields(check));
    }
    fields
}

fn joined(list: &[impl ToString]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn check_fields(check: &Check) -> [(String, String); 6] {
    let probe = match &check.probe {
        Probe::Http { path, port } => format!("http {path} on port {port}"),
        Probe::Tcp { port } => format!("tcp on port {port}"),
        Probe::Command(command) => format!("command {}", command.join(" ")),
    };
    [
        ("check".into(), probe),
        ("check.every".into(), check.every.to_string()),
        ("check.timeout".into(), check.timeout.to_string()),
        ("check.unhealthy_after".into(), check.unhealthy_after.to_string()),
        ("check.grace".into(), check.grace.to_string()),
        ("check.restart_after".into(), check.restart_after.to_string()),
    ]
}

fn endpoint_fields(endpoint: &Endpoint) -> Fields {
    let proxy = format!("{:?}", endpoint.proxy_protocol).to_lowercase();
    let always = [
        ("process", endpoint.process.to_string()),
        ("target", endpoint.target.to_string()),
        ("proxy_protocol", proxy),
    ];
    let trusted: Vec<_> = endpoint.trusted_proxies.iter().map(ToString::to_string).collect();
    let given = [
        ("trusted_proxies", (!trusted.is_empty()).then(|| trusted.join(", "))),
        ("idle_timeout", endpoint.idle_timeout.map(|time| time.to_string())),
        ("max_connections", endpoint.max_connections.map(|most| most.to_string())),
    ];
    let given = given.into_iter().filter_map(|(path, value)| Some((path, value?)));
    always.into_iter().chain(given).map(|(path, value)| (path.to_owned(), value)).collect()
}
