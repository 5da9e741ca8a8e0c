//! Secrets for people: names, versions and their uses. There is never a value to show.

use super::{
    Paint,
    paint::Tone,
    table::{Cell, Table, cell},
    time,
};
use freehold_model::secrets::{SecretRemoved, SecretSet, SecretSummary, SecretVersionSummary};
use jiff::Timestamp;

/// Every secret that has a value.
pub(crate) fn list(secrets: &[SecretSummary], paint: Paint, now: Timestamp) -> String {
    let mut table = Table::new(&["SECRET", "APP", "VERSION", "SET", "BY", "USED BY"]);
    for secret in secrets {
        let Some(version) = current(secret) else { continue };
        let older = secret.versions.iter().any(|it| it.runs && it.number != version.number);
        let used = match (uses(version), older) {
            (used, true) => cell(format!("{used}; an older version runs"), Tone::Note),
            (used, false) => used.into(),
        };
        table.row([
            secret.name.clone().into(),
            format!("{}/{}", secret.app, secret.env).into(),
            version.number.to_string().into(),
            time::ago(version.created, now).into(),
            version.actor.to_string().into(),
            used,
        ]);
    }
    table.render(paint, 0, "no secrets; `freehold secret set NAME` makes one")
}

/// Every version of one secret.
pub(crate) fn history(secret: &SecretSummary, paint: Paint, now: Timestamp) -> String {
    let mut table = Table::new(&["VERSION", "FINGERPRINT", "SET", "BY", "STATE", "USED BY"]);
    for version in &secret.versions {
        let state: Cell = match (&version.removed, secret.current == Some(version.number)) {
            (Some(removed), _) => {
                let by = version.removed_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
                cell(format!("removed {}{by}", time::ago(*removed, now)), Tone::Dim)
            }
            (None, true) => cell("current", Tone::Good),
            (None, false) => "kept".into(),
        };
        table.row([
            version.number.to_string().into(),
            version.fingerprint.clone().into(),
            time::ago(version.created, now).into(),
            version.actor.to_string().into(),
            state,
            uses(version).into(),
        ]);
    }
    let name = paint.bold(&format!("{} of {}/{}", secret.name, secret.app, secret.env));
    format!("{name}\n{}", table.render(paint, 2, "no versions"))
}

/// Which releases use which version.
pub(crate) fn usage(secrets: &[SecretSummary], paint: Paint) -> String {
    let mut table = Table::new(&["SECRET", "APP", "VERSION", "USED BY"]);
    for secret in secrets {
        for version in secret.versions.iter().filter(|it| it.runs || !it.releases.is_empty()) {
            table.row([
                secret.name.clone().into(),
                format!("{}/{}", secret.app, secret.env).into(),
                version.number.to_string().into(),
                uses(version).into(),
            ]);
        }
    }
    table.render(paint, 0, "no release uses a secret")
}

/// What setting one came to, and what is left to do.
pub(crate) fn set(set: &SecretSet) -> String {
    let secret = &set.secret;
    let runs_older = secret.versions.iter().any(|it| it.runs && it.number != set.version);
    let next = match (runs_older, set.made_env) {
        (true, _) => format!(
            "\nWhat runs keeps the version it has: `freehold deploy`, or `freehold secret rotate {} --deploy` with \
             another value, uses the new one.",
            secret.name
        ),
        (false, true) => format!("\n{}/{} is made; `freehold deploy` will use it.", secret.app, secret.env),
        (false, false) => String::new(),
    };
    format!("{}{next}", set_briefly(set))
}

/// What setting one came to.
pub(crate) fn set_briefly(set: &SecretSet) -> String {
    let (name, place) = (&set.secret.name, format!("{}/{}", set.secret.app, set.secret.env));
    match set.changed {
        true => format!("{name} of {place} is set: version {}.", set.version),
        false => format!("{name} of {place} has this value already: version {}.", set.version),
    }
}

/// What a removal came to.
pub(crate) fn removed(removed: &SecretRemoved) -> String {
    let numbers: Vec<String> = removed.removed.iter().map(u32::to_string).collect();
    let name = &removed.secret.name;
    let what = match numbers.as_slice() {
        [] => return format!("{name} has no versions left to remove."),
        [one] => format!("Version {one} of {name} is removed"),
        several => format!("Versions {} of {name} are removed", several.join(", ")),
    };
    match removed.secret.current {
        Some(current) => format!("{what}; version {current} is the current one."),
        None => format!("{what}; it has no value any more."),
    }
}

fn current(secret: &SecretSummary) -> Option<&SecretVersionSummary> {
    secret.versions.iter().find(|version| secret.current == Some(version.number))
}

fn uses(version: &SecretVersionSummary) -> String {
    let releases = version.releases.iter().map(|number| format!("v{number}"));
    let mut all: Vec<String> = releases.collect();
    if version.runs {
        all.push("what runs".into());
    }
    if all.is_empty() { "-".into() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::{Actor, SecretId};

    fn secret() -> SecretSummary {
        let version = |number, removed: bool, releases: &[u32], runs| SecretVersionSummary {
            number,
            fingerprint: format!("0000000{number}"),
            created: Timestamp::UNIX_EPOCH,
            actor: Actor::User("admin".into()),
            removed: removed.then_some(Timestamp::UNIX_EPOCH),
            removed_by: removed.then_some(Actor::User("admin".into())),
            releases: releases.into(),
            runs,
        };
        SecretSummary {
            id: SecretId(Default::default()),
            project: "default".into(),
            app: "shop".into(),
            env: "prod".into(),
            name: "KEY".into(),
            current: Some(3),
            versions: vec![
                version(3, false, &[], false),
                version(2, false, &[1, 2], true),
                version(1, true, &[], false),
            ],
        }
    }

    #[test]
    fn a_list_says_when_what_runs_is_older() {
        let text = list(&[secret()], Paint::plain(), Timestamp::UNIX_EPOCH);
        assert!(text.contains("KEY") && text.contains("an older version runs"), "{text}");
    }

    #[test]
    fn a_history_has_every_version_with_its_uses() {
        let text = history(&secret(), Paint::plain(), Timestamp::UNIX_EPOCH);
        for part in ["3        00000003", "current", "v1, v2, what runs", "removed", "by user:admin"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let text = usage(&[secret()], Paint::plain());
        assert!(text.contains("v1, v2, what runs") && !text.contains("00000003"), "{text}");
    }
}
