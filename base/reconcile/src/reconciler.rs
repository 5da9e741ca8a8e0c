//! What a reconciler is: a pure decision about one subject, made again whenever something changed.

use crate::ports::{Ids, StoreError, View};
use freehold_model::{AnyId, Event, Txn};
use jiff::Timestamp;

/// What a reconciler wants done about one subject.
#[derive(Debug, Default)]
pub struct Decision {
    /// The change to commit. A conflict makes the loop decide again from a fresh view.
    pub txn: Option<Txn>,
    /// When to look again, if nothing happens before.
    pub wake: Option<Timestamp>,
}

/// Decides; never acts. Takes no event as truth: it reads what is, and says what should change.
pub trait Reconciler: Send + Sync + 'static {
    /// Its name, for logs and the actor of its transactions.
    fn name(&self) -> &'static str;

    /// The subjects to look at after `event`, cheaply computed; `view` is current.
    ///
    /// # Errors
    /// When the view fails; likewise below.
    fn concerns(&self, event: &Event, view: &dyn View) -> Result<Vec<AnyId>, StoreError>;

    /// Every subject there is: asked at start and from time to time, so that a lost signal costs little.
    fn subjects(&self, view: &dyn View) -> Result<Vec<AnyId>, StoreError>;

    /// What should change about `subject` now.
    fn decide(
        &self,
        subject: AnyId,
        view: &dyn View,
        now: Timestamp,
        ids: &mut dyn Ids,
    ) -> Result<Decision, StoreError>;
}
