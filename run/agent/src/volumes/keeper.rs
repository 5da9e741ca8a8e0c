//! Makes this node's volumes as they are wanted, measures them, and says how they are.
//!
//! One task looks at all; whatever may take long (copies, removals, measuring) runs in a task of its own,
//! one for each volume at a time.

use super::{Volumes, task, work::Work};
use crate::control::Control;
use freehold_model::{Bytes, Condition, Keeping, TaskState, TaskStatus, Volume, VolumeId, VolumeStatus};
use freehold_reconcile::{Backoff, Clock};
use jiff::Timestamp;
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use task::blocking;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Everything is looked at so often even if nothing seems to have changed.
const RESYNC: Duration = Duration::from_secs(15);
/// What a volume holds is measured so often, or less, so that measuring takes at most a fiftieth of the time.
const MEASURE: Duration = Duration::from_secs(10);
/// What failed is tried again after this.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// The one that looks after volumes.
pub(crate) struct Keeper {
    volumes: Arc<Volumes>,
    control: Arc<dyn Control>,
    clock: Arc<dyn Clock>,
    /// What is being worked on; and, while it is copied from, its source.
    busy: BTreeMap<VolumeId, Option<VolumeId>>,
    measured: BTreeMap<VolumeId, Measured>,
    /// What failed, and when it is tried again.
    failed: BTreeMap<VolumeId, Tries>,
    /// To which size the file system keeps it; or why it cannot.
    kept: BTreeMap<VolumeId, Kept>,
    work: JoinSet<(VolumeId, Outcome)>,
}

/// How often something failed, and when it is tried again.
struct Tries {
    waits: Backoff,
    again: Instant,
    /// It was removed, or else made: to fail at the one says nothing of the other.
    removing: bool,
}

/// To which size a volume is kept by its file system; or why it is not.
type Kept = Result<Bytes, String>;

struct Measured {
    used: Bytes,
    again: Instant,
}

enum Outcome {
    Done,
    Measured { used: io::Result<Bytes>, took: Duration, kept: Kept },
    Failed { why: String, removing: bool },
}

impl Keeper {
    pub(crate) fn new(volumes: Arc<Volumes>, control: Arc<dyn Control>, clock: Arc<dyn Clock>) -> Keeper {
        Keeper {
            volumes,
            control,
            clock,
            busy: BTreeMap::new(),
            measured: BTreeMap::new(),
            failed: BTreeMap::new(),
            kept: BTreeMap::new(),
            work: JoinSet::new(),
        }
    }

