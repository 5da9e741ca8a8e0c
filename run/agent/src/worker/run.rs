//! What a worker holds of its instance's run.

use crate::{
    backoff::Memory,
    decide::Run,
    meter::{Meter, Usage},
    probe::Prober,
};
use freehold_model::{DiskUse, Millis};
use freehold_runtime::{Handle, Launch, Lost, RunState};
use jiff::Timestamp;
use std::sync::Arc;
use tokio::sync::watch;

/// How far the run is.
pub(super) enum Current {
    /// Nothing of it is on the node.
    Absent,
    /// It is being started, or runs.
    Live(Box<Live>),
    /// It ended; its files are still there.
    Over,
}

/// A run that is being started, or runs.
pub(super) struct Live {
    pub(super) handle: Arc<dyn Handle>,
    pub(super) state: watch::Receiver<RunState>,
    pub(super) stop_signal: i32,
    /// When it was asked to stop.
    pub(super) asked: Option<Timestamp>,
    /// Since when it runs.
    pub(super) since: Option<Timestamp>,
    /// Its checks, once it runs.
    pub(super) prober: Option<Prober>,
    /// What it takes, once it runs.
    pub(super) meter: Option<Meter>,
    /// It was asked to stop because it had written so much.
    pub(super) excess: Option<DiskUse>,
    /// It was asked to stop because it had failed its check for so long.
    pub(super) overdue: Option<Millis>,
    /// It was asked to stop because it had lost that.
    pub(super) lost: Option<Lost>,
}

impl Live {
    pub(super) fn new(launch: &Launch, handle: Arc<dyn Handle>) -> Box<Live> {
        Box::new(Live {
            state: handle.state(),
            handle,
            stop_signal: launch.stop_signal,
            asked: None,
            since: None,
            prober: None,
            meter: None,
            excess: None,
            overdue: None,
            lost: None,
        })
    }
}

impl Current {
    /// The run's state; marks it and what its checks say as seen.
    pub(super) fn look(&mut self) -> Option<RunState> {
        let Current::Live(live) = self else { return None };
        if let Some(prober) = &mut live.prober {
            prober.health.mark_unchanged();
        }
        if let Some(meter) = &mut live.meter {
            meter.usage.mark_unchanged();
        }
        Some(live.state.borrow_and_update().clone())
    }

    /// Whether the run was healthy under an earlier agent and was not looked at since: whatever could be
    /// said of it now would be a false alarm.
    pub(super) fn is_unseen(&self, memory: &Memory) -> bool {
        matches!(self, Current::Live(live) if live.since.is_none()) && memory.healthy_since.is_some()
    }

    /// The run as the decider sees it.
    pub(super) fn observed(&self) -> Run {
        match self {
            Current::Absent => Run::Absent,
            Current::Over => Run::Over,
            Current::Live(live) if live.since.is_none() => Run::Starting,
            Current::Live(live) => Run::Live(live.asked),
        }
    }

    /// What the run takes.
    pub(super) fn usage(&self) -> Usage {
        let meter = if let Current::Live(live) = self { live.meter.as_ref() } else { None };
        meter.map(|meter| *meter.usage.borrow()).unwrap_or_default()
    }

    /// Waits until the state of the run, what its checks say, or what it takes changes.
    pub(super) async fn changed(&mut self) {
        let Current::Live(live) = self else { return std::future::pending().await };
        let Live { state, prober, meter, .. } = &mut **live;
        let checked = async {
            match prober {
                Some(prober) => forever(&mut prober.health).await,
                None => std::future::pending().await,
            }
        };
        let measured = async {
            match meter {
                Some(meter) => forever(&mut meter.usage).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = forever(state) => {}
            () = checked => {}
            () = measured => {}
        }
    }
}

/// Waits for a change; one that nobody can make any more never comes.
async fn forever<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        std::future::pending().await
    }
}
