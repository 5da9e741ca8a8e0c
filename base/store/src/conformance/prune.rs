//! Taking the oldest events off the log: what goes, what is kept of it, and who is told.

use super::fixture::{
    Subject, app, commit, events, existing, get, refused, resource, spec, status, stored, txn, version,
    writes,
};
use crate::assert_shape;
use freehold_model::{
    Actor, AnyId, CommitError, Fence, Kind, LeaseChange, Link, Prune, Seq, Tombstone, Txn, Write,
};
use freehold_reconcile::{StoreError, ViewExt as _};
use serde_json::json;

/// Takes everything up to `last` off.
fn pruning(last: Seq, subject: AnyId) -> Txn {
    Txn { prune: Some(Prune { last, subject, policy: "400d".into() }), ..txn() }
}

async fn beginning(store: &Subject) -> Seq {
    store.view().await.expect("a view").beginning().expect("a read")
}

/// The log begins behind the anchor, whose link is that of the last event that went; an event says so; and what
/// is left follows from there.
pub async fn a_pruned_log_begins_behind_its_anchor(store: Subject) {
    let id = stored(&store, app("web", None)).await.id;
    for n in 0..9 {
        commit(&store, writes([status(id, json!(n))])).await;
    }
    let before = events(&store, 0).await;
    assert_shape!(store.view().await.expect("a view").anchor(), Ok(None));
    let done = commit(&store, pruning(6, id)).await;
    assert_eq!((done.version, version(&store).await), (11, 11));
    let view = store.view().await.expect("a view");
    let anchor = view.anchor().expect("a read").expect("an anchor");
    assert_eq!((anchor.link(), anchor.said, &*anchor.policy), (Link::of(&before[5]), 11, "400d"));
    let left = view.events(6, 100, None).expect("a read");
    assert_eq!(left[..4], before[6..]);
    let said = &left[4];
    assert_eq!(
        (said.what.as_str(), said.subject, &said.actor),
        (Prune::DONE, id, &Actor::User("ada".into()))
    );
    let data = json!({ "first": 1, "events": 6, "anchor": anchor.link().to_string(), "policy": "400d" });
    assert_eq!(said.data, data);
    assert!(anchor.is_said_by(said));
    let mut link = anchor.link();
    for event in &left {
        link = link.follow(event).expect("it follows");
    }
    drop(view);

    // On from there, and once more.
    commit(&store, writes([status(id, json!("on"))])).await;
    commit(&store, pruning(11, id)).await;
    let view = store.view().await.expect("a view");
    let anchor = view.anchor().expect("a read").expect("an anchor");
    assert_eq!((anchor.link(), anchor.said), (Link::of(said), 13));
    assert_eq!(view.events(11, 100, None).expect("a read").len(), 2);
    assert_eq!(existing(&store, id).await.status, json!("on"), "resources stay");
}

