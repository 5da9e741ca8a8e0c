//! What a plan says of volumes: which are made, attached again, changed or left, and what stops an instance
//! from having them.

use crate::{
    claims,
    volumes::{Home, pin},
};
use freehold_model::{
    Code, Name, Problem, ReleaseSpec, Volume, VolumeSpec, manifest,
    plan::{Action, Change, Field},
};
use freehold_reconcile::{StoreError, View, ViewExt};

/// What becomes of every volume that either release names. None is ever removed.
pub(super) fn changes(
    view: &dyn View,
    home: &Home,
    current: Option<&ReleaseSpec>,
    wanted: &ReleaseSpec,
) -> Result<Vec<Change>, StoreError> {
    let before = current.map(|release| &release.manifest.volume[..]).unwrap_or_default();
    let after = &wanted.manifest.volume;
    let mut changes = vec![];
    for volume in after {
        let old = before.iter().find(|old| old.name == volume.name);
        changes.push(match home.find(view, &volume.name)? {
            Some(found) => attached(&found, old, volume),
            None => made(home.name(&volume.name), volume),
        });
    }
    for old in before.iter().filter(|old| after.iter().all(|new| new.name != old.name)) {
        if let Some(found) = home.find(view, &old.name)? {
            let way_out = format!("no, but kept: `freehold volume delete {} --yes` removes it", found.name);
            let fields = vec![field("attached", Some(place(old)), Some(way_out))];
            changes.push(change(Action::Change, found.name, fields));
        }
    }
    Ok(changes)
}

/// What stays when the app called `app` goes.
pub(super) fn kept(
    view: &dyn View,
    project: freehold_model::AnyId,
    app: &Name,
) -> Result<Vec<Change>, StoreError> {
    let all = view.all::<VolumeSpec>(Some(project))?;
    let ours = all.into_iter().filter(|volume| volume.spec.app == *app && volume.deleting.is_none());
    let one = |volume: Volume| {
        let way_out = format!("`freehold volume delete {} --yes` removes it", volume.name);
        change(Action::Keep, volume.name, vec![field("kept", None, Some(way_out))])
    };
    Ok(ours.map(one).collect())
}

/// Says of each process that changes and has a volume how it is replaced.
pub(super) fn say_how(changes: &mut [Change], wanted: &ReleaseSpec) {
    let with = |name: &str| wanted.manifest.volume.iter().any(|volume| volume.process.as_str() == name);
    let replaced = |change: &&mut Change| change.kind == "process" && change.start > 0 && change.stop > 0;
    let changing: Vec<String> =
        changes.iter().filter(|it| it.kind == "process" && it.start > 0).map(|it| it.name.clone()).collect();
    for change in changes.iter_mut().filter(replaced).filter(|change| with(&change.name)) {
        let follows = |name: &&String| {
            let process = wanted.manifest.process.iter().find(|(it, _)| it.as_str() == name.as_str());
            process.is_some_and(|(_, it)| it.after.iter().any(|before| before.as_str() == change.name))
        };
        let followers: Vec<&str> = changing.iter().filter(follows).map(String::as_str).collect();
        let when = match followers[..] {
            [] => "; last, when everything else is healthy".to_owned(),
            _ => format!("; before {} start, which come after it", followers.join(", ")),
        };
        let how =
            format!("stopped, then started: its volume has one writer, so it is away for a moment{when}");
        change.fields.push(field("replaced", None, Some(how)));
    }
}

/// What keeps instances of `wanted` from having their volumes.
pub(super) fn blockers(
    view: &dyn View,
    home: &Home,
    wanted: &ReleaseSpec,
) -> Result<Vec<Problem>, StoreError> {
    let mut problems = vec![];
    for (process, template) in &wanted.templates {
        let volumes = home.existing(view, template)?;
        if let Err(why) = pin(view, &volumes)? {
            problems.push(Problem::new(Code::Unplaceable, format!("{process}: {why}")));
        }
        for volume in &volumes {
            let owner = view.claim(claims::VOLUME, &volume.id.to_string())?;
            if volume.deleting.is_none() && owner == Some(volume.any_id()) {
                let title = format!("{process}: volume {} is being worked on", volume.name);
                let hint = format!("`freehold volume describe {}` says by what; wait for it", volume.name);
                problems.push(Problem::new(Code::Conflict, title).hint(hint));
            }
        }
    }
    Ok(problems)
}

fn made(name: String, volume: &manifest::Volume) -> Change {
    let fields = vec![
        field("attached", None, Some(place(volume))),
        field("size", None, Some(volume.size.to_string())),
    ];
    change(Action::Add, name, fields)
}

fn attached(found: &Volume, old: Option<&manifest::Volume>, new: &manifest::Volume) -> Change {
    let mut fields = vec![];
    let before = old.map(place).unwrap_or_else(|| "no, it was kept".into());
    if before != place(new) {
        fields.push(field("attached", Some(before), Some(place(new))));
    }
    if found.spec.size != new.size {
        fields.push(field("size", Some(found.spec.size.to_string()), Some(new.size.to_string())));
    }
    let action = if fields.is_empty() { Action::Keep } else { Action::Change };
    change(action, found.name.clone(), fields)
}

fn place(volume: &manifest::Volume) -> String {
    format!("to {} at {}", volume.process, volume.path)
}

fn field(path: &str, before: Option<String>, after: Option<String>) -> Field {
    Field { path: path.into(), before, after }
}

fn change(action: Action, name: String, fields: Vec<Field>) -> Change {
    Change { action, kind: "volume".into(), name, start: 0, keep: 0, stop: 0, fields }
}
