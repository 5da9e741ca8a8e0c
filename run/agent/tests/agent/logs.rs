//! Logs as a stream of trails.

use crate::world::World;
use freehold_model::{EnvId, logs::LogQuery};
use freehold_runtime::logs::Patterns;
use futures::{FutureExt as _, StreamExt as _};
use ulid::Ulid;

#[tokio::test]
async fn all_logs_that_are_there_come_at_once_so_that_none_is_merged_too_late() {
    let world = World::new();
    let all = [1, 2].map(|n| {
        let mut instance = world.instance(n);
        instance.parent = Some(EnvId::from(Ulid(9)).into());
        world.put(instance.clone());
        instance
    });
    let agent = world.agent().await;
    for instance in &all {
        world.wait_for(instance.id, |status| status.healthy).await;
    }
    for follow in [false, true] {
        let query = LogQuery { follow, ..LogQuery::default() };
        let trails = agent.logs(|_| true, query, Patterns::default()).await;
        let mut trails = Box::pin(trails);
        for _ in &all {
            assert!(trails.next().now_or_never().flatten().is_some(), "it is found while others are merged");
        }
    }
    agent.stop(false).await;
}
