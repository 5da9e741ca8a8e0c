//! Forgets, on a timer, what was answered to requests with an idempotency key once nobody can mean to repeat
//! them any more. Every control plane does so: twice is as good as once.

use crate::tasks::periodically;
use freehold_reconcile::{Clock, Store, StoreError, TaskHandle, TaskSpec};
use jiff::SignedDuration;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// A start has better things to do.
const FIRST: Duration = Duration::from_secs(5 * 60);
const EVERY: Duration = Duration::from_secs(3600);
/// A request can be repeated for so long.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// So many at a time: commits come in between.
const BATCH: usize = 500;

/// What [`run`] is on the board of tasks.
pub(crate) fn spec() -> TaskSpec {
    let purpose = "Forgets what was answered to requests with an idempotency key a week ago.";
    TaskSpec::new("forget-answers", purpose).every(EVERY).within(EVERY)
}

/// Forgets until `shutdown`.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    task: TaskHandle,
    shutdown: CancellationToken,
) {
    periodically(task, (FIRST, EVERY), shutdown, async || {
        match once(&*store, &*clock).await? {
            0 => {}
            count => tracing::info!(count, "forgot what was answered to old requests"),
        }
        Ok::<_, StoreError>(())
    })
    .await;
}

async fn once(store: &dyn Store, clock: &dyn Clock) -> Result<usize, StoreError> {
    let Ok(before) = clock.now().checked_sub(KEPT) else { return Ok(0) };
    let mut forgotten = 0;
    loop {
        let gone = store.forget_answers(before, BATCH).await?;
        forgotten += gone;
        if gone < BATCH {
            return Ok(forgotten);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::{Actor, AnyId, App, AppId, AppSpec, Txn, txn::Idempotency};
    use freehold_reconcile::MemoryStore;
    use jiff::Timestamp;
    use std::sync::Mutex;

    struct Hand(Mutex<Timestamp>);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }
    }

    #[tokio::test]
    async fn a_request_can_be_repeated_for_a_week() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Arc::new(Hand(Mutex::new(start)));
        let store = MemoryStore::new(clock.clone());
        for n in 0..BATCH as u128 + 7 {
            let app = App::new(AppId(ulid::Ulid(n + 1)), format!("a{n}"), None, AppSpec {}, start);
            let mut txn = Txn::new(Actor::System, "test", "req_test");
            txn.put(&app);
            txn.idempotency =
                Some(Idempotency { key: n.to_string(), answer: AnyId::from(app.id).to_string().into() });
            store.commit_now(txn).unwrap();
        }
        *clock.0.lock().unwrap() = start + KEPT;
        assert_eq!(once(&store, &*clock).await.unwrap(), 0);
        *clock.0.lock().unwrap() = start + KEPT + SignedDuration::from_secs(1);
        assert_eq!(once(&store, &*clock).await.unwrap(), BATCH + 7);
    }
}
