//! Listing: pages, filters, limits.

use super::fixture::{Subject, app, commit, resource, stored, writes};
use freehold_model::{AnyId, AnyResource, Kind, Page, Query, Write};
use std::collections::BTreeMap;

async fn page(store: &Subject, query: &Query) -> Page {
    store.view().await.expect("a view").list(query).expect("a read")
}

async fn ids(store: &Subject, query: &Query) -> Vec<AnyId> {
    page(store, query).await.items.iter().map(|item| item.id).collect()
}

async fn labelled(store: &Subject, name: &str, parent: Option<AnyId>, labels: &[(&str, &str)]) -> AnyId {
    let labels = labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    stored(store, AnyResource { labels, ..app(name, parent) }).await.id
}

/// Whatever the page size, the pages together are the whole, in order of ids or in reverse; the last has
/// no next.
pub async fn pages_hold_everything_once_in_order(store: Subject) {
    let parent = stored(&store, resource(Kind::Project, "p", None)).await.id;
    let mut all: Vec<AnyResource> = (0..23).map(|n| app(&format!("a{n}"), Some(parent))).collect();
    all.extend([resource(Kind::Env, "before", None), resource(Kind::Org, "after", None)]);
    all.reverse();
    commit(&store, writes(all.iter().cloned().map(Write::Put))).await;
    let mut wanted: Vec<AnyId> = all.iter().map(|item| item.id).filter(|id| id.kind == Kind::App).collect();
    wanted.sort();
    for limit in [1, 2, 22, 23, 24, 1000] {
        for (parent, newest_first) in
            [(None, false), (Some(parent), false), (None, true), (Some(parent), true)]
        {
            let mut query = Query { limit, parent, newest_first, ..Query::of(Kind::App) };
            let mut found = vec![];
            loop {
                let page = page(&store, &query).await;
                assert!(page.items.len() <= limit);
                found.extend(page.items.iter().map(|item| item.id));
                assert!(page.next.is_none() || page.next == found.last().copied());
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
            if newest_first {
                found.reverse();
            }
            assert_eq!(found, wanted, "in pages of {limit}, newest first: {newest_first}");
        }
    }
}

/// Each condition alone and together with others; what fits nothing is an empty page.
pub async fn every_filter_narrows(store: Subject) {
    let a = labelled(&store, "web", None, &[("tier", "front"), ("zone", "x")]).await;
    let b = labelled(&store, "db", None, &[("tier", "back")]).await;
    let c = labelled(&store, "web", Some(b), &[("tier", "front")]).await;
    let d = labelled(&store, "api", Some(b), &[]).await;
    stored(&store, resource(Kind::Env, "web", Some(b))).await;
    let all = Query::of(Kind::App);
    let label = |query: Query, key: &str, value: &str| {
        let mut labels: BTreeMap<String, String> = query.labels.clone();
        labels.insert(key.into(), value.into());
        Query { labels, ..query }
    };
    let front = label(all.clone(), "tier", "front");
    for (query, wanted) in [
        (all.clone(), vec![a, b, c, d]),
        (all.clone().named("web"), vec![a, c]),
        (all.clone().under(b), vec![c, d]),
        (all.clone().under(b).named("web"), vec![c]),
        (all.clone().under(a), vec![]),
        (all.clone().named("WEB"), vec![]),
        (front.clone(), vec![a, c]),
        (label(front.clone(), "zone", "x"), vec![a]),
        (label(front.clone(), "zone", "y"), vec![]),
        (front.clone().under(b), vec![c]),
        (label(all.clone(), "tier", ""), vec![]),
        (Query { after: Some(a), ..front.clone() }, vec![c]),
        (Query { after: Some(c), ..all.clone().under(b) }, vec![d]),
        (Query::of(Kind::Node), vec![]),
    ] {
        assert_eq!(ids(&store, &query).await, wanted, "{query:?}");
    }
    let first = page(&store, &Query { limit: 1, ..front }).await;
    assert_eq!((first.items.len(), first.next), (1, Some(a)));
}

/// A limit is at least 1 and at most [`Query::MAX_LIMIT`].
pub async fn limits_are_clamped(store: Subject) {
    let all = (0..Query::MAX_LIMIT + 1).map(|n| Write::Put(app(&format!("a{n}"), None)));
    commit(&store, writes(all)).await;
    for (limit, length) in [(0, 1), (usize::MAX, Query::MAX_LIMIT)] {
        let page = page(&store, &Query { limit, ..Query::of(Kind::App) }).await;
        assert_eq!(page.items.len(), length);
        assert!(page.next.is_some());
    }
}
