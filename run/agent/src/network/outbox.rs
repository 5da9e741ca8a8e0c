//! Tells the control plane what became of the node's surroundings: whether it guards its instances, and what
//! was put back.
//!
//! The state is told again until it is taken; of what happened, the last [`MOST`] are kept meanwhile.

use crate::control::{Control, ControlError, Healed, NodeReport};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::sleep};
use tokio_util::task::AbortOnDropHandle;

const MOST: usize = 64;
/// So many characters of one text are told.
const LONGEST: usize = 1000;
const FIRST_RETRY: Duration = Duration::from_millis(200);
const SLOWEST_RETRY: Duration = Duration::from_secs(10);

/// What is to be told.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    report: NodeReport,
    /// The state differs from what was told.
    untold: bool,
}

impl Outbox {
    /// Whether instances are unguarded, and why.
    pub(crate) fn say(&self, unguarded: Option<String>) {
        self.replace(|report| &mut report.unguarded, unguarded);
    }

    /// Who else uses the range of instances' addresses.
    pub(crate) fn say_range(&self, used: Option<String>) {
        self.replace(|report| &mut report.range_used, used);
    }

    /// What cannot be put back.
    pub(crate) fn say_lasting(&self, lasting: Option<String>) {
        self.replace(|report| &mut report.lasting, lasting);
    }

    fn replace(&self, field: impl Fn(&mut NodeReport) -> &mut Option<String>, now: Option<String>) {
        let now = now.map(|text| shortened(&text));
        let mut waiting = self.lock();
        let known = field(&mut waiting.report);
        if *known != now {
            *known = now;
            waiting.untold = true;
            self.news.notify_one();
        }
    }

    /// Something was put back.
    pub(crate) fn happened(&self, healed: Healed) {
        let mut waiting = self.lock();
        if waiting.report.healed.len() == MOST {
            waiting.report.healed.remove(0);
        }
        waiting.report.healed.push(healed);
        self.news.notify_one();
    }

    /// Tells `control` until it is dropped: first how it is now, for what was told before a restart may not hold.
    pub(crate) fn tell(self: &Arc<Outbox>, control: Arc<dyn Control>) -> AbortOnDropHandle<()> {
        self.lock().untold = true;
        self.news.notify_one();
        let outbox = Arc::clone(self);
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut retry = FIRST_RETRY;
            loop {
                outbox.news.notified().await;
                while let Some(report) = outbox.next() {
                    match control.report_node(&report).await {
                        Ok(()) => retry = FIRST_RETRY,
                        // An older one does not know what it is told, and will not learn it.
                        Err(ControlError::Refused(why)) => {
                            tracing::info!(
                                why,
                                "the control plane does not take what this node tells of itself"
                            );
                        }
                        Err(error) => {
                            tracing::debug!(%error, "what this node tells of itself was not taken");
                            outbox.back(report);
                            sleep(retry).await;
                            retry = (retry * 2).min(SLOWEST_RETRY);
                        }
                    }
                }
            }
        }))
    }

    fn next(&self) -> Option<NodeReport> {
        let mut waiting = self.lock();
        if !waiting.untold && waiting.report.healed.is_empty() {
            return None;
        }
        waiting.untold = false;
        let healed = std::mem::take(&mut waiting.report.healed);
        Some(NodeReport { healed, ..waiting.report.clone() })
    }

    fn back(&self, report: NodeReport) {
        let mut waiting = self.lock();
        waiting.untold = true;
        let newer = std::mem::replace(&mut waiting.report.healed, report.healed);
        waiting.report.healed.extend(newer);
        let excess = waiting.report.healed.len().saturating_sub(MOST);
        waiting.report.healed.drain(..excess);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a control plane takes: a longer text would have it refuse all that is told.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_told_as_far_as_a_control_plane_takes_it() {
        let outbox = Outbox::default();
        outbox.say_lasting(Some("the route is gone; é".repeat(900)));
        let told = outbox.next().unwrap().lasting.unwrap();
        assert!(told.len() < 4096 && told.ends_with('…'), "{}", told.len());
    }
}
