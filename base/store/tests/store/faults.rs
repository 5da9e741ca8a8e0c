//! The k-th write that the server is asked for fails, for every k: the group that it belongs to did not
//! happen, as its callers are told, and the next one does.

use crate::postgres::TempPostgres;
use freehold_model::{CommitError, Prune, Txn, Write, txn::Idempotency};
use freehold_reconcile::{Store, ViewExt as _};
use freehold_store::conformance::fixture::{app, get, status, writes};
use serde_json::json;
use std::sync::Arc;

/// Every statement that writes counts itself; the one that is told to fails as on a full disk. A sequence
/// does not go back with the transaction.
const FAULTS: &str = "
    CREATE SCHEMA fault;
    CREATE SEQUENCE fault.calls;
    CREATE TABLE fault.plan (k bigint NOT NULL);
    INSERT INTO fault.plan VALUES (0);
    CREATE FUNCTION fault.count() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('fault.calls') = (SELECT k FROM fault.plan) THEN
            RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full';
        END IF;
        RETURN NULL;
    END $$;
    DO $$ DECLARE name text; BEGIN
        FOREACH name IN ARRAY ARRAY['resources', 'claims', 'events', 'idempotency', 'cursors', 'head', 'writers', 'anchor', 'tombstones'] LOOP
            EXECUTE format('CREATE TRIGGER counting BEFORE INSERT OR UPDATE OR DELETE ON freehold.%I
                            FOR EACH STATEMENT EXECUTE FUNCTION fault.count()', name);
        END LOOP;
    END $$";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_at_any_write_fails_its_group_alone() {
    let subject = Arc::new(TempPostgres::new().await);
    subject.database.edit(FAULTS);
    let store: Arc<dyn Store> = subject.clone();
    let mut seen = 0;
    for k in 1.. {
        let (old, new) = (app(&format!("old{k}"), None), app(&format!("new{k}"), None));
        let mut before = writes([Write::Put(old.clone())]);
        before.claim("key", format!("old{k}"), old.id);
        store.commit(before).await.expect("nothing fails yet");
        let head = *store.head().borrow();
        subject.database.edit(&format!("ALTER SEQUENCE fault.calls RESTART; UPDATE fault.plan SET k = {k}"));
        let mut change = everything(k, &old, &new);
        change.prune = Some(Prune { last: k, subject: new.id, policy: "400d".into() });
        let answer = store.commit(change.clone()).await;
        subject.database.edit("UPDATE fault.plan SET k = 0");
        let there = (get(&store, old.id).await.is_some(), get(&store, new.id).await.is_some());
        match answer {
            Ok(committed) => {
                assert_eq!((there, committed.version), ((false, true), head + 5), "k = {k}");
                break;
            }
            Err(error) => {
                assert!(matches!(error, CommitError::Full), "k = {k}: {error}");
                assert_eq!((there, *store.head().borrow()), ((true, false), head), "k = {k}");
                assert_eq!(store.view().await.unwrap().beginning().unwrap(), k - 1, "k = {k}");
                assert_eq!(subject.store.verify_chain().await.expect("a chain"), head);
            }
        }
        seen += 1;
        // The same again, now that there is room: the first attempt left nothing behind, not even its key.
        let again = store.commit(change).await.expect("it happens now");
        assert_eq!((again.version, again.replayed), (head + 5, None), "k = {k}");
    }
    assert!(seen >= 12, "only {seen} statements failed");
    assert_eq!(subject.store.verify_chain().await.expect("a chain"), *store.head().borrow());
}

/// Writes to every table but the cursors and what pruning keeps.
fn everything(k: u64, old: &freehold_model::AnyResource, new: &freehold_model::AnyResource) -> Txn {
    let mut change =
        writes([Write::Put(new.clone()), status(new.id, json!({ "k": k })), Write::Delete { id: old.id }]);
    change.release("key", "absent").claim("key", format!("new{k}"), new.id);
    change.event(new.id, "app.greeted", json!({ "k": k }));
    change.idempotency = Some(Idempotency { key: format!("request-{k}"), answer: json!(k) });
    change
}
