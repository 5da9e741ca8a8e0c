//! Following the event log: every event after a place, in order, without gaps, as it is committed.
//!
//! The loop and other consumers of the log read through this; those who watch over the API share one reader
//! there. The head signal only says that there is more; what there is comes from the log, in pages.

use crate::ports::{Store, StoreError};
use freehold_model::{Event, Seq};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::watch::Receiver;

/// So many events are read at a time.
const PAGE: usize = 256;

/// A place in the event log that moves on.
pub struct EventWatch {
    store: Arc<dyn Store>,
    head: Receiver<Seq>,
    cursor: Seq,
    read: VecDeque<Event>,
}

/// Follows the log: the first event is the one after `from` (0: from the beginning).
pub fn watch_from(store: Arc<dyn Store>, from: Seq) -> EventWatch {
    let head = store.head();
    EventWatch { store, head, cursor: from, read: VecDeque::new() }
}

impl EventWatch {
    /// The sequence number up to which events were read from the store.
    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    /// How many events there are that were not read yet.
    pub fn lag(&self) -> u64 {
        self.head.borrow().saturating_sub(self.cursor)
    }

    /// The next event, waited for as long as it takes; `None` once the store is closed. Cancel-safe.
    ///
    /// # Errors
    /// When reading fails: the next call tries again. When events were pruned that were not read yet: then the
    /// next call goes on where the log begins, and the caller looks at everything in between.
    pub async fn next(&mut self) -> Result<Option<Event>, StoreError> {
        while self.read.is_empty() {
            // Marked as seen before the log is read: a commit in between is signalled again.
            let head = *self.head.borrow_and_update();
            if head > self.cursor {
                let page = self.page().await?;
                self.read.extend(page);
            } else if self.head.changed().await.is_err() {
                return Ok(None);
            }
        }
        Ok(self.read.pop_front())
    }

    /// The events that are there now, at most a page of them; empty when none are.
    ///
    /// # Errors
    /// As [`EventWatch::next`].
    pub async fn ready(&mut self) -> Result<Vec<Event>, StoreError> {
        if !self.read.is_empty() {
            return Ok(self.read.drain(..).collect());
        }
        if *self.head.borrow_and_update() <= self.cursor {
            return Ok(vec![]);
        }
        self.page().await
    }

    /// Waits until there may be more than `ready` gave. False once the store is closed.
    pub async fn changed(&mut self) -> bool {
        self.head.changed().await.is_ok()
    }

    async fn page(&mut self) -> Result<Vec<Event>, StoreError> {
        let view = self.store.view().await?;
        let read = view.events(self.cursor, PAGE, None);
        match &read {
            Ok(events) => self.cursor = events.last().map_or(self.cursor, |last| last.seq),
            Err(StoreError::Pruned { first }) => self.cursor = first - 1,
            Err(_) => {}
        }
        read
    }
}
