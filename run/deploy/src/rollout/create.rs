//! Makes instances: each on a node that can take it, with an address of its own.

use super::scene::Wanted;
use crate::{address::Pool, claims};
use freehold_model::{Desired, EnvId, Instance, InstanceId, InstanceSpec, Kind, NodeSpec, ReleaseId, Txn};
use freehold_reconcile::{Ids, StoreError, View, ViewExt};
use freehold_schedule::{Candidate, Request, Unplaceable, candidates, place_all};
use jiff::Timestamp;

/// Why instances cannot be made now.
#[derive(Debug, thiserror::Error)]
pub(super) enum CreateError {
    #[error(transparent)]
    Unplaceable(#[from] Unplaceable),
    #[error("every address of the node's pool is in use")]
    NoAddress,
}

/// Makes instances of one env and release within one transaction.
pub(super) struct Creator {
    pub(super) env: EnvId,
    pub(super) release: ReleaseId,
    /// Whether they are active from the start.
    pub(super) serving: bool,
    pub(super) now: Timestamp,
    nodes: Vec<Candidate>,
    pool: Pool,
}

impl Creator {
    pub(super) fn new(
        view: &dyn View,
        env: EnvId,
        release: ReleaseId,
        serving: bool,
        now: Timestamp,
    ) -> Result<Creator, StoreError> {
        let nodes = candidates(&view.all::<NodeSpec>(None)?, &view.all::<InstanceSpec>(None)?);
        Ok(Creator { env, release, serving, now, nodes, pool: Pool::new(view)? })
    }

    /// Adds `count` instances of `wanted` to `txn`.
    pub(super) fn create(
        &mut self,
        txn: &mut Txn,
        wanted: &Wanted<'_>,
        count: usize,
        ids: &mut dyn Ids,
    ) -> Result<(), CreateError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let chosen = place_all(&mut self.nodes, &Request::from(wanted.template), count);
        for place in chosen.map_err(|(_, why)| why)? {
            let id = InstanceId(ids.fresh(Kind::Instance).ulid);
            let address = self.pool.take().ok_or(CreateError::NoAddress)?;
            let spec = InstanceSpec {
                node: place.node,
                process: wanted.process.clone(),
                release: self.release,
                template: wanted.template.clone(),
                template_hash: wanted.hash.clone(),
                address,
                desired: Desired::Running,
                serving: self.serving,
                after: wanted.after.to_vec(),
            };
            let instance = Instance::new(id, name(wanted, id), Some(self.env.into()), spec, self.now);
            txn.put(&instance).claim(claims::ADDRESS, address, id);
        }
        Ok(())
    }
}

/// `web-` and the random end of the id: short enough to say, and unique within an env.
fn name(wanted: &Wanted<'_>, id: InstanceId) -> String {
    let id = id.to_string();
    format!("{}-{}", wanted.process, &id[id.len() - 8..])
}
