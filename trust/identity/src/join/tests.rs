//! Joining, as a whole, over a store in memory and a clock that is set by hand.

use super::*;
use crate::{Presented, request};
use freehold_model::{
    Code, Event, IdentitySpec, JoinTokenSpec,
    join::{CreateJoinToken, JoinTokenState},
    secrets::Hidden,
};
use freehold_reconcile::{Clock, MemoryStore, Store};
use freehold_secrets::Vault;
use jiff::{SignedDuration, Timestamp};
use rcgen::KeyPair;
use std::sync::{Arc, Mutex};

/// A clock that is set by hand.
pub(crate) struct Hand(Mutex<Timestamp>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub(crate) struct House {
    _folder: tempfile::TempDir,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<Hand>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) authority: Authority,
}

pub(crate) fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hand(Mutex::new(Timestamp::now())));
    let store = Arc::new(MemoryStore::new(clock.clone()));
    let vault = Vault::open(&folder.path().join("keys/secrets.key"), store.clone(), clock.clone()).unwrap();
    let vault = Arc::new(vault);
    let authority = Authority::new(store.clone(), clock.clone(), vault.clone());
    House { _folder: folder, store, clock, vault, authority }
}

pub(crate) fn me() -> Actor {
    Actor::User("admin".into())
}

impl House {
    pub(crate) async fn token(&self, machine: MachineKind) -> Hidden {
        let wanted = CreateJoinToken { machine, ttl: None, name: None };
        self.authority.create_token(&me(), "test", &wanted).await.unwrap().token
    }

    pub(crate) async fn join(
        &self,
        token: &Hidden,
        name: &str,
        key: &KeyPair,
    ) -> Result<Joined, AuthorityError> {
        self.authority.join("test", &wanted(token, name, key)).await
    }

