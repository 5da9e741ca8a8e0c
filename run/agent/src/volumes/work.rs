//! Work on one volume, while it lasts: says how far it is and for what it waits, and is called off.
//!
//! Begun by the keeper, told of by the task that does it. Invariant: what was called off has changed nothing of
//! what instances see, or had changed it before.

use super::Volumes;
use freehold_model::VolumeId;
use std::{io, sync::Arc};
use tokio_util::sync::CancellationToken;

/// One piece of work; it is over when this is dropped.
pub(super) struct Work {
    volumes: Arc<Volumes>,
    id: VolumeId,
    off: CancellationToken,
}

/// What others see of it.
pub(super) struct UnderWay {
    said: String,
    off: CancellationToken,
}

impl Work {
    /// Begins work on a volume, of which there is one at a time.
    pub(super) fn begin(volumes: &Arc<Volumes>, id: VolumeId) -> Arc<Work> {
        let off = CancellationToken::new();
        let under_way = UnderWay { said: String::new(), off: off.clone() };
        volumes.state().work.insert(id, under_way);
        Arc::new(Work { volumes: Arc::clone(volumes), id, off })
    }

    /// Tells everybody how far it is, or for what it waits.
    pub(super) fn say(&self, text: String) {
        if let Some(under_way) = self.volumes.state().work.get_mut(&self.id) {
            under_way.said = text;
        }
        self.volumes.tell();
    }

    /// Whether it goes on.
    ///
    /// # Errors
    /// When it was called off.
    pub(super) fn goes_on(&self) -> io::Result<()> {
        match self.off.is_cancelled() {
            true => Err(io::Error::other("it was called off; the volume is as before")),
            false => Ok(()),
        }
    }

    /// Waits until it is called off.
    pub(super) async fn called_off(&self) {
        self.off.cancelled().await;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.volumes.state().work.remove(&self.id);
    }
}

impl Volumes {
    /// Calls off what is being done with a volume, if it is not too late.
    pub(super) fn call_off(&self, id: VolumeId) {
        if let Some(under_way) = self.state().work.get(&id) {
            under_way.off.cancel();
        }
    }

    /// How far the work on a volume is, or for what it waits.
    pub(super) fn said(&self, id: VolumeId) -> Option<String> {
        let state = self.state();
        state.work.get(&id).map(|it| it.said.clone()).filter(|said| !said.is_empty())
    }
}
