//! The volumes of this node: who has which, which are held for a restore, and the keeper that makes them.
//!
//! Workers attach a volume before they start a run and detach it when the run is over; the keeper holds one
//! while it changes what it holds. Invariant: on this node, too, a volume has one writer at most, whatever
//! the control plane says.

mod keeper;
mod store;
mod task;

pub(crate) use keeper::Keeper;

use freehold_model::{InstanceId, InstanceSpec, VolumeId};
use freehold_runtime::volume::VolumeMount;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};
use store::Store;
use tokio::sync::watch;

/// Who has which volume.
pub(crate) struct Volumes {
    root: PathBuf,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    attached: BTreeMap<VolumeId, InstanceId>,
    held: BTreeSet<VolumeId>,
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

    /// Waits until every volume of `spec` is there and nobody holds it.
    pub(crate) async fn available(&self, spec: &InstanceSpec) {
        let mut changed = self.changed();
        while self.is_held(spec) || spec.volumes.values().any(|id| !self.store(*id).exists()) {
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
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
                Some(other) if *other != instance => {
                    return Err(format!("volume {id} is written by {other}, and has one writer at a time"));
                }
                _ if state.held.contains(id) => return Err(format!("volume {id} is being restored")),
                _ => {}
            }
        }
        state.attached.extend(spec.volumes.values().map(|id| (*id, instance)));
        Ok(())
    }

    /// The run of `instance` is followed already: it has its volumes, come what may.
    pub(crate) fn adopt(&self, instance: InstanceId, spec: &InstanceSpec) {
        self.state().attached.extend(spec.volumes.values().map(|id| (*id, instance)));
    }

    /// Takes back whatever `instance` has.
    pub(crate) fn detach(&self, instance: InstanceId) {
        let before = self.state().attached.len();
        self.state().attached.retain(|_, holder| *holder != instance);
        if before != self.state().attached.len() {
            self.tell();
        }
    }

    /// Who has the volume.
    pub(crate) fn holder(&self, id: VolumeId) -> Option<InstanceId> {
        self.state().attached.get(&id).copied()
    }

    /// Keeps the volume from everybody until the guard is dropped, once who has it has let it go.
    pub(crate) async fn hold(self: &std::sync::Arc<Self>, id: VolumeId) -> Hold {
        let hold = Hold { volumes: std::sync::Arc::clone(self), id };
        let mut changed = self.changed();
        self.state().held.insert(id);
        self.tell();
        while self.holder(id).is_some() {
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
