//! A log that is older than it is to be kept: what goes, what is proved of the rest, and who is told.

use crate::world::{API, World, wait_for};
use freehold_model::{
    Actor, AnyId, LogRetention, Millis, Org, OrgId, OrgSpec, Project, ProjectId, ProjectSpec, Retention, Txn,
};
use freehold_reconcile::{Clock, Store, SystemClock};
use freehold_store::SqliteStore;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};

/// What happened long ago: so many events, after those that made the house.
const OLD: usize = 1200;
/// So many stay whatever their age.
const KEPT: u64 = 50;

struct LongAgo;

impl Clock for LongAgo {
    fn now(&self) -> Timestamp {
        SystemClock.now() - SignedDuration::from_hours(500 * 24)
    }
}

/// A backup of a house as it was 500 days ago, whose log is to be kept for 30 days.
fn old_house(file: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = SqliteStore::open(file, Arc::new(LongAgo)).unwrap();
    let now = LongAgo.now();
    let id = OrgId(ulid::Ulid::from_parts(1, 1));
    let set = LogRetention {
        rule: Some(Retention { keep: Millis(30 * 86_400_000), keep_events: KEPT }),
        by: "user:ada".into(),
        set: now,
        from: now + LogRetention::DELAY,
        until_then: None,
    };
    let org = Org::new(id, "home", None, OrgSpec { retention: Some(set), ..OrgSpec::default() }, now);
    let gone = Project::new(
        ProjectId(ulid::Ulid::from_parts(1, 2)),
        "gone",
        Some(id.into()),
        ProjectSpec::default(),
        now,
    );
    let commit = |fill: &dyn Fn(&mut Txn)| {
        let mut txn = Txn::new(Actor::User("ada".into()), "long ago", "req-old");
        fill(&mut txn);
        runtime.block_on(store.commit(txn)).unwrap();
    };
    commit(&|txn| {
        txn.put(&org).put(&gone);
    });
    for round in 0..OLD / 100 {
        commit(&|txn| {
            for n in 0..100 {
                txn.event(id, "org.greeted", json!({ "n": round * 100 + n }));
            }
        });
    }
    commit(&|txn| {
        txn.delete(AnyId::from(gone.id));
    });
    runtime.block_on(store.close());
}

fn shown(world: &World) -> Value {
    world.json(&["audit", "retention", "show"])
}

fn first(world: &World) -> u64 {
    shown(world)["first"].as_u64().unwrap()
}

#[test]
fn an_old_log_is_pruned_and_the_rest_is_proved() {
    let Some(mut world) = World::new() else { return };
    let backup = world.path("old.db");
    old_house(&backup);
    let (backup, data) = (backup.to_str().unwrap().to_owned(), world.data());
    let data = data.to_str().unwrap().to_owned();
    world.freehold(&["state", "restore", &backup, "--data", &data]).ok().says("1203 events");
    world.up(&[]);
    // The newest fifty stay whatever their age; of the rest all is old, and it goes without waiting for the hour.
    wait_for("the old events are gone", || first(&world), |first| *first > 1100);
    let pruned = first(&world);
    let report = shown(&world);
    assert_eq!(report["rule"], json!({ "keep": "30d", "keep_events": KEPT }));
    let anchor =
        world.freehold(&["audit", "retention", "show"]).ok().says("kept      30d, and the newest 50 events");
    assert!(anchor.out.contains("set       by user:ada") && anchor.out.contains("anchor    "), "{anchor:#?}");

    // The log holds from there on, and so does an export of it.
    let verified = world.freehold(&["audit", "verify"]).ok();
    let before = pruned - 1;
    assert!(verified.out.contains(&format!("from {pruned} on, hold together")), "{verified:#?}");
    assert!(
        verified.out.contains(&format!("event {before}, whose hash was kept when it was pruned")),
        "{verified:#?}"
    );
    let kept = format!("{before}:{}", report["anchor"]["hash"].as_str().unwrap());
    world.freehold(&["audit", "verify", "--anchor", &kept]).ok();
    let forged = format!("{before}:{}", "0".repeat(64));
    world
        .freehold(&["audit", "verify", "--anchor", &forged])
        .exits(1)
        .says("is not the one that the anchor was taken from");
    let early = format!("7:{}", "0".repeat(64));
    world.freehold(&["audit", "verify", "--anchor", &early]).exits(4).says("kept no longer");
    let export = world.freehold(&["audit", "export"]).ok();
    let file = world.write("audit.jsonl", &export.out);
    world.freehold(&["audit", "verify", &file, "--anchor", &kept]).ok();
    world.freehold(&["audit", "verify", &file]).exits(2).says(&format!("{before}:HASH"));
    world
        .freehold(&["audit", "export", "--after", "5"])
        .exits(4)
        .says(&format!("begins with event {pruned}"));

    // Who reads on from before is told where it begins, and the way out.
    let (token, url) = (world.token(), format!("http://{API}/v1"));
    for route in ["events?after=5", "watch?from=5", "events?after=0&subject=org_00000000010000000000000001"] {
        let line =
            format!("curl -s -m 10 -w '\n%{{http_code}}' -H 'authorization: Bearer {token}' '{url}/{route}'");
        let said = world.sh(&line).ok();
        let (body, status) = said.out.trim().rsplit_once('\n').unwrap();
        let problem: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (status, &problem["code"], &problem["first"]),
            ("410", &json!("gone"), &json!(pruned)),
            "{route}"
        );
        assert!(problem["hint"].as_str().unwrap().contains(&format!("after event {before}")), "{problem}");
    }
    // Without a place, from the first that is kept; and the pruning is there to be read.
    let line = format!("curl -s -m 10 -H 'authorization: Bearer {token}' '{url}/events?limit=1'");
    let page: Value = serde_json::from_str(&world.sh(&line).ok().out).unwrap();
    assert_eq!(page[0]["seq"], json!(pruned));
    world.freehold(&["audit", "list", "--what", "audit.pruned"]).ok().says("controller:retention");

    // A copy carries the anchor with it, and a control plane goes on from it.
    let copy = world.path("copy.db");
    world.freehold(&["state", "backup", copy.to_str().unwrap(), "--data", &data]).ok();
    let restored = world.path("restored");
    world.freehold(&["state", "restore", copy.to_str().unwrap(), "--data", restored.to_str().unwrap()]).ok();
    assert_eq!(world.terminate(), Some(0));
    world.up(&[]);
    assert_eq!(first(&world), pruned);
    world.freehold(&["audit", "verify", "--anchor", &kept]).ok();

    // To keep less waits, and is called off at once.
    world.freehold(&["audit", "retention", "set", "--keep", "1d"]).exits(2).says("30d at least");
    world
        .freehold(&["audit", "retention", "set", "--keep-events", "10"])
        .ok()
        .says("then      from ")
        .says("newest 10 events");
    assert_eq!(shown(&world)["rule"]["keep_events"], json!(KEPT));
    world.freehold(&["audit", "retention", "off"]).ok().says("everything, for ever");
    assert_eq!(first(&world), pruned);
    world.freehold(&["audit", "list", "--what", "audit.retention_set"]).ok().says("user:admin");
}
