//! Makes a small store large: `grow_store <state.db> <resources> <events>`.
//!
//! Copies the apps that are there, whole trees with fresh ids and names, until there are so many
//! resources; then appends events until the log is so long. For measuring how a large store starts.

use freehold_model::{Actor, AnyId, AnyResource, Kind, NewEvent, Query, Seq, Txn, Write};
use freehold_reconcile::{Ids, Store, SystemClock, View, ports::SystemIds};
use freehold_store::SqliteStore;
use std::{collections::BTreeMap, sync::Arc};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Events of one transaction.
const BATCH: u64 = 1000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, resources, events] = arguments.as_slice() else {
        return Err("usage: grow_store <state.db> <resources> <events>".into());
    };
    let (resources, events): (usize, Seq) = (resources.parse()?, events.parse()?);
    let store = SqliteStore::open(path, Arc::new(SystemClock))?;
    let (mut count, trees) = read(&*store.view().await?)?;
    if trees.is_empty() {
        return Err("there is no app to copy".into());
    }
    for (number, tree) in trees.iter().cycle().enumerate() {
        if count >= resources {
            break;
        }
        store.commit(copy(tree, number)).await?;
        count += tree.len();
    }
    let subject = trees[0][0].id;
    let mut head = *store.head().borrow();
    while head < events {
        head = store.commit(noise(subject, BATCH.min(events - head))).await?.version;
    }
    store.close().await;
    println!("{}", serde_json::json!({ "resources": count, "events": head }));
    Ok(())
}

/// How many resources there are, and the tree under each app, parents before children.
fn read(view: &dyn View) -> Result<(usize, Vec<Vec<AnyResource>>), Failure> {
    let mut by_parent: BTreeMap<Option<AnyId>, Vec<AnyResource>> = BTreeMap::new();
    let mut count = 0;
    for kind in Kind::ALL {
        let mut query = Query::of(*kind);
        loop {
            let page = view.list(&query)?;
            count += page.items.len();
            page.items.into_iter().for_each(|item| by_parent.entry(item.parent).or_default().push(item));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
    }
    let apps = by_parent.values().flatten().filter(|item| item.kind == Kind::App);
    let trees = apps.map(|app| {
        let mut tree = vec![app.clone()];
        let mut next = 0;
        while next < tree.len() {
            tree.extend(by_parent.get(&Some(tree[next].id)).into_iter().flatten().cloned());
            next += 1;
        }
        tree
    });
    Ok((count, trees.collect()))
}

/// The same tree with fresh ids, under another app name, its endpoints on ports of their own.
fn copy(tree: &[AnyResource], number: usize) -> Txn {
    let mut text = serde_json::to_string(tree).expect("resources are JSON");
    for old in tree {
        text = text.replace(&old.id.to_string(), &SystemIds.fresh(old.id.kind).to_string());
    }
    let mut copies: Vec<AnyResource> = serde_json::from_str(&text).expect("only ids differ");
    let mut txn = Txn::new(Actor::System, "grow", "grow");
    for resource in &mut copies {
        (resource.version, resource.generation) = (0, 0);
        if resource.kind == Kind::App {
            resource.name = format!("{}-{number}", resource.name);
        }
        if let Some(port) = resource.spec.get("listen").and_then(serde_json::Value::as_u64) {
            resource.spec["listen"] = (port + 1 + number as u64).into();
        }
        txn.writes.push(Write::Put(resource.clone()));
    }
    txn
}

fn noise(subject: AnyId, count: u64) -> Txn {
    let mut txn = Txn::new(Actor::System, "grow", "grow");
    let event = |n| NewEvent { subject, what: "app.noted".into(), data: serde_json::json!({ "n": n }) };
    txn.events.extend((0..count).map(event));
    txn
}
