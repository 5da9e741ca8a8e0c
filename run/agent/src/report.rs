//! Reports the status of one instance: the latest that differs from what was told before, until it is taken.
//!
//! Level-based: what changed while the control plane was away is told once it is back, the last state only.

use crate::control::{Control, ControlError};
use freehold_model::{InstanceId, InstanceStatus};
use freehold_reconcile::Backoff;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Tells `control` each new status until the worker is gone and its last word was taken.
pub(crate) async fn report(
    id: InstanceId,
    control: Arc<dyn Control>,
    mut said: watch::Receiver<Option<InstanceStatus>>,
) {
    let mut retry = RETRY;
    loop {
        let status = said.borrow_and_update().clone();
        let taken = match &status {
            Some(status) => control.report(id, status).await,
            None => Ok(()),
        };
        match taken {
            Ok(()) => {
                retry.succeeded();
                if said.changed().await.is_err() {
                    return;
                }
            }
            Err(ControlError::Gone(_)) => return,
            Err(ControlError::Refused(reason) | ControlError::Unavailable(reason)) => {
                tracing::debug!(instance = %id, reason, "a report was not taken; trying again");
                sleep(retry.failed()).await;
            }
        }
    }
}