    /// Looks after them until told to stop. What is under way then is done again by the next one.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let (mut changed, mut attached) = (self.control.changed(), self.volumes.changed());
        loop {
            let wake = Instant::now() + self.round().await;
            tokio::select! {
                _ = &mut stop => return,
                Ok(()) = changed.changed() => {}
                Ok(()) = attached.changed() => {}
                Some(done) = self.work.join_next() => self.done(done),
                () = sleep_until(wake) => {}
            }
        }
    }

    fn done(&mut self, done: Result<(VolumeId, Outcome), tokio::task::JoinError>) {
        let Ok((id, outcome)) = done else {
            tracing::error!("a volume's work ended badly; it is done again");
            // Which one it was is not known any more: all that were under way wait a little.
            for id in std::mem::take(&mut self.busy).into_keys() {
                self.try_later(id, false);
            }
            return;
        };
        if let Some(Some(source)) = self.busy.remove(&id) {
            self.busy.remove(&source);
        }
        match outcome {
            Outcome::Done => {
                self.failed.remove(&id);
                self.volumes.note_trouble(id, None);
                // A restore puts another folder in its place.
                self.kept.remove(&id);
                self.measured.remove(&id);
            }
            Outcome::Failed { why, removing } => {
                let wait = self.try_later(id, removing);
                // Said once for each reason, however often it is tried.
                if self.volumes.trouble(id).as_ref() != Some(&why) {
                    tracing::warn!(volume = %id, why, again_in = ?wait, "a volume is not as wanted");
                }
                self.volumes.note_trouble(id, Some(&why));
            }
            Outcome::Measured { used: Ok(used), took, kept } => {
                self.kept.insert(id, kept);
                let again = Instant::now() + MEASURE.max(took * 50);
                self.measured.insert(id, Measured { used, again });
            }
            Outcome::Measured { used: Err(error), kept, .. } => {
                self.kept.insert(id, kept);
                tracing::warn!(volume = %id, %error, "a volume cannot be measured");
                let used = self.measured.get(&id).map_or(Bytes(0), |it| it.used);
                self.measured.insert(id, Measured { used, again: Instant::now() + MEASURE });
            }
        }
        self.volumes.tell();
    }

    fn try_later(&mut self, id: VolumeId, removing: bool) -> Duration {
        let now = Instant::now();
        let tries = self.failed.entry(id).or_insert(Tries { waits: RETRY, again: now, removing });
        if tries.removing != removing {
            *tries = Tries { waits: RETRY, again: now, removing };
        }
        let wait = tries.waits.failed();
        tries.again = now + wait;
        wait
    }

    /// Starts what is to be done, tells what is news; how long until there may be more.
    async fn round(&mut self) -> Duration {
        let all = match self.control.volumes().await {
            Ok(all) => all,
            Err(error) => {
                tracing::debug!(%error, "volumes stay as they are");
                return Duration::from_secs(1);
            }
        };
        for volume in &all {
            let task = volume.spec.task.as_ref();
            if volume.deleting.is_some()
                || task.is_some_and(|it| it.cancelled && self.is_news(volume, &it.id))
            {
                self.volumes.call_off(volume.id);
            }
            self.volumes.note_lost(volume.id, self.lost(volume).then(|| self.way_out(volume)));
            if !self.busy.contains_key(&volume.id) {
                self.start(volume);
            }
            self.say(volume).await;
        }
        let now = Instant::now();
        self.failed.retain(|id, _| all.iter().any(|volume| volume.id == *id));
        let waits = self.failed.values().map(|tries| tries.again.saturating_duration_since(now));
        waits.filter(|wait| !wait.is_zero()).min().map_or(RESYNC, |wait| wait.min(RESYNC))
    }

    /// Starts the one thing that is next about `volume`.
    fn start(&mut self, volume: &Volume) {
        let (id, store) = (volume.id, self.volumes.store(volume.id));
        let removing = volume.deleting.is_some();
        if self
            .failed
            .get(&id)
            .is_some_and(|tries| tries.removing == removing && tries.again > Instant::now())
        {
            return;
        }
        if self.lost(volume) {
            if let Some(task) = volume.spec.task.as_ref().filter(|it| self.is_news(volume, &it.id)) {
                self.volumes.note_ended(id, &task::failed(task, "its data is gone"));
            }
            return;
        }
        if volume.deleting.is_some() {
            if self.volumes.writer(id).is_some() {
                return;
            }
            let control = Arc::clone(&self.control);
            self.spawn(id, async move {
                match blocking(move || store.remove()).await {
                    Err(error) => {
                        Outcome::Failed { why: format!("it cannot be removed: {error}"), removing: true }
                    }
                    Ok(()) => match control.volume_gone(id).await {
                        Ok(()) => Outcome::Done,
                        Err(error) => Outcome::Failed { why: error.to_string(), removing: true },
                    },
                }
            });
        } else if !store.exists() {
            let from = volume.spec.source.as_ref().map(|source| source.volume);
            if from.is_some_and(|from| self.busy.contains_key(&from)) {
                return;
            }
            let source = volume.spec.source.clone().map(|source| {
                let writer = self.volumes.writer(source.volume).map(|writer| writer.instance);
                (self.volumes.store(source.volume), source.snapshot, writer)
            });
            let (size, work) = (volume.spec.size, Work::begin(&self.volumes, id));
            self.spawn(id, async move {
                let made = blocking(move || match source {
                    None => store.make(None, size, &|| work.goes_on()),
                    Some((from, Some(snapshot), _)) => {
                        store.make(Some(&from.snapshot_data(&snapshot)?), size, &|| work.goes_on())
                    }
                    Some((from, None, writer)) => {
                        let _frozen = writer.map(freehold_runtime::volume::Frozen::freeze).transpose()?;
                        store.make(Some(&from.data()), size, &|| work.goes_on())
                    }
                });
                match made.await {
                    Ok(()) => Outcome::Done,
                    Err(error) => {
                        Outcome::Failed { why: format!("it cannot be made: {error}"), removing: false }
                    }
                }
            });
            if let Some(from) = from {
                self.busy.insert(id, Some(from));
                self.busy.insert(from, None);
            }
        } else if let Some(wanted) = volume.spec.task.clone().filter(|it| self.is_news(volume, &it.id)) {
            let (volumes, size) = (Arc::clone(&self.volumes), volume.spec.size);
            self.spawn(id, async move {
                task::perform(&volumes, id, &wanted, size).await;
                Outcome::Done
            });
        } else if self.is_due(volume) {
            let (size, known) = (volume.spec.size, self.kept.remove(&id));
            self.spawn(id, async move {
                let limited = store.clone();
                let kept = match known {
                    Some(Ok(known)) if known == size => Ok(known),
                    _ => blocking(move || Ok(limited.limit(size)))
                        .await
                        .unwrap_or_else(|it| Err(it.to_string()))
                        .map(|()| size),
                };
                let begin = Instant::now();
                let used = blocking(move || store.used()).await;
                Outcome::Measured { used, took: begin.elapsed(), kept }
            });
        }
    }

    /// Whether it is to be measured, or limited anew.
    fn is_due(&self, volume: &Volume) -> bool {
        let resized = matches!(self.kept.get(&volume.id), Some(Ok(size)) if *size != volume.spec.size);
        resized || self.measured.get(&volume.id).is_none_or(|last| last.again <= Instant::now())
    }

    fn spawn(&mut self, id: VolumeId, work: impl Future<Output = Outcome> + Send + 'static) {
        self.busy.insert(id, None);
        self.work.spawn(async move { (id, work.await) });
    }

    /// Tells the control plane how `volume` is, if that is news.
    async fn say(&self, volume: &Volume) {
        let status = self.status(volume, self.clock.now());
        let was_within = condition(&volume.status, "WithinSize").is_none_or(|it| it.state);
        let is_within = condition(&status, "WithinSize").is_none_or(|it| it.state);
        let step = volume.spec.size.0 / 100;
        let moved = status.used.0.abs_diff(volume.status.used.0) > step || was_within != is_within;
        let same = VolumeStatus { used: volume.status.used, ..status.clone() } == volume.status;
        if same && !moved {
            return;
        }
        let event = match (was_within, is_within) {
            _ if status.lost.is_some() && volume.status.lost.is_none() => Some("volume.lost"),
            (true, false) => Some("volume.over_size"),
            (false, true) => Some("volume.within_size"),
            _ => None,
        };
        if let Err(error) = self.control.report_volume(volume.id, &status, event).await {
            tracing::debug!(volume = %volume.id, %error, "a report was not taken; trying again");
        }
    }

    fn status(&self, volume: &Volume, now: Timestamp) -> VolumeStatus {
        let store = self.volumes.store(volume.id);
        let ready = store.exists() && volume.deleting.is_none();
        let used = self.measured.get(&volume.id).map_or(volume.status.used, |measured| measured.used);
        let trouble = self.volumes.trouble(volume.id);
        let lost = self.lost(volume);
        let mut conditions = vec![match (ready, trouble) {
            _ if lost => Fact { kind: "Ready", state: false, reason: "Lost", message: self.way_out(volume) },
            (true, _) => Fact { kind: "Ready", state: true, reason: "Made", message: "it is there".into() },
            (false, Some(why)) => Fact { kind: "Ready", state: false, reason: "Failed", message: why },
            (false, None) if volume.deleting.is_some() => {
                let message = "it is being removed".into();
                Fact { kind: "Ready", state: false, reason: "Deleting", message }
            }
            (false, None) if let Some(waits) = self.waits_for_source(volume) => {
                Fact { kind: "Ready", state: false, reason: "Waiting", message: waits }
            }
            (false, None) if volume.spec.source.is_some() => {
                let message = "its source is being copied".into();
                Fact { kind: "Ready", state: false, reason: "Copying", message }
            }
            _ => Fact { kind: "Ready", state: false, reason: "Making", message: "it is being made".into() },
        }];
        if ready {
            let (over, size) = (used > volume.spec.size, volume.spec.size);
            let message =
                format!("it {} its size of {size}", if over { "holds more than" } else { "is within" });
            let reason = if over { "OverSize" } else { "Within" };
            conditions.push(Fact { kind: "WithinSize", state: !over, reason, message });
        }
        let (keeping, keeping_reason) = match self.kept.get(&volume.id) {
            Some(Ok(_)) => (Keeping::Enforced, None),
            Some(Err(why)) => (Keeping::Watched, Some(why.clone())),
            // Being looked at.
            None => (volume.status.keeping, volume.status.keeping_reason.clone()),
        };
        let since = |fact: &Fact| {
            let old = condition(&volume.status, fact.kind).filter(|old| old.state == fact.state);
            old.map_or(now, |old| old.since)
        };
        VolumeStatus {
            ready,
            lost: lost.then(|| volume.status.lost.clone().unwrap_or_else(|| now.to_string())),
            used,
            keeping,
            keeping_reason,
            snapshots: if ready { store.snapshots() } else { vec![] },
            task: self.task(volume),
            conditions: conditions.iter().map(|fact| fact.since(since(fact))).collect(),
        }
    }

    /// Whether it was there before, is not now, and nobody has said that it may be made again: an empty one in
    /// its place would be taken for what is gone.
    fn lost(&self, volume: &Volume) -> bool {
        let known = volume.status.ready || volume.status.lost.is_some();
        let may_be_empty = volume.spec.recreate.is_some() && volume.spec.recreate == volume.status.lost;
        let store = self.volumes.store(volume.id);
        known && !may_be_empty && volume.deleting.is_none() && !store.exists()
    }

    /// What to do about a volume that is lost.
    fn way_out(&self, volume: &Volume) -> String {
        let data = freehold_runtime::volume::data(self.volumes.store(volume.id).dir());
        format!(
            "it was there before, and {} is gone: put its data back there, or have it made anew, empty: `freehold volume recreate {}`",
            data.display(),
            volume.name
        )
    }

    /// For what the copying of its source waits.
    fn waits_for_source(&self, volume: &Volume) -> Option<String> {
        let source = volume.spec.source.as_ref()?.volume;
        if self.busy.contains_key(&volume.id) || !self.busy.contains_key(&source) {
            return None;
        }
        let said = self.volumes.said(source).map_or_else(String::new, |said| format!(": {said}"));
        Some(format!("waits for its source, with which something else is being done{said}"))
    }

    /// How the task that was asked for last is getting on.
    fn task(&self, volume: &Volume) -> Option<TaskStatus> {
        let wanted = volume.spec.task.as_ref()?;
        let told =
            volume.status.task.clone().filter(|it| it.id == wanted.id && it.state != TaskState::Running);
        Some(self.volumes.ended(volume.id, &wanted.id).or(told).unwrap_or_else(|| TaskStatus {
            id: wanted.id.clone(),
            state: TaskState::Running,
            message: match self.volumes.said(volume.id) {
                Some(said) => format!("{}: {said}", wanted.action),
                None => wanted.action.to_string(),
            },
        }))
    }

    /// Whether that task of `volume` has not ended yet.
    fn is_news(&self, volume: &Volume, task: &str) -> bool {
        let told = volume.status.task.as_ref().filter(|it| it.state != TaskState::Running);
        self.volumes.ended(volume.id, task).is_none() && told.is_none_or(|ended| ended.id != task)
    }
}

fn condition<'a>(status: &'a VolumeStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.kind == kind)
}

/// A condition without its time.
struct Fact {
    kind: &'static str,
    state: bool,
    reason: &'static str,
    message: String,
}

impl Fact {
    fn since(&self, since: Timestamp) -> Condition {
        Condition {
            kind: self.kind.into(),
            state: self.state,
            reason: self.reason.into(),
            message: self.message.clone(),
            since,
        }
    }
}
