//! Makes instances: each on a node that can take it, with an address of its own.

use super::{displace, scene::Wanted};
use crate::{
    address::Pool,
    claims,
    nodes::title,
    templates::{is_other, priority},
    together,
    volumes::{Home, VolumeError, pin},
};
use freehold_model::{
    Desired, Displaced, Env, EnvId, Instance, InstanceId, InstanceSpec, Kind, Name, NodeId, NodeSpec, Placed,
    Release, Txn, Volume, VolumeId, VolumeSpec,
};
use freehold_reconcile::{Ids, StoreError, View, ViewExt};
use freehold_schedule::{Chosen, Fleet, Request, Unplaceable, place_some};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Why instances cannot be made now.
#[derive(Debug, thiserror::Error)]
pub(super) enum CreateError {
    #[error(transparent)]
    Unplaceable(#[from] Unplaceable),
    #[error("every address of the node's pool is in use")]
    NoAddress,
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("its volume {0} is in use")]
    Held(String),
    #[error("reading failed: {0}")]
    Store(#[from] StoreError),
}

/// Makes instances of one env and release within one transaction.
pub(super) struct Creator<'a> {
    view: &'a dyn View,
    pub(super) env: EnvId,
    /// Where its volumes are named; `None` when the app is gone.
    home: Option<Home>,
    release: &'a Release,
    /// Whether they are active from the start.
    pub(super) serving: bool,
    pub(super) now: Timestamp,
    fleet: Fleet,
    /// Everybody's, as of the view.
    instances: Vec<Instance>,
    /// The node where the env's processes are together.
    together: Option<NodeId>,
    /// Of the env, for people.
    title: String,
    /// Who had to make room so far.
    pub(super) displaced: Vec<Displaced>,
    pool: Pool,
}

impl<'a> Creator<'a> {
    pub(super) fn new(
        view: &'a dyn View,
        env: &Env,
        release: &'a Release,
        serving: bool,
        now: Timestamp,
    ) -> Result<Creator<'a>, StoreError> {
        let parent = Some(env.any_id());
        let leaves = |instance: &Instance| instance.parent == parent && is_other(&release.spec, instance);
        let (nodes, instances) = (view.all::<NodeSpec>(None)?, view.all::<InstanceSpec>(None)?);
        let fleet = Fleet::new(&nodes, &instances, leaves);
        let (home, pool, title) = (Home::of(view, env)?, Pool::new(view)?, title(view, env)?);
        let displaced = vec![];
        let volumes = home.as_ref().map(|home| home.of_release(view, &release.spec)).transpose()?;
        let volumes = volumes.unwrap_or_default();
        let together = together::home(&fleet, parent, &release.spec, &volumes, &instances);
        Ok(Creator {
            together,
            view,
            env: env.id,
            home,
            release,
            serving,
            now,
            fleet,
            instances,
            title,
            displaced,
            pool,
        })
    }

    /// Adds `count` instances of `wanted` to `txn`.
    pub(super) fn create(
        &mut self,
        txn: &mut Txn,
        wanted: &Wanted<'_>,
        count: usize,
        ids: &mut dyn Ids,
    ) -> Result<(), CreateError> {
        match self.create_some(txn, wanted, count, ids)? {
            (_, None) => Ok(()),
            (_, Some(why)) => Err(why.into()),
        }
    }

    /// Adds as many of `count` instances of `wanted` to `txn` as there is a place for; why no more.
    pub(super) fn create_some(
        &mut self,
        txn: &mut Txn,
        wanted: &Wanted<'_>,
        count: usize,
        ids: &mut dyn Ids,
    ) -> Result<(usize, Option<Unplaceable>), CreateError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let existing = self.existing(wanted)?;
        let node = pin(self.view, &existing)??;
        let priority = priority(&self.release.spec, wanted.process);
        let request = Request::new(Some(self.env.into()), wanted.process, wanted.template, priority);
        let (chosen, why) =
            place_some(&mut self.fleet, &Request { pin: node, home: self.together, ..request }, count);
        let (made, org) = (chosen.len(), displace::org_of(self.view, Some(self.env.into()))?);
        for place in chosen {
            let id = InstanceId(ids.fresh(Kind::Instance).ulid);
            let address = self.pool.take().ok_or(CreateError::NoAddress)?;
            let victims = displace::displaced(self.view, &self.instances, &place, org)?;
            let (title, process) = (&self.title, wanted.process);
            let newcomer = displace::Newcomer { id, org, title, process, priority };
            displace::stop(self.view, txn, &self.instances, &victims, &newcomer, self.now)?;
            self.displaced.extend(victims.iter().cloned());
            let spec = InstanceSpec {
                node: place.node,
                process: wanted.process.clone(),
                release: self.release.id,
                template: wanted.template.clone(),
                template_hash: wanted.hash.clone(),
                volumes: self.attach(txn, wanted, &existing, place.node, id, ids),
                address,
                desired: Desired::Running,
                serving: self.serving,
                after: wanted.after.to_vec(),
                placed: self.placed(priority, &existing, place, victims),
            };
            let instance = Instance::new(id, name(wanted, id), Some(self.env.into()), spec, self.now);
            txn.put(&instance).claim(claims::ADDRESS, address, id);
        }
        Ok((made, why))
    }
}

