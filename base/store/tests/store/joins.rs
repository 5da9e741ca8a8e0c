//! Machines that join all at once, on both engines: no token makes two nodes, no node is half made.

use crate::{postgres::TempPostgres, support::TempStore};
use freehold_identity::{Authority, AuthorityError, MachineKey, Refusal};
use freehold_model::{
    Actor, IdentitySpec, JoinTokenSpec, MachineKind, NodeSpec,
    join::{CreateJoinToken, JoinRequest, Joined, PROTOCOL},
    secrets::Hidden,
};
use freehold_reconcile::{Store, SystemClock, ViewExt as _};
use freehold_secrets::Vault;
use std::{collections::HashSet, sync::Arc};

/// Machines with a token each; as many more fight for one token.
const MACHINES: usize = 200;

async fn many_join_at_once(store: Arc<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock);
    let vault = Vault::open(&folder.path().join("keys/secrets.key"), store.clone(), clock.clone()).unwrap();
    let authority = Arc::new(Authority::new(store.clone(), clock, Arc::new(vault)));
    let made = (0..=MACHINES).map(|_| {
        let authority = authority.clone();
        tokio::spawn(async move { token(&authority).await })
    });
    let mut tokens = vec![];
    for one in made.collect::<Vec<_>>() {
        tokens.push(one.await.unwrap());
    }
    let contended = tokens.pop().unwrap();

    let mut tries = vec![];
    for (at, token) in tokens.into_iter().enumerate() {
        let request = request(folder.path(), &format!("own-{at}"), token);
        // Each comes twice, as over a connection that broke before the answer.
        for _ in 0..2 {
            let (authority, request) = (authority.clone(), request.clone());
            tries.push(tokio::spawn(async move { (false, authority.join("test", &request).await) }));
        }
        let (authority, other) = (authority.clone(), request_of(folder.path(), at, &contended));
        tries.push(tokio::spawn(async move { (true, authority.join("test", &other).await) }));
    }
    let (mut joined, mut winners) = (HashSet::new(), 0);
    for one in tries {
        match one.await.unwrap() {
            (is_contended, Ok(Joined { machine, .. })) => {
                winners += u32::from(is_contended);
                joined.insert(machine);
            }
            (true, Err(AuthorityError::Refused(Refusal::Used))) => {}
            (is_contended, Err(error)) => panic!("contended {is_contended}: {error}"),
        }
    }
    assert_eq!((winners, joined.len()), (1, MACHINES + 1));

    let view = store.view().await.unwrap();
    let nodes = view.all::<NodeSpec>(None).unwrap();
    assert_eq!(nodes.iter().map(|node| node.any_id()).collect::<HashSet<_>>(), joined);
    let identities = view.all::<IdentitySpec>(None).unwrap();
    let keys: HashSet<_> = identities.iter().map(|identity| identity.spec.key).collect();
    assert_eq!((identities.len(), keys.len()), (MACHINES + 1, MACHINES + 1));
    assert_eq!(view.claims("machine-key").unwrap().len(), MACHINES + 1);
    let tokens = view.all::<JoinTokenSpec>(None).unwrap();
    let used: HashSet<_> =
        tokens.iter().filter_map(|token| token.status.used.as_ref()).map(|it| it.machine).collect();
    assert_eq!(used, joined);
    let mut after = 0;
    let mut events = vec![];
    loop {
        let page = view.events(after, 1000, None).unwrap();
        let Some(last) = page.last() else { break };
        after = last.seq;
        events.extend(page.into_iter().map(|event| event.what));
    }
    let count = |what: &str| events.iter().filter(|one| *one == what).count();
    assert_eq!(count("node.joined"), MACHINES + 1);
    assert!((1..=16).contains(&count("jointoken.refused")), "{}", count("jointoken.refused"));
}

async fn token(authority: &Authority) -> Hidden {
    let wanted = CreateJoinToken { machine: MachineKind::Node, ttl: None, name: None };
    authority.create_token(&Actor::System, "test", &wanted).await.unwrap().token
}

fn request(folder: &std::path::Path, name: &str, token: Hidden) -> JoinRequest {
    let key = MachineKey::open(&folder.join(name)).unwrap();
    JoinRequest {
        token,
        machine: MachineKind::Node,
        name: name.parse().unwrap(),
        csr: key.request(),
        protocol: PROTOCOL,
    }
}

fn request_of(folder: &std::path::Path, at: usize, contended: &Hidden) -> JoinRequest {
    request(folder, &format!("same-{at}"), contended.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_machines_join_at_once_on_sqlite() {
    many_join_at_once(Arc::new(TempStore::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_machines_join_at_once_on_postgres() {
    many_join_at_once(Arc::new(TempPostgres::new().await)).await;
}
