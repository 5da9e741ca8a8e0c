//! Finds the volumes that an env's instances have: by name, `app/env/name` in the project, so that an app
//! that was removed and comes back finds them again.
//!
//! Called by plans, and by rollouts when they make instances. Invariant: whoever has a volume holds its
//! claim, from the transaction that makes the instance until the instance is gone from its node.

mod change;

pub use change::{
    Asker, ChangeError, cancel_volume_task, change_volume, create_volume, delete_volume, recreate_volume,
};

use crate::claims;
use freehold_model::{
    AnyId, AppSpec, Env, InstanceId, Name, NodeId, NodeSpec, ReleaseSpec, Template, Volume, VolumeId,
    VolumeSpec,
};
use freehold_reconcile::{StoreError, View, ViewExt};

/// Where the volumes of an env are named.
pub(crate) struct Home {
    pub(crate) project: AnyId,
    pub(crate) app: Name,
    pub(crate) env: Name,
}

/// Why a process cannot have its volumes now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("volume {0} is being deleted: wait until it is gone, then a new one is made")]
    Deleting(String),
    #[error("volumes {0} and {1} are on different nodes, and the instance cannot be on both")]
    Apart(String, String),
    #[error(
        "volume {0} is on a node that is gone: bring the node back, or delete the volume (its bytes are lost) \
         with `freehold volume delete {0} --yes`"
    )]
    Lost(String),
}

impl Home {
    /// That of `env`; `None` when its app is gone.
    pub(crate) fn of(view: &dyn View, env: &Env) -> Result<Option<Home>, StoreError> {
        let app = match env.parent.and_then(|id| id.try_into().ok()) {
            Some(id) => view.find::<AppSpec>(id)?,
            None => None,
        };
        let home = app.and_then(|app| {
            Some(Home { project: app.parent?, app: app.name.parse().ok()?, env: env.name.parse().ok()? })
        });
        Ok(home)
    }

    /// The resource's name of what the manifest calls `volume`.
    pub(crate) fn name(&self, volume: &Name) -> String {
        VolumeSpec::name(self.app.as_str(), self.env.as_str(), volume.as_str())
    }

    /// The volume, if it was made already.
    pub(crate) fn find(&self, view: &dyn View, volume: &Name) -> Result<Option<Volume>, StoreError> {
        view.named::<VolumeSpec>(Some(self.project), &self.name(volume))
    }

    /// The volumes of `template` that were made already.
    pub(crate) fn existing(&self, view: &dyn View, template: &Template) -> Result<Vec<Volume>, StoreError> {
        let mut found = vec![];
        for mount in &template.mounts {
            found.extend(self.find(view, &mount.volume)?);
        }
        Ok(found)
    }

    /// The same of all templates of `release`.
    pub(crate) fn of_release(
        &self,
        view: &dyn View,
        release: &ReleaseSpec,
    ) -> Result<Vec<Volume>, StoreError> {
        let mut found = vec![];
        for template in release.templates.values() {
            found.extend(self.existing(view, template)?);
        }
        Ok(found)
    }
}

/// The node where an instance that has all of `volumes` must be; `None`: any.
pub(crate) fn pin(
    view: &dyn View,
    volumes: &[Volume],
) -> Result<Result<Option<NodeId>, VolumeError>, StoreError> {
    let Some(first) = volumes.first() else { return Ok(Ok(None)) };
    for volume in volumes {
        let node = view.find::<NodeSpec>(volume.spec.node)?;
        if volume.deleting.is_some() {
            return Ok(Err(VolumeError::Deleting(volume.name.clone())));
        } else if volume.spec.node != first.spec.node {
            return Ok(Err(VolumeError::Apart(first.name.clone(), volume.name.clone())));
        } else if node.is_none_or(|node| node.deleting.is_some()) {
            return Ok(Err(VolumeError::Lost(volume.name.clone())));
        }
    }
    Ok(Ok(Some(first.spec.node)))
}

/// The instance that has `volume`.
pub(crate) fn holder(view: &dyn View, volume: VolumeId) -> Result<Option<InstanceId>, StoreError> {
    let owner = view.claim(claims::VOLUME, &volume.to_string())?;
    Ok(owner.and_then(|owner| InstanceId::try_from(owner).ok()))
}
