//! What people do to volumes by name: make one, copy one, have its node do something with it, delete it.
//!
//! Called by the API, which commits the transaction. Invariant: nothing is deleted that an instance has,
//! and a node is asked for one thing at a time.

use super::holder;
use crate::{claims, quota};
use freehold_model::{
    Actor, AnyId, Code, EnvId, Instance, InstanceSpec, Name, NodeId, NodeSpec, Problem, Project, ProjectSpec,
    Source, TaskState, Txn, Volume, VolumeAction, VolumeId, VolumeSpec, VolumeTask, api::CreateVolume,
};
use freehold_reconcile::{Ids, StoreError, View, ViewExt};
use jiff::Timestamp;

/// Who asks, and when.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Who.
    pub actor: Actor,
    /// The request.
    pub request: String,
    /// When.
    pub now: Timestamp,
}

/// Why it cannot be done.
#[derive(Debug)]
pub enum ChangeError {
    /// As the caller is told.
    Refused(Box<Problem>),
    /// Reading failed.
    Store(StoreError),
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> ChangeError {
        ChangeError::Store(error)
    }
}

impl From<Problem> for ChangeError {
    fn from(problem: Problem) -> ChangeError {
        ChangeError::Refused(Box::new(problem))
    }
}

/// A transaction, and the volume that it is about.
type Change = Result<(Txn, VolumeId), ChangeError>;

/// Makes a volume before any instance needs it; empty, or with the bytes of another.
///
/// # Errors
/// When the name is taken, or what is named does not exist.
pub fn create_volume(view: &dyn View, wanted: &CreateVolume, asker: &Asker, ids: &mut dyn Ids) -> Change {
    let project = find_project(view, wanted.project.as_ref().map_or("default", |name| name.as_str()))?;
    let name = VolumeSpec::name(wanted.app.as_str(), wanted.env.as_str(), wanted.volume.as_str());
    if view.named::<VolumeSpec>(Some(project.any_id()), &name)?.is_some() {
        return Err(Problem::new(Code::Conflict, format!("there is a volume {name} already"))
            .hint("Choose another name, or delete that one first.")
            .into());
    }
    let source = match &wanted.from {
        Some(source) => Some(find_source(view, source)?),
        None => None,
    };
    let node = match (&source, &wanted.node) {
        (Some(source), None) => source.spec.node,
        (Some(source), Some(named)) => {
            let node = find_node(view, Some(named.as_str()))?;
            if node != source.spec.node {
                let title =
                    format!("{} is on another node, and bytes are not moved between nodes", source.name);
                return Err(Problem::new(Code::Unplaceable, title).hint("Leave the node out.").into());
            }
            node
        }
        (None, named) => find_node(view, named.as_ref().map(|name| name.as_str()))?,
    };
    let default = source.as_ref().map_or(VolumeSpec::DEFAULT_SIZE, |source| source.spec.size);
    let spec = VolumeSpec {
        app: wanted.app.clone(),
        env: wanted.env.clone(),
        volume: wanted.volume.clone(),
        node,
        size: wanted.size.unwrap_or(default),
        source: wanted.from.clone(),
        task: None,
        recreate: None,
    };
    if let Some(problem) = quota::volume_blocker(view, &project, spec.size)? {
        return Err(problem.into());
    }
    let id = VolumeId(ids.ulid());
    let mut txn = txn(asker, format!("make volume {name}"));
    quota::admit(&mut txn, view, &project, asker.now)?;
    if let Some(source) = &source {
        txn.expect(source.id, source.version);
    }
    txn.put(&Volume::new(id, name, Some(project.any_id()), spec, asker.now));
    Ok((txn, id))
}

