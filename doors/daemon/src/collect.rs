//! Collects images that nothing needs, on a timer: the same collection as `freehold image gc`, with more
//! patience.

use crate::tasks::periodically;
use anyhow::{Context, Result};
use freehold_deploy::retention::images_in_use;
use freehold_image::{Collect, ImageStore};
use freehold_model::api::Collected;
use freehold_reconcile::{Store, TaskHandle, TaskSpec};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// A start has better things to do.
const FIRST: Duration = Duration::from_secs(10 * 60);
const EVERY: Duration = Duration::from_secs(3600);
/// A tag that was removed by mistake can be set again for a day.
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// What [`run`] is on the board of tasks.
pub(crate) fn spec() -> TaskSpec {
    TaskSpec::new("collect-images", "Removes images that nothing needs.").every(EVERY).within(EVERY)
}

/// Collects until `shutdown`.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    images: ImageStore,
    task: TaskHandle,
    shutdown: CancellationToken,
) {
    periodically(task, (FIRST, EVERY), shutdown, async || {
        let done = once(&*store, &images, GRACE).await?;
        if !done.removed.is_empty() {
            tracing::info!(freed = %done.freed, things = done.removed.len(), "collected unused images");
        }
        Ok::<_, anyhow::Error>(())
    })
    .await;
}

async fn once(store: &dyn Store, images: &ImageStore, grace: Duration) -> Result<Collected> {
    images.follow_house().await?;
    let beginning = images.clone();
    // Before the roots are read: what becomes one later is spared because it is new.
    let began = tokio::task::spawn_blocking(move || beginning.begin_collection()).await?;
    let view = store.view().await?;
    let roots = tokio::task::spawn_blocking(move || images_in_use(&*view)).await?;
    let how = Collect { roots: roots.context("what is in use")?, grace, dry_run: false };
    let images = images.clone();
    Ok(tokio::task::spawn_blocking(move || images.collect(began, &how)).await??)
}