/// Who is behind what went is told where the log begins; who asks about one subject gets what is left.
pub async fn who_reads_from_before_the_cut_is_told(store: Subject) {
    let (a, b) = (stored(&store, app("a", None)).await.id, stored(&store, app("b", None)).await.id);
    for n in 0..4 {
        commit(&store, writes([status(a, json!(n)), status(b, json!(n))])).await;
    }
    commit(&store, pruning(5, a)).await;
    let view = store.view().await.expect("a view");
    for after in [0, 4] {
        for limit in [1, 100] {
            assert_shape!(view.events(after, limit, None), Err(StoreError::Pruned { first: 6 }));
        }
    }
    let seqs = |after, limit, subject| {
        let read = view.events(after, limit, subject).expect("a read");
        read.iter().map(|event| event.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(5, 2, None), [6, 7]);
    assert_eq!(seqs(11, 5, None), [0_u64; 0]);
    assert_eq!(seqs(u64::MAX, 5, None), [0_u64; 0]);
    assert_eq!(seqs(0, 100, Some(a)), [7, 9, 11]);
    assert_eq!(seqs(0, 100, Some(b)), [6, 8, 10]);
    let last = view.last_events(100, None).expect("a read");
    assert_eq!(last.iter().map(|event| event.seq).collect::<Vec<_>>(), [11, 10, 9, 8, 7, 6]);
}

/// What went goes once: asked for again, nothing happens, and what is not there cannot go.
pub async fn only_what_is_there_goes_and_only_once(store: Subject) {
    let id = stored(&store, app("web", None)).await.id;
    for n in 0..4 {
        commit(&store, writes([status(id, json!(n))])).await;
    }
    commit(&store, pruning(3, id)).await;
    for again in [0, 2, 3] {
        assert_eq!(commit(&store, pruning(again, id)).await.version, 6);
    }
    for beyond in [7, 1 << 40, u64::MAX] {
        assert_shape!(refused(&store, pruning(beyond, id)).await, CommitError::Engine(_));
    }
    assert_eq!((beginning(&store).await, version(&store).await), (3, 6));
    // All but the event about it may go.
    commit(&store, pruning(6, id)).await;
    assert_eq!(events(&store, 6).await.len(), 1);
}

/// One transaction takes no more than a bounded number, for others wait for it.
pub async fn one_transaction_takes_a_bounded_number(store: Subject) {
    let id = stored(&store, app("web", None)).await.id;
    for n in 0..3 {
        let greeting = |m| status(id, json!([n, m]));
        commit(&store, writes((0..400).map(greeting))).await;
    }
    assert_shape!(refused(&store, pruning(Prune::MOST + 1, id)).await, CommitError::Engine(_));
    assert_eq!(beginning(&store).await, 0);
    commit(&store, pruning(Prune::MOST, id)).await;
    commit(&store, pruning(Prune::MOST + 201, id)).await;
    assert_eq!(beginning(&store).await, Prune::MOST + 201);
}

/// A refusal prunes nothing, whatever it is for, and nor does who has lost the lead.
pub async fn a_refused_transaction_prunes_nothing(store: Subject) {
    let id = stored(&store, app("web", None)).await.id;
    commit(&store, writes([status(id, json!(1))])).await;
    let take = LeaseChange::Take {
        name: "retention".into(),
        holder: "one".into(),
        note: String::new(),
        seen: (0, 0),
    };
    store.change_lease(take).await.expect("it works");
    let fenced = |version| {
        let fence = Some(Fence { lease: "retention".into(), version });
        Txn { fence, ..pruning(1, id) }
    };
    assert_shape!(refused(&store, fenced(2)).await, CommitError::LeaseLost { .. });
    let mut taken = pruning(1, id);
    taken.writes.push(Write::Put(app("web", None)));
    assert_shape!(refused(&store, taken).await, CommitError::NameTaken { .. });
    assert_eq!((beginning(&store).await, events(&store, 0).await.len()), (0, 2));
    commit(&store, fenced(1)).await;
    assert_eq!(beginning(&store).await, 1);
}

/// Writes and pruning in one transaction: all of it has one version, the event about the pruning comes last.
pub async fn writes_and_pruning_go_together(store: Subject) {
    let id = stored(&store, app("web", None)).await.id;
    let mut change = pruning(1, id);
    change.writes.push(spec(id, json!({ "size": 2 })));
    change.event(id, "app.greeted", json!({}));
    let done = commit(&store, change).await;
    let said: Vec<String> = events(&store, 1).await.into_iter().map(|event| event.what).collect();
    assert_eq!(said, ["app.changed", "app.greeted", Prune::DONE]);
    assert_eq!((done.version, existing(&store, id).await.version), (4, 4));
}

/// Where a resource was whose first event went stays known, as long as anything can still ask.
pub async fn what_is_gone_stays_where_it_was(store: Subject) {
    let project = stored(&store, resource(Kind::Project, "shop", None)).await.id;
    let env = stored(&store, resource(Kind::Env, "main", Some(project))).await.id;
    let ended = stored(&store, resource(Kind::Instance, "web-1", Some(env))).await.id;
    let alive = stored(&store, resource(Kind::Instance, "web-2", Some(env))).await.id;
    commit(&store, writes([Write::Delete { id: ended }])).await;
    commit(&store, writes([Write::Delete { id: env }])).await;
    let stone = async |id| store.view().await.expect("a view").tombstone(id).expect("a read");
    let under = |parent| Some(Tombstone { parent });
    assert_eq!(stone(env).await, None, "its first event is there");
    commit(&store, pruning(4, project)).await;
    for (id, parent) in [(project, None), (env, Some(project)), (ended, Some(env)), (alive, Some(env))] {
        assert_eq!(stone(id).await, under(parent), "{id}");
    }
    // What is no part of anything is forgotten along with its end; what others may be in is not.
    commit(&store, pruning(7, project)).await;
    assert_eq!((stone(ended).await, stone(env).await), (None, under(Some(project))));
    assert_eq!((get(&store, ended).await, stone(alive).await), (None, under(Some(env))));
    // Come and gone within one cut.
    let brief = stored(&store, resource(Kind::Instance, "web-3", Some(env))).await.id;
    let done = commit(&store, writes([Write::Delete { id: brief }])).await.version;
    commit(&store, pruning(done, project)).await;
    assert_eq!(stone(brief).await, None);
}