/// Has the volume's node do `action`.
///
/// # Errors
/// When it is busy with another, or what is named does not exist.
pub fn change_volume(
    view: &dyn View,
    id: VolumeId,
    action: VolumeAction,
    asker: &Asker,
    ids: &mut dyn Ids,
) -> Change {
    let mut volume = find(view, id)?;
    let snapshot = |name: &Name| volume.status.snapshots.iter().any(|it| it.name == *name);
    match &action {
        VolumeAction::Snapshot(name) if snapshot(name) => {
            return Err(Problem::new(
                Code::Conflict,
                format!("{} has a snapshot {name} already", volume.name),
            )
            .hint("Choose another name.")
            .into());
        }
        VolumeAction::Restore(name) | VolumeAction::Drop(name) if !snapshot(name) => {
            let names: Vec<&str> = volume.status.snapshots.iter().map(|it| it.name.as_str()).collect();
            let there = if names.is_empty() {
                "It has none.".into()
            } else {
                format!("It has: {}.", names.join(", "))
            };
            let title = format!("{} has no snapshot {name}", volume.name);
            return Err(Problem::new(Code::NotFound, title).hint(there).into());
        }
        VolumeAction::Drop(name) => is_no_source(view, &volume, Some(name))?,
        _ => {}
    }
    if !volume.status.ready {
        return Err(Problem::new(Code::Conflict, format!("{} is not there yet", volume.name))
            .hint(format!("`freehold volume describe {}` says why.", volume.name))
            .into());
    }
    if let Some(task) = under_way(&volume) {
        return Err(busy(&volume, task).into());
    }
    if let (VolumeAction::Restore(_), Some(instance)) = (&action, attached(view, &volume)?) {
        not_while_rolling(view, &volume, &instance)?;
    }
    let reason = format!("{action} of volume {}", volume.name);
    volume.spec.task =
        Some(VolumeTask { id: ids.ulid().to_string(), action, asked: asker.now, cancelled: false });
    let mut txn = txn(asker, reason);
    txn.expect(volume.id, volume.version).put_spec(&volume);
    Ok((txn, id))
}

/// Calls off what the volume's node is doing with it. The status's task says how that ended: it may be too
/// late. Calling it off twice is calling it off.
///
/// # Errors
/// When nothing is under way.
pub fn cancel_volume_task(view: &dyn View, id: VolumeId, asker: &Asker) -> Change {
    let mut volume = find(view, id)?;
    let Some(mut task) = under_way(&volume).cloned() else {
        let VolumeSpec { source, .. } = &volume.spec;
        let hint = match (volume.status.ready, source) {
            (false, Some(_)) => format!(
                "It is being copied from another; `freehold volume delete {} --yes` gives it up.",
                volume.name
            ),
            _ => format!("`freehold volume describe {}` says how it is.", volume.name),
        };
        let title = format!("nothing is under way with {}", volume.name);
        return Err(Problem::new(Code::Conflict, title).hint(hint).into());
    };
    let mut txn = txn(asker, format!("call off the {} of volume {}", task.action, volume.name));
    if !task.cancelled {
        task.cancelled = true;
        volume.spec.task = Some(task);
        txn.expect(volume.id, volume.version).put_spec(&volume);
    }
    Ok((txn, id))
}

/// Has a volume whose data is gone made again, empty.
///
/// # Errors
/// When its node has not said that it is gone.
pub fn recreate_volume(view: &dyn View, id: VolumeId, asker: &Asker) -> Change {
    let mut volume = find(view, id)?;
    if volume.status.lost.is_none() {
        let title = format!("the data of {} is not missing", volume.name);
        return Err(Problem::new(Code::Conflict, title)
            .hint(format!("`freehold volume describe {}` says how it is.", volume.name))
            .into());
    }
    let mut txn = txn(asker, format!("make volume {} anew, empty", volume.name));
    if volume.spec.recreate != volume.status.lost {
        volume.spec.recreate.clone_from(&volume.status.lost);
        txn.expect(volume.id, volume.version).put_spec(&volume);
    }
    Ok((txn, id))
}

/// Deletes the volume with all it holds, its snapshots included.
///
/// # Errors
/// When an instance has it, or it is busy.
pub fn delete_volume(view: &dyn View, id: VolumeId, asker: &Asker) -> Change {
    let volume = find(view, id)?;
    let mut txn = txn(asker, format!("delete volume {}", volume.name));
    if let Some(instance) = attached(view, &volume)? {
        let VolumeSpec { app, env, .. } = &volume.spec;
        let title =
            format!("volume {} is attached: {} of {app}/{env} writes to it", volume.name, instance.id);
        return Err(Problem::new(Code::Conflict, title)
            .hint(format!("Take it out of the manifest and deploy, or remove the app (`freehold app delete {app}`), first."))
            .into());
    }
    is_no_source(view, &volume, None)?;
    if let Some(task) = under_way(&volume) {
        return Err(busy(&volume, task).into());
    }
    txn.expect(volume.id, volume.version);
    txn.makes_room = true;
    match view.find::<NodeSpec>(volume.spec.node)? {
        // The volume itself has its claim from now on: no instance can get it any more.
        Some(node) if node.deleting.is_none() => txn.claim(claims::VOLUME, id, id).deleting(id),
        _ => txn.delete(id),
    };
    Ok((txn, id))
}

fn txn(asker: &Asker, reason: String) -> Txn {
    Txn::new(asker.actor.clone(), reason, &asker.request)
}

