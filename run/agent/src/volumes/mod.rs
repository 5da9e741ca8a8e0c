//! The volumes of this node: who has which, which are held for a restore, and the keeper that makes them.
//!
//! Workers attach a volume before they start a run and detach it when the run is over; the keeper holds one
//! while it changes what it holds. Invariant: on this node, too, a volume has one writer at most, whatever
//! the control plane says.

mod keeper;
mod store;
mod task;
mod work;

pub(crate) use keeper::Keeper;

use freehold_model::{InstanceId, InstanceSpec, Name, TaskStatus, VolumeId};
use freehold_runtime::volume::VolumeMount;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use store::Store;
use tokio::sync::watch;
use work::UnderWay;

/// Who has which volume.
pub(crate) struct Volumes {
    root: PathBuf,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    attached: BTreeMap<VolumeId, Writer>,
    held: BTreeSet<VolumeId>,
    work: BTreeMap<VolumeId, UnderWay>,
    /// How the last task of each ended, as far as this agent did it.
    ended: BTreeMap<VolumeId, TaskStatus>,
    /// Those that were there before and are not found, and what to do.
    lost: BTreeMap<VolumeId, String>,
    /// Why those are not there that are not.
    troubles: BTreeMap<VolumeId, String>,
}

/// Who has a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) instance: InstanceId,
    process: Name,
    /// It has so long to stop, and is killed then.
    patience: Duration,
}

impl Writer {
    fn of(instance: InstanceId, spec: &InstanceSpec) -> Writer {
        let patience = spec.template.stop_timeout.duration();
        Writer { instance, process: spec.process.clone(), patience }
    }
}

impl Volumes {
    /// Those under the data directory `data`.
    pub(crate) fn new(data: &Path) -> Volumes {
        Volumes { root: data.join("volumes"), state: Mutex::default(), changed: watch::channel(0).0 }
    }

    /// What is on the disk of one.
    pub(crate) fn store(&self, id: VolumeId) -> Store {
        Store::new(&self.root, id)
    }

    /// Changes whenever somebody attaches, detaches, holds or lets go, or a volume was made.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Tells everybody who waits to look again.
    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Whether what `spec` needs is held: then it must not run now.
    pub(crate) fn is_held(&self, spec: &InstanceSpec) -> bool {
        let state = self.state();
        spec.volumes.values().any(|id| state.held.contains(id))
    }

    /// For which volume of `spec` its start has to wait, and why.
    pub(crate) fn awaited(&self, spec: &InstanceSpec) -> Option<String> {
        let state = self.state();
        spec.volumes.iter().find_map(|(name, id)| {
            let why = match self.store(*id).exists() {
                _ if state.lost.contains_key(id) => state.lost.get(id).map_or("", String::as_str),
                true if !state.held.contains(id) => return None,
                true => "is being restored",
                false => state.troubles.get(id).map_or("is being made", String::as_str),
            };
            Some(format!("starts when its volume {name} is there: {why}"))
        })
    }

    /// Notes why a volume is not there, or that nothing is wrong with it.
    pub(crate) fn note_trouble(&self, id: VolumeId, trouble: Option<&str>) {
        let mut state = self.state();
        match trouble {
            Some(why) => state.troubles.insert(id, why.to_owned()),
            None => state.troubles.remove(&id),
        };
    }

    /// Why a volume is not as wanted.
    pub(crate) fn trouble(&self, id: VolumeId) -> Option<String> {
        self.state().troubles.get(&id).cloned()
    }

    /// Notes that a volume is lost, and what to do about it, or that it is not.
    fn note_lost(&self, id: VolumeId, lost: Option<String>) {
        let mut state = self.state();
        let known = state.lost.get(&id).cloned();
        if known == lost {
            return;
        }
        match lost {
            Some(why) => state.lost.insert(id, why),
            None => state.lost.remove(&id),
        };
        drop(state);
        self.tell();
    }

    /// Notes how a task of a volume ended.
    fn note_ended(&self, id: VolumeId, status: &TaskStatus) {
        self.state().ended.insert(id, status.clone());
    }

    /// How the task `task` of a volume ended, as far as this node knows.
    fn ended(&self, id: VolumeId, task: &str) -> Option<TaskStatus> {
        let here = self.state().ended.get(&id).cloned();
        here.or_else(|| self.store(id).task()).filter(|ended| ended.id == task)
    }

    /// Where `spec` finds its volumes, in the runtime's words.
    pub(crate) fn mounts(&self, spec: &InstanceSpec) -> Vec<VolumeMount> {
        let mounts = spec.template.mounts.iter();
        let one = |(mount, id): (&freehold_model::Mount, &VolumeId)| VolumeMount {
            dir: self.store(*id).dir().to_owned(),
            path: mount.path.clone(),
        };
        mounts.filter_map(|mount| Some((mount, spec.volumes.get(&mount.volume)?))).map(one).collect()
    }

