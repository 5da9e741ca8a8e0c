//! The event log: what is said, how it is chained, how it is read.

use super::fixture::{Subject, app, commit, events, existing, spec, status, stored, txn, writes};
use freehold_model::{Actor, AnyId, Event, Txn, Write};
use serde_json::json;

/// Every write causes one event, which carries version, generation and reason; where the resource is
/// not there before or after, its name and parent as well.
pub async fn each_write_says_what_it_did(store: Subject) {
    let parent = stored(&store, app("parent", None)).await;
    let web = app("web", Some(parent.id));
    let id = web.id;
    commit(&store, writes([Write::Put(web)])).await;
    commit(&store, writes([spec(id, json!({ "size": 2 }))])).await;
    commit(&store, writes([status(id, json!({ "phase": "up" }))])).await;
    let mut replaced = existing(&store, id).await;
    replaced.status = json!({ "phase": "down" });
    commit(&store, writes([Write::Put(replaced)])).await;
    commit(&store, writes([Write::Deleting { id }])).await;
    commit(&store, writes([Write::Delete { id }])).await;
    let said = |what: &str, version: u64, generation: u64| {
        let placed = matches!(what, "app.created" | "app.deleted");
        let mut data = json!({ "version": version, "generation": generation, "reason": "because" });
        if placed {
            data["name"] = json!("web");
            data["parent"] = json!(parent.id);
        }
        (what.to_owned(), data)
    };
    let found: Vec<_> = events(&store, 1).await.into_iter().map(|event| (event.what, event.data)).collect();
    assert_eq!(
        found,
        [
            said("app.created", 2, 1),
            said("app.changed", 3, 2),
            said("app.observed", 4, 2),
            said("app.changed", 5, 2),
            said("app.deleting", 6, 2),
            said("app.deleted", 7, 2),
        ]
    );
    let first = &events(&store, 0).await[0];
    assert_eq!((first.data["name"].as_str(), &first.data["parent"]), (Some("parent"), &json!(null)));
}

/// Every field survives, and each hash is the chain's over what is read.
pub async fn events_read_back_as_they_were_chained(store: Subject) {
    let id = stored(&store, app("web", None)).await.id;
    let actors = [
        Actor::System,
        Actor::User("ada: the first".into()),
        Actor::Controller("rollout".into()),
        Actor::Node("nod_1".into()),
    ];
    for (n, actor) in actors.iter().enumerate() {
        let mut change = Txn { actor: actor.clone(), request: format!("req-{n}"), ..txn() };
        let data = json!({ "z": 1, "a": [0.1, 1e300, 2.2250738585072014e-308, -0.0], "ü": "\u{7}\"" });
        change.event(id, "app.greeted", data);
        commit(&store, change).await;
    }
    let found = events(&store, 0).await;
    let mut previous = Event::GENESIS.to_owned();
    for (n, event) in found.iter().enumerate() {
        assert_eq!(event.seq, n as u64 + 1);
        assert_eq!(event.hash, event.chain(&previous), "event {}", event.seq);
        previous.clone_from(&event.hash);
    }
    for (n, actor) in actors.iter().enumerate() {
        let event = &found[n + 1];
        assert_eq!((&event.actor, event.request.as_str(), event.subject), (actor, &*format!("req-{n}"), id));
    }
}

/// After a place, about a subject, from either end, never more than asked for.
pub async fn events_are_read_by_place_and_subject(store: Subject) {
    let (a, b) = (stored(&store, app("a", None)).await.id, stored(&store, app("b", None)).await.id);
    for n in 0..4 {
        commit(&store, writes([status(a, json!(n)), status(b, json!(n))])).await;
    }
    let view = store.view().await.expect("a view");
    let seqs = |events: Vec<Event>| events.iter().map(|event| event.seq).collect::<Vec<_>>();
    let after =
        |after, limit, subject: Option<AnyId>| seqs(view.events(after, limit, subject).expect("a read"));
    let last = |limit, subject: Option<AnyId>| seqs(view.last_events(limit, subject).expect("a read"));
    assert_eq!(after(0, 100, None), (1..=10).collect::<Vec<_>>());
    assert_eq!(after(7, 2, None), [8, 9]);
    assert_eq!(after(0, 100, Some(a)), [1, 3, 5, 7, 9]);
    assert_eq!(after(3, 2, Some(a)), [5, 7]);
    assert_eq!(after(10, 5, None), [0_u64; 0]);
    assert_eq!(after(u64::MAX, 5, None), [0_u64; 0]);
    assert_eq!(after(0, 0, None), [0_u64; 0]);
    assert_eq!(last(3, None), [10, 9, 8]);
    assert_eq!(last(2, Some(b)), [10, 8]);
    assert_eq!(last(100, Some(b)), [10, 8, 6, 4, 2]);
    assert_eq!(last(2, Some(app("ghost", None).id)), [0_u64; 0]);
}
