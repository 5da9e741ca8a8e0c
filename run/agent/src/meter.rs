//! Watches what a running instance takes: what it writes outside of its volumes, and whether the kernel
//! kills processes of it for want of memory; and whether something was taken from it.
//!
//! One task per run, ended with it. Looking at the free space of the file system and at a counter is all
//! that happens every second; the files of the layer are counted only when the disk has filled by enough to
//! matter (see [`Gate`]), one instance at a time.

use freehold_model::{Bytes, DiskUse, Keeping};
use freehold_runtime::{Handle, Layer, Lost, volume::measure};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

const TICK: Duration = Duration::from_secs(1);
/// The ticks between two looks for what was taken away.
const LOOK: u64 = 5;
/// Counted so often even if nothing seems to have grown: others may have freed what it filled.
const REST: Duration = Duration::from_secs(300);
/// Counting takes at most one part in so many of the time.
const SHARE: u32 = 50;

/// No two layers are counted at a time: the disk has other things to do.
static ONE: Semaphore = Semaphore::const_new(1);

/// What an instance takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Outside of its volumes, once that was counted.
    pub(crate) disk: Option<DiskUse>,
    /// Processes that the kernel killed for want of memory.
    pub(crate) oom_kills: u64,
    /// What it had and has no more.
    pub(crate) lost: Option<Lost>,
}

impl Usage {
    /// That it has written more than it may.
    pub(crate) fn excess(&self) -> Option<DiskUse> {
        self.disk.filter(|disk| disk.limit.0 > 0 && disk.written > disk.limit)
    }
}

/// The watch over one run; it ends when this is dropped.
pub(crate) struct Meter {
    /// What holds.
    pub(crate) usage: watch::Receiver<Usage>,
    _task: AbortOnDropHandle<()>,
}

impl Meter {
    /// Begins to watch a run that runs.
    pub(crate) fn start(handle: Arc<dyn Handle>) -> Meter {
        let (said, usage) = watch::channel(Usage { oom_kills: handle.oom_kills(), ..Usage::default() });
        Meter { usage, _task: AbortOnDropHandle::new(tokio::spawn(follow(handle, said))) }
    }
}

async fn follow(handle: Arc<dyn Handle>, said: watch::Sender<Usage>) {
    let layer = handle.layer();
    let begun = Instant::now();
    let mut gate = Gate::default();
    for tick in 0u64.. {
        if tick % LOOK == 0 {
            let lost = handle.lost();
            said.send_if_modified(|usage| std::mem::replace(&mut usage.lost, lost) != lost);
        }
        let oom_kills = handle.oom_kills();
        said.send_if_modified(|usage| std::mem::replace(&mut usage.oom_kills, oom_kills) != oom_kills);
        if let Some(layer) = &layer
            && let Some(free) = free(layer)
            && gate.is_due(free, begun.elapsed(), layer.limit)
            && let Some((written, took)) = count(layer.clone(), Arc::clone(&handle)).await
        {
            gate.counted(free, written, begun.elapsed(), took);
            let disk = DiskUse { written, limit: layer.limit, keeping: layer.keeping };
            said.send_if_modified(|usage| {
                let is_news = is_news(usage, disk);
                usage.disk = if is_news { Some(disk) } else { usage.disk };
                is_news
            });
        }
        sleep(TICK).await;
    }
}

/// A hundredth of the limit is not worth a report.
fn is_news(known: &Usage, disk: DiskUse) -> bool {
    let Some(old) = known.disk else { return true };
    let was_over = known.excess().is_some();
    let is_over = Usage { disk: Some(disk), ..*known }.excess().is_some();
    was_over != is_over || old.written.0.abs_diff(disk.written.0) > disk.limit.0 / 100
}

/// What is free where the layer is; `None` while it cannot be seen.
fn free(layer: &Layer) -> Option<u64> {
    let stat = rustix::fs::statvfs(&layer.dir).ok()?;
    Some(stat.f_bfree.saturating_mul(stat.f_frsize))
}

async fn count(layer: Layer, handle: Arc<dyn Handle>) -> Option<(Bytes, Duration)> {
    let _one = ONE.acquire().await.ok()?;
    let counted = tokio::task::spawn_blocking(move || {
        let begin = std::time::Instant::now();
        // A file system that keeps the limit counts them itself.
        let unlinked = if layer.keeping == Keeping::Watched { handle.unlinked() } else { 0 };
        measure(&layer.dir).map(|bytes| (Bytes(bytes.saturating_add(unlinked)), begin.elapsed()))
    });
    match counted.await {
        Ok(Ok(counted)) => Some(counted),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a layer cannot be counted now");
            None
        }
        Err(_) => None,
    }
}

/// Decides when a layer is worth counting: when the disk has filled by half of what was left to the limit
/// since it was counted last, or after a rest. Pure.
#[derive(Debug, Default)]
struct Gate {
    last: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    free: u64,
    written: u64,
    at: Duration,
    took: Duration,
}

impl Gate {
    fn is_due(&self, free: u64, now: Duration, limit: Bytes) -> bool {
        let Some(last) = &self.last else { return true };
        let age = now.saturating_sub(last.at);
        let filled = last.free.saturating_sub(free);
        let left = limit.0.saturating_sub(last.written);
        let may_be_over = limit.0 > 0 && filled > 0 && filled >= left / 2;
        age >= last.took.saturating_mul(SHARE) && (may_be_over || age >= REST)
    }

    fn counted(&mut self, free: u64, written: Bytes, at: Duration, took: Duration) {
        self.last = Some(Counted { free, written: written.0, at, took });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn files_are_counted_when_the_disk_fills_and_rarely_otherwise() {
        let limit = Bytes(10 * GIB);
        let mut gate = Gate::default();
        assert!(gate.is_due(100 * GIB, second(0), limit), "the first time");
        gate.counted(100 * GIB, Bytes(2 * GIB), second(0), Duration::from_millis(10));
        let table = [
            (100, 10, false, "nothing was written"),
            (97, 10, false, "that leaves room"),
            (96, 10, true, "half of what was left"),
            (120, 10, false, "others freed some"),
            (100, 299, false, "it rests"),
            (100, 300, true, "others may have freed what it filled"),
        ];
        for (free, now, due, why) in table {
            assert_eq!(gate.is_due(free * GIB, second(now), limit), due, "{why}");
        }
        gate.counted(90 * GIB, Bytes(2 * GIB), second(20), second(2));
        assert!(!gate.is_due(0, second(119), limit), "counting took long: not again before 50 times that");
        assert!(gate.is_due(0, second(120), limit));
        assert!(!gate.is_due(0, second(299), Bytes(0)), "no limit, no hurry");
    }

    #[test]
    fn only_more_than_the_limit_is_too_much() {
        let of = |written, limit| {
            let disk = DiskUse { written: Bytes(written), limit: Bytes(limit), keeping: Keeping::Watched };
            Usage { disk: Some(disk), ..Usage::default() }
        };
        assert_eq!(of(GIB, GIB).excess(), None);
        assert_eq!(of(GIB, 0).excess(), None, "no limit");
        let over = of(11 * GIB / 10, GIB).excess().unwrap();
        assert_eq!(over.to_string(), "wrote 1.1GiB outside of its volumes; its limit is 1GiB (`disk`)");
    }
}