fn find(view: &dyn View, id: VolumeId) -> Result<Volume, ChangeError> {
    let missing = || {
        Problem::new(Code::NotFound, format!("there is no volume {id}"))
            .hint("`freehold volume list` shows what there is.")
    };
    let volume = view.find::<VolumeSpec>(id)?.ok_or_else(missing)?;
    match volume.deleting {
        Some(_) => {
            Err(Problem::new(Code::Conflict, format!("volume {} is being deleted", volume.name)).into())
        }
        None => Ok(volume),
    }
}

fn find_source(view: &dyn View, source: &Source) -> Result<Volume, ChangeError> {
    let volume = find(view, source.volume)?;
    if !volume.status.ready {
        return Err(Problem::new(Code::Conflict, format!("{} is not there yet", volume.name)).into());
    }
    match &source.snapshot {
        Some(name) if !volume.status.snapshots.iter().any(|it| it.name == *name) => {
            let title = format!("{} has no snapshot {name}", volume.name);
            Err(Problem::new(Code::NotFound, title).hint("`freehold volume snapshots` lists them.").into())
        }
        _ => Ok(volume),
    }
}

fn find_project(view: &dyn View, name: &str) -> Result<Project, ChangeError> {
    let found = view.all::<ProjectSpec>(None)?.into_iter().find(|project| project.name == name);
    found.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no project {name}")).into())
}

/// The node of that name, or the first that takes instances.
fn find_node(view: &dyn View, name: Option<&str>) -> Result<NodeId, ChangeError> {
    let nodes = view.all::<NodeSpec>(None)?;
    let found = match name {
        Some(name) => nodes.iter().find(|node| node.name == name && node.deleting.is_none()),
        None => nodes.iter().find(|node| !node.spec.cordoned && node.deleting.is_none()),
    };
    found.map(|node| node.id).ok_or_else(|| match name {
        Some(name) => Problem::new(Code::NotFound, format!("there is no node {name}"))
            .hint("`freehold node list` shows what there is.")
            .into(),
        None => Problem::new(Code::Unplaceable, "there is no node that takes anything").into(),
    })
}

fn busy(volume: &Volume, task: &VolumeTask) -> Problem {
    let title = format!("{}: the {} is under way", volume.name, task.action);
    let problem = match &volume.status.task {
        Some(status) if status.id == task.id => {
            Problem::new(Code::Conflict, title).detail(status.message.clone())
        }
        _ => Problem::new(Code::Conflict, title),
    };
    problem.hint(format!(
        "Try again when it has ended, or call it off: `freehold volume cancel {}`.",
        volume.name
    ))
}

fn under_way(volume: &Volume) -> Option<&VolumeTask> {
    let task = volume.spec.task.as_ref()?;
    let ended = volume.status.task.as_ref().filter(|it| it.id == task.id && it.state != TaskState::Running);
    if ended.is_some() { None } else { Some(task) }
}

fn attached(view: &dyn View, volume: &Volume) -> Result<Option<Instance>, StoreError> {
    match holder(view, volume.id)? {
        Some(id) => view.find::<InstanceSpec>(id),
        None => Ok(None),
    }
}

/// Stopping the instance would make the rollout fail.
fn not_while_rolling(view: &dyn View, volume: &Volume, instance: &Instance) -> Result<(), ChangeError> {
    let env = instance.parent.and_then(|parent: AnyId| EnvId::try_from(parent).ok());
    let rollout = env.map(|env| claims::active_rollout(view, env)).transpose()?.flatten();
    match rollout {
        None => Ok(()),
        Some(rollout) => {
            let VolumeSpec { app, env, .. } = &volume.spec;
            let hint = format!("Wait for it: `freehold receipt {} --wait`.", rollout.spec.receipt);
            Err(Problem::new(Code::Conflict, format!("a rollout of {app}/{env} is under way"))
                .hint(hint)
                .into())
        }
    }
}

/// What is being copied stays until it is copied.
fn is_no_source(view: &dyn View, volume: &Volume, snapshot: Option<&Name>) -> Result<(), ChangeError> {
    let copies = |it: &&Volume| {
        let source = it.spec.source.as_ref().filter(|source| source.volume == volume.id);
        !it.status.ready && source.is_some_and(|it| snapshot.is_none() || it.snapshot.as_ref() == snapshot)
    };
    match view.all::<VolumeSpec>(volume.parent)?.iter().find(copies) {
        None => Ok(()),
        Some(copy) => {
            Err(Problem::new(Code::Conflict, format!("{} is being copied to {}", volume.name, copy.name))
                .hint("Try again when that is done, or delete the copy first.")
                .into())
        }
    }
}