    async fn refused(&self, token: &Hidden, name: &str, key: &KeyPair) -> Refusal {
        match self.join(token, name, key).await {
            Err(AuthorityError::Refused(refusal)) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) fn later(&self, by: SignedDuration) {
        let mut now = self.clock.0.lock().unwrap();
        *now += by;
    }

    pub(crate) async fn view(&self) -> Box<dyn View + Send> {
        self.store.view().await.unwrap()
    }

    async fn events(&self, what: &str) -> Vec<Event> {
        let all = self.view().await.events(0, 10_000, None).unwrap();
        all.into_iter().filter(|event| event.what == what).collect()
    }

    async fn nodes(&self) -> usize {
        self.view().await.all::<NodeSpec>(None).unwrap().len()
    }
}

fn wanted(token: &Hidden, name: &str, key: &KeyPair) -> JoinRequest {
    wanted_as(MachineKind::Node, token, name, key)
}

fn wanted_as(machine: MachineKind, token: &Hidden, name: &str, key: &KeyPair) -> JoinRequest {
    JoinRequest {
        token: token.clone(),
        machine,
        name: name.parse().unwrap(),
        csr: request(key).unwrap(),
        protocol: PROTOCOL,
    }
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

pub(crate) fn presented(house: &str, certificate: &MachineCertificate) -> Presented {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let own = CertificateDer::from_pem_slice(certificate.chain.as_bytes()).unwrap();
    Presented::read(house, &own).unwrap()
}

#[tokio::test]
async fn a_machine_that_joined_is_let_in_with_its_certificate() {
    let house = house();
    let (token, key) = (house.token(MachineKind::Node).await, key());
    let joined = house.join(&token, "nas", &key).await.unwrap();
    house.authority.refresh().await.unwrap();
    let live = house.authority.live().borrow().clone().unwrap();
    let presented = presented(&live.house, &joined.certificate);
    assert_eq!(presented.peer.machine, joined.machine);
    assert!(live.admits(&presented.peer));
    // Another node with that key, or another key of that node, is nobody.
    let mut other = presented.peer;
    other.machine = NodeId(SystemIds.ulid()).into();
    assert!(!live.admits(&other));
    let mut other = presented.peer;
    other.key = KeyFingerprint::of(b"other");
    assert!(!live.admits(&other));
    let life = presented.not_after.duration_since(house.clock.now());
    assert!(life <= SignedDuration::from_hours(24) && life > SignedDuration::from_hours(23), "{life}");
    let joined = house.events("node.joined").await;
    assert_eq!(joined.len(), 1, "{joined:?}");
}

#[tokio::test]
async fn an_interrupted_join_is_repeated_with_the_same_key_alone() {
    let house = house();
    let (token, mine) = (house.token(MachineKind::Node).await, key());
    let first = house.join(&token, "nas", &mine).await.unwrap();
    house.later(SignedDuration::from_hours(2));
    let again = house.join(&token, "nas", &mine).await.unwrap();
    assert_eq!((first.machine, &first.name), (again.machine, &again.name));
    assert_ne!(first.certificate.chain, again.certificate.chain);
    assert_eq!(house.refused(&token, "nas2", &key()).await, Refusal::Used);
    assert_eq!(house.nodes().await, 1);
    assert_eq!(house.events("jointoken.refused").await.len(), 1);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_audited_but_strangers_cannot_fill_the_log() {
    let house = house();
    let gateway = house.token(MachineKind::Gateway).await;
    let refusal = house.refused(&gateway, "nas", &key()).await;
    assert_eq!(refusal.reason(), "wrong_kind");
    let expired = house.token(MachineKind::Node).await;
    house.later(SignedDuration::from_mins(61));
    assert_eq!(house.refused(&expired, "nas", &key()).await.reason(), "expired");

    let taken = house.token(MachineKind::Node).await;
    let id = taken.expose().parse::<JoinTokenText>().unwrap().id;
    let state = house.authority.revoke_token(&me(), "test", id).await.unwrap().state;
    assert_eq!(state, JoinTokenState::Revoked);
    assert_eq!(house.refused(&taken, "nas", &key()).await.reason(), "revoked");
    let only =
        CreateJoinToken { machine: MachineKind::Node, ttl: None, name: Some("attic".parse().unwrap()) };
    let only = house.authority.create_token(&me(), "test", &only).await.unwrap().token;
    assert_eq!(house.refused(&only, "nas", &key()).await.reason(), "wrong_name");
    house.join(&only, "attic", &key()).await.unwrap();
    let twice = house.token(MachineKind::Node).await;
    assert_eq!(house.refused(&twice, "attic", &key()).await.reason(), "name_taken");
    let audited = house.events("jointoken.refused").await;
    let reasons: Vec<&str> = audited.iter().filter_map(|event| event.data["reason"].as_str()).collect();
    assert_eq!(reasons, ["wrong_kind", "expired", "revoked", "wrong_name", "name_taken"]);

    // The id of a real token, the secret of none.
    let real = twice.expose();
    let forged = format!("{}{}{}", &real[..31], "0".repeat(32), &real[63..]);
    for _ in 0..40 {
        assert_eq!(house.refused(&Hidden::new(forged.clone()), "x", &key()).await, Refusal::Unknown);
        house.refused(&twice, "attic", &key()).await;
    }
    assert_eq!(house.events("jointoken.refused").await.len(), 5 + AUDITED as usize - 1);
    assert_eq!(house.nodes().await, 1);
}

#[tokio::test]
async fn a_revoked_key_is_refused_for_ever_even_when_its_node_is_gone() {
    let house = house();
    let (token, mine) = (house.token(MachineKind::Node).await, key());
    let joined = house.join(&token, "nas", &mine).await.unwrap();
    house.authority.refresh().await.unwrap();
    let live = house.authority.live().borrow().clone().unwrap();
    let peer = presented(&live.house, &joined.certificate).peer;
    assert!(live.admits(&peer) && house.authority.admits_now(&peer).await.unwrap());
    assert_eq!(house.authority.revoke(&me(), "test", joined.machine).await.unwrap(), 1);
    assert_eq!(house.authority.revoke(&me(), "test", joined.machine).await.unwrap(), 0);
    house.authority.refresh().await.unwrap();
    assert!(!house.authority.live().borrow().as_ref().unwrap().admits(&peer));
    assert!(!house.authority.admits_now(&peer).await.unwrap());
    let csr = request(&mine).unwrap();
    for asked in [
        house.authority.renew("test", &peer, &csr).await.err(),
        house.authority.rejoin("test", joined.machine, &csr).await.err(),
    ] {
        assert!(matches!(asked, Some(AuthorityError::Refused(Refusal::Gone))), "{asked:?}");
    }
    assert_eq!(house.refused(&token, "nas", &mine).await, Refusal::Used);
    let mut txn = Txn::new(me(), "remove", "test");
    txn.delete(joined.machine);
    house.store.commit(txn).await.unwrap();
    let other = house.token(MachineKind::Node).await;
    assert_eq!(house.refused(&other, "nas", &mine).await, Refusal::KeyTaken);
    assert_eq!(house.events("identity.revoked").await.len(), 1);
}

#[tokio::test]
async fn a_node_that_slept_past_its_certificate_gets_another_for_its_key_alone() {
    let house = house();
    let (token, mine) = (house.token(MachineKind::Node).await, key());
    let joined = house.join(&token, "nas", &mine).await.unwrap();
    house.later(SignedDuration::from_hours(24 * 40));
    let again = house.authority.rejoin("test", joined.machine, &request(&mine).unwrap()).await.unwrap();
    assert!(again.not_after > house.clock.now());
    let other = request(&key()).unwrap();
    assert!(house.authority.rejoin("test", joined.machine, &other).await.is_err());
    house.authority.refresh().await.unwrap();
    let live = house.authority.live().borrow().clone().unwrap();
    let peer = presented(&live.house, &again).peer;
    let error = house.authority.renew("test", &peer, &other).await.unwrap_err();
    assert_eq!(error.problem().code, Code::NotAllowed);
}

#[tokio::test]
async fn nothing_that_is_stored_or_said_holds_a_token_or_a_private_key() {
    let house = house();
    let (token, mine) = (house.token(MachineKind::Node).await, key());
    let secret = token.expose().split('_').nth(2).unwrap().to_owned();
    let request = wanted(&token, "nas", &mine);
    let joined = house.authority.join("test", &request).await.unwrap();
    let view = house.view().await;
    let stored = format!(
        "{:?} {:?} {:?} {:?} {joined:?} {request:?}",
        view.events(0, 10_000, None).unwrap(),
        view.all::<JoinTokenSpec>(None).unwrap(),
        view.all::<IdentitySpec>(None).unwrap(),
        find(&*view).unwrap(),
    );
    assert!(!stored.contains(&secret) && !stored.contains("PRIVATE KEY"));
    // Sealed keys open with the house's key, for their own certificate alone.
    let spec = find(&*view).unwrap().unwrap().spec;
    let mut moved = spec.roots[0].clone();
    moved.sealed = spec.intermediates[0].sealed.clone();
    assert!(house.authority.signer(&spec.house, &moved).is_err());
    assert!(house.authority.signer(&spec.house, &spec.roots[0]).is_ok());
}

#[tokio::test]
async fn garbage_is_no_certificate_request() {
    let house = house();
    let token = house.token(MachineKind::Node).await;
    let good = request(&key()).unwrap();
    let mut flipped = good.clone().into_bytes();
    let middle = flipped.len() / 2;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let ed25519 = request(&KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()).unwrap();
    for csr in [
        String::new(),
        "hunter2".into(),
        good[..100].into(),
        "A".repeat(20 << 10),
        String::from_utf8(flipped).unwrap(),
        ed25519,
    ] {
        let mut wanted = wanted(&token, "nas", &key());
        wanted.csr = csr;
        let error = house.authority.join("test", &wanted).await.unwrap_err();
        assert_eq!(error.problem().code, Code::Invalid, "{error}");
    }
    assert_eq!(house.nodes().await, 0);
}

#[tokio::test]
async fn one_token_makes_one_node_whoever_is_fastest() {
    let house = Arc::new(house());
    let token = house.token(MachineKind::Node).await;
    let tries = (0..20).map(|at| {
        let (house, token) = (house.clone(), token.clone());
        tokio::spawn(async move { house.join(&token, &format!("n{at}"), &key()).await.is_ok() })
    });
    let mut won = 0;
    for one in tries.collect::<Vec<_>>() {
        won += u32::from(one.await.unwrap());
    }
    assert_eq!((won, house.nodes().await), (1, 1));
}

/// Each kind of token against each kind of machine: the same kind joins, is certified as what it is, let in,
/// renewed and refused once revoked; any other is refused, and audited.
#[tokio::test]
async fn a_token_lets_in_the_kind_of_machine_that_it_is_for_and_no_other() {
    let house = house();
    let mut audited = 0;
    for of_token in MachineKind::ALL {
        let token = house.token(*of_token).await;
        for machine in MachineKind::ALL.iter().filter(|machine| *machine != of_token) {
            let refused = house.authority.join("test", &wanted_as(*machine, &token, "x", &key())).await;
            let expected = Refusal::Kind { token: *of_token, wanted: *machine };
            let is_it = matches!(&refused, Err(AuthorityError::Refused(refusal)) if *refusal == expected);
            assert!(is_it, "{of_token} for {machine}: {refused:?}");
            audited += 1;
            assert_eq!(house.events("jointoken.refused").await.len(), audited);
        }
        let mine = key();
        let request_of_it = wanted_as(*of_token, &token, "one", &mine);
        let joined = house.authority.join("test", &request_of_it).await.unwrap();
        let again = house.authority.join("test", &request_of_it).await.unwrap();
        assert_eq!((MachineKind::of(joined.machine), again.machine), (Some(*of_token), joined.machine));
        assert_eq!(house.view().await.get(joined.machine).unwrap().unwrap().name, "one");
        assert_eq!(house.events(&format!("{of_token}.joined")).await.len(), 1);
        // The name is taken among its kind alone: each of them is called `one`.
        let taken = house.token(*of_token).await;
        let taken = house.authority.join("test", &wanted_as(*of_token, &taken, "one", &key())).await;
        assert!(matches!(taken, Err(AuthorityError::Refused(Refusal::NameTaken(..)))), "{taken:?}");
        audited += 1;

        house.authority.refresh().await.unwrap();
        let live = house.authority.live().borrow().clone().unwrap();
        let peer = presented(&live.house, &joined.certificate).peer;
        assert_eq!((peer.machine, peer.node().is_some()), (joined.machine, *of_token == MachineKind::Node));
        assert!(live.admits(&peer));
        let csr = request(&mine).unwrap();
        let renewed = house.authority.renew("test", &peer, &csr).await.unwrap();
        assert_eq!(presented(&live.house, &renewed).peer, peer);
        house.authority.rejoin("test", joined.machine, &csr).await.unwrap();

        let gone = match of_token {
            MachineKind::Node => house.authority.revoke(&me(), "test", joined.machine).await,
            _ => house.authority.remove(&me(), "test", joined.machine).await,
        };
        assert_eq!(gone.unwrap(), 1);
        house.authority.refresh().await.unwrap();
        assert!(!house.authority.live().borrow().as_ref().unwrap().admits(&peer));
        let refused = house.authority.renew("test", &peer, &csr).await.unwrap_err();
        assert!(matches!(refused, AuthorityError::Refused(Refusal::Gone)), "{refused:?}");
    }
}