impl Creator<'_> {
    /// What is kept of why it is there.
    fn placed(&self, priority: i32, existing: &[Volume], place: Chosen, displaced: Vec<Displaced>) -> Placed {
        let pinned = existing.first().map(|volume| format!("volume {} is there", volume.name));
        Placed {
            priority,
            reason: pinned.unwrap_or(place.reason),
            scores: place.scores,
            elsewhere: place.elsewhere,
            room_of: place.room_of,
            displaced,
            preempted: None,
        }
    }

    /// The volumes of `wanted` that were made already, all of them free.
    fn existing(&self, wanted: &Wanted<'_>) -> Result<Vec<Volume>, CreateError> {
        let Some(home) = &self.home else { return Ok(vec![]) };
        let existing = home.existing(self.view, wanted.template)?;
        for volume in &existing {
            if volume.deleting.is_none() && self.view.claim(claims::VOLUME, &volume.id.to_string())?.is_some()
            {
                return Err(CreateError::Held(volume.name.clone()));
            }
        }
        Ok(existing)
    }

    /// Gives `instance` the volumes of `wanted`, made where it will be if they are new.
    fn attach(
        &self,
        txn: &mut Txn,
        wanted: &Wanted<'_>,
        existing: &[Volume],
        node: NodeId,
        instance: InstanceId,
        ids: &mut dyn Ids,
    ) -> BTreeMap<Name, VolumeId> {
        let mut attached = BTreeMap::new();
        let Some(home) = &self.home else { return attached };
        for mount in &wanted.template.mounts {
            let found = existing.iter().find(|volume| volume.spec.volume == mount.volume);
            let id = found.map(|volume| volume.id).unwrap_or_else(|| {
                let sizes = &self.release.spec.manifest.volume;
                let size = sizes.iter().find(|one| one.name == mount.volume).map(|one| one.size);
                let spec = VolumeSpec {
                    app: home.app.clone(),
                    env: home.env.clone(),
                    volume: mount.volume.clone(),
                    node,
                    size: size.unwrap_or_default(),
                    source: None,
                    task: None,
                    recreate: None,
                };
                let id = VolumeId(ids.ulid());
                txn.put(&Volume::new(id, home.name(&mount.volume), Some(home.project), spec, self.now));
                id
            });
            txn.claim(claims::VOLUME, id, instance);
            attached.insert(mount.volume.clone(), id);
        }
        attached
    }
}

/// `web-` and the random end of the id: short enough to say, and unique within an env.
fn name(wanted: &Wanted<'_>, id: InstanceId) -> String {
    let id = id.to_string();
    format!("{}-{}", wanted.process, &id[id.len() - 8..])
}
