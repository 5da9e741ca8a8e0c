//! A thousand addresses given out at once by the allocator that rollouts use, on both engines: none twice, and
//! none lost. Rollouts of many envs and of several control planes meet in the same pool.

use crate::{postgres::TempPostgres, support::TempStore};
use freehold_deploy::address::Pool;
use freehold_model::{Actor, App, AppId, AppSpec, Claim, CommitError, Txn};
use freehold_reconcile::{Ids as _, Store, SystemIds};
use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};
use tokio::task::JoinSet;

/// So many rollouts, each of so many instances, all at once.
const ROLLOUTS: u32 = 20;
const INSTANCES: u32 = 50;

async fn a_thousand_at_once(store: Arc<dyn Store>) {
    let mut all = JoinSet::new();
    for rollout in 0..ROLLOUTS {
        let store = store.clone();
        all.spawn(async move { roll_out(&*store, rollout).await });
    }
    let given: Vec<Ipv4Addr> = all.join_all().await.into_iter().flatten().collect();
    let distinct: BTreeSet<Ipv4Addr> = given.iter().copied().collect();
    assert_eq!((given.len(), distinct.len()), (1000, 1000));
    let first = Ipv4Addr::new(10, 210, 0, 2).to_bits();
    assert!(distinct.iter().map(|one| one.to_bits()).eq(first..first + 1000), "an address was lost");
    let view = store.view().await.unwrap();
    let held: BTreeSet<Ipv4Addr> =
        view.claims(Claim::ADDRESS).unwrap().iter().map(|claim| claim.key.parse().unwrap()).collect();
    assert_eq!(held, distinct);
}

/// All instances of one rollout in one transaction, decided again when somebody was faster.
async fn roll_out(store: &dyn Store, rollout: u32) -> Vec<Ipv4Addr> {
    loop {
        let mut txn = Txn::new(Actor::System, "test", "req_test");
        let mut given = vec![];
        let view = store.view().await.unwrap();
        let mut pool = Pool::new(&*view).unwrap();
        drop(view);
        for n in 0..INSTANCES {
            let id = AppId(SystemIds.ulid());
            let address = pool.take().unwrap();
            let app = App::new(id, format!("a{rollout}-{n}"), None, AppSpec {}, jiff::Timestamp::UNIX_EPOCH);
            txn.put(&app).claim(Claim::ADDRESS, address, id);
            given.push(address);
        }
        match store.commit(txn).await {
            Ok(_) => return given,
            Err(CommitError::Claimed { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_addresses_are_given_out_at_once_on_sqlite() {
    a_thousand_at_once(Arc::new(TempStore::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_addresses_are_given_out_at_once_on_postgres() {
    a_thousand_at_once(Arc::new(TempPostgres::new().await)).await;
}
