//! What another system knew begins a store, as a whole, and comes out again as it went in.

use crate::support::{self, TempStore};
use freehold_model::{Claim, Inventory};
use freehold_reconcile::{Store, SystemIds};
use freehold_store::{ImportError, Place, export, import, testing::Database};
use serde_json::Value;

const FIXTURE: &str = include_str!("../fixtures/inventory.json");

fn fixture() -> Inventory {
    Inventory::parse(FIXTURE.as_bytes()).unwrap()
}

async fn exported(store: &dyn Store) -> Value {
    serde_json::to_value(export(&*store.view().await.unwrap()).unwrap()).unwrap()
}

async fn imported(store: &dyn Store) -> Result<u64, ImportError> {
    import(store, &fixture(), &mut SystemIds, jiff::Timestamp::now()).await
}

#[tokio::test]
async fn from_a_document_through_both_engines_to_the_same_document() {
    let document: Value = serde_json::from_str(FIXTURE).unwrap();
    let subject = TempStore::new();
    assert_eq!(imported(&subject).await.unwrap(), 6);
    assert_eq!(exported(&subject).await, document);
    let dir = subject.close().await;

    let (database, back) = (Database::new(), dir.path().join("back.db"));
    let (there, file) = (Place::Postgres(Box::new(database.options())), Place::Sqlite(back.clone()));
    let from = Place::Sqlite(dir.path().join("state.db"));
    let copying = move || {
        freehold_store::copy(&from, &there, |_, _| {}).unwrap();
        freehold_store::copy(&there, &file, |_, _| {}).unwrap();
    };
    tokio::task::spawn_blocking(copying).await.unwrap();
    let store = database.open().await.unwrap();
    assert_eq!(exported(&store).await, document);
    assert_eq!(store.verify_chain().await.unwrap(), 6);
    store.close().await;
    std::fs::rename(back, dir.path().join("state.db")).unwrap();
    assert_eq!(exported(&support::open(dir.path()).unwrap()).await, document);
}

#[tokio::test]
async fn it_is_all_or_nothing_and_begins_a_store() {
    let database = Database::new();
    let store = database.open().await.unwrap();
    // As if a fault of ours had let it through the check.
    let mut broken = fixture();
    broken.addresses[1].address = broken.addresses[0].address;
    import(&store, &broken, &mut SystemIds, jiff::Timestamp::now()).await.unwrap_err();
    assert_eq!(store.view().await.unwrap().version().unwrap(), 0);
    imported(&store).await.unwrap();
    assert!(matches!(imported(&store).await, Err(ImportError::Taken(6))));
    let claims = store.view().await.unwrap().claims(Claim::ADDRESS).unwrap();
    assert_eq!(claims.len(), 3);
}