    /// Gives the volumes of `spec` to `instance`, all or none.
    ///
    /// # Errors
    /// When another instance has one, or it is held; in words.
    pub(crate) fn attach(&self, instance: InstanceId, spec: &InstanceSpec) -> Result<(), String> {
        let mut state = self.state();
        for id in spec.volumes.values() {
            match state.attached.get(id) {
                Some(other) if other.instance != instance => {
                    let other = other.instance;
                    return Err(format!("volume {id} is written by {other}, and has one writer at a time"));
                }
                _ if state.held.contains(id) => return Err(format!("volume {id} is being restored")),
                _ => {}
            }
        }
        state.attached.extend(spec.volumes.values().map(|id| (*id, Writer::of(instance, spec))));
        Ok(())
    }

    /// The run of `instance` is followed already: it has its volumes, come what may.
    pub(crate) fn adopt(&self, instance: InstanceId, spec: &InstanceSpec) {
        self.state().attached.extend(spec.volumes.values().map(|id| (*id, Writer::of(instance, spec))));
    }

    /// Takes back whatever `instance` has.
    pub(crate) fn detach(&self, instance: InstanceId) {
        let before = self.state().attached.len();
        self.state().attached.retain(|_, writer| writer.instance != instance);
        if before != self.state().attached.len() {
            self.tell();
        }
    }

    /// Who has the volume.
    pub(crate) fn writer(&self, id: VolumeId) -> Option<Writer> {
        self.state().attached.get(&id).cloned()
    }

    /// Keeps the volume from everybody until the guard is dropped, once who has it has let it go.
    pub(crate) async fn hold(self: &std::sync::Arc<Self>, id: VolumeId) -> Hold {
        let hold = Hold { volumes: std::sync::Arc::clone(self), id };
        let mut changed = self.changed();
        self.state().held.insert(id);
        self.tell();
        while self.writer(id).is_some() {
            if changed.changed().await.is_err() {
                break;
            }
        }
        hold
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A volume that nobody may attach.
pub(crate) struct Hold {
    volumes: std::sync::Arc<Volumes>,
    id: VolumeId,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.volumes.state().held.remove(&self.id);
        self.volumes.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;
    use ulid::Ulid;

    const VOLUME: VolumeId = VolumeId(Ulid(7));

    fn spec() -> InstanceSpec {
        let digest = freehold_model::Digest::of(b"");
        let template = json!({
            "image": {"reference": "db:1", "digest": digest}, "driver": "container", "cpu": "100m",
            "memory": "64MiB", "stop_timeout": "10s", "mounts": [{"volume": "data", "path": "/data"}],
        });
        let spec = json!({
            "node": "nod_00000000000000000000000001", "process": "db", "volumes": {"data": VOLUME},
            "release": "rel_00000000000000000000000001", "template": template, "template_hash": digest,
            "address": "10.210.0.2", "desired": "running", "serving": true,
        });
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn a_volume_has_one_writer() {
        let volumes = Volumes::new(Path::new("/data"));
        let (one, other) = (InstanceId(Ulid(1)), InstanceId(Ulid(2)));
        volumes.attach(one, &spec()).unwrap();
        volumes.attach(one, &spec()).unwrap();
        assert!(volumes.attach(other, &spec()).unwrap_err().contains("one writer at a time"));
        volumes.detach(other);
        assert!(volumes.attach(other, &spec()).is_err(), "only who has it gives it back");
        volumes.detach(one);
        volumes.attach(other, &spec()).unwrap();
        assert_eq!(volumes.mounts(&spec())[0].path, "/data");
    }

    #[tokio::test]
    async fn what_is_held_is_attached_by_nobody_and_comes_once_it_is_let_go() {
        let volumes = Arc::new(Volumes::new(Path::new("/data")));
        let (one, other) = (InstanceId(Ulid(1)), InstanceId(Ulid(2)));
        volumes.attach(one, &spec()).unwrap();
        let holding = Arc::clone(&volumes);
        let hold = tokio::spawn(async move { holding.hold(VOLUME).await });
        let mut changed = volumes.changed();
        while !volumes.is_held(&spec()) {
            changed.changed().await.unwrap();
        }
        assert!(!hold.is_finished(), "one has it still");
        volumes.detach(one);
        let hold = hold.await.unwrap();
        assert!(volumes.attach(other, &spec()).unwrap_err().contains("being restored"));
        drop(hold);
        volumes.attach(other, &spec()).unwrap();
    }
}
