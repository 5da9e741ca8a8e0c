//! Rotation, of the authority and of the key that seals it.

use super::*;
use crate::{
    join::tests::{House, house, key, me, presented},
    request,
};
use freehold_model::{
    MachineKind,
    join::{AuthoritySummary, Joined, Rotate, Rotation},
};
use jiff::SignedDuration;
use rcgen::KeyPair;

impl House {
    async fn rotate(&self, what: Rotation) -> AuthoritySummary {
        self.authority.rotate(&me(), "test", &Rotate { what, force: false }).await.unwrap()
    }

    async fn joined(&self, name: &str, key: &KeyPair) -> Joined {
        let token = self.token(MachineKind::Node).await;
        self.join(&token, name, key).await.unwrap()
    }

    /// The machine dials, and shows that certificate.
    async fn uses(&self, certificate: &MachineCertificate) {
        self.authority.refresh().await.unwrap();
        let live = self.authority.live().borrow().clone().unwrap();
        self.authority.seen(&presented(&live.house, certificate)).await.unwrap();
    }

    async fn renewed(&self, joined: &Joined, key: &KeyPair) -> MachineCertificate {
        self.authority.rejoin("test", joined.machine, &request(key).unwrap()).await.unwrap()
    }
}

fn roots(summary: &AuthoritySummary) -> Vec<u32> {
    summary.roots.iter().map(|root| root.number).collect()
}

/// The answer with the new certificate may have been lost: it counts only once it is used.
#[tokio::test]
async fn an_old_root_stays_until_each_machine_was_seen_under_the_new_one() {
    let house = house();
    let key = key();
    let joined = house.joined("nas", &key).await;
    house.uses(&joined.certificate).await;
    let rotated = house.rotate(Rotation::Root).await;
    assert_eq!(roots(&rotated), [3, 1]);
    assert!(!rotated.roots[1].signs, "the old root's key is forgotten");
    assert_eq!(rotated.roots[1].needed_by, ["nas"]);

    let next = house.renewed(&joined, &key).await;
    assert_eq!(roots(&house.rotate(Rotation::Nothing).await), [3, 1], "it was sent, not used");
    house.uses(&joined.certificate).await;
    assert_eq!(roots(&house.rotate(Rotation::Nothing).await), [3, 1], "the old one is used");
    house.uses(&next).await;
    let settled = house.rotate(Rotation::Nothing).await;
    assert_eq!((roots(&settled), settled.intermediates.len()), (vec![3], 1));
}

#[tokio::test]
async fn a_machine_that_stays_away_keeps_its_root_until_it_is_revoked() {
    let house = house();
    let away = house.joined("away", &key()).await;
    for count in [2, 3] {
        assert_eq!(house.rotate(Rotation::Root).await.roots.len(), count);
    }
    let wanted = Rotate { what: Rotation::Root, force: false };
    let error = house.authority.rotate(&me(), "test", &wanted).await.unwrap_err().problem();
    assert!(error.to_string().contains("ca status"), "{error}");
    house.authority.revoke(&me(), "test", away.machine).await.unwrap();
    assert_eq!(house.rotate(Rotation::Nothing).await.roots.len(), 1);
}

#[tokio::test]
async fn a_usable_token_keeps_the_root_that_it_names() {
    let house = house();
    let token = house.token(MachineKind::Node).await;
    assert_eq!(house.rotate(Rotation::Root).await.roots.len(), 2);
    house.later(SignedDuration::from_mins(61));
    assert_eq!(house.rotate(Rotation::Nothing).await.roots.len(), 1);
    assert!(house.join(&token, "late", &key()).await.is_err());
}

#[tokio::test]
async fn an_intermediate_is_replaced_at_two_thirds_of_its_life() {
    let house = house();
    house.authority.refresh().await.unwrap();
    let first = house.authority.live().borrow().clone().unwrap().issuing;
    house.later(SignedDuration::from_hours(24 * 200));
    house.authority.refresh().await.unwrap();
    assert_eq!(house.authority.live().borrow().clone().unwrap().issuing, first);
    house.later(SignedDuration::from_hours(24 * 50));
    house.authority.refresh().await.unwrap();
    house.authority.refresh().await.unwrap();
    assert_ne!(house.authority.live().borrow().clone().unwrap().issuing, first);
}

/// Another control plane, which has cached no key, opens what was sealed under the root key of secrets.
#[tokio::test]
async fn the_authority_outlives_the_key_that_seals_it() {
    let house = house();
    let key = key();
    let joined = house.joined("nas", &key).await;
    let rotated = house.vault.rotate_key(&me(), "test").await.unwrap();
    assert_eq!((rotated.resealed, rotated.key.older), (2, 0));
    let other = Authority::new(house.store.clone(), house.clock.clone(), house.vault.clone());
    other.rejoin("test", joined.machine, &request(&key).unwrap()).await.unwrap();
    let spec = find(&*house.view().await).unwrap().unwrap().spec;
    assert!(other.signer(&spec.house, &spec.roots[0]).is_ok());
}

#[tokio::test]
async fn force_drops_every_root_but_the_newest_whoever_depends_on_it() {
    let house = house();
    let joined = house.joined("away", &key()).await;
    house.rotate(Rotation::Root).await;
    let forced = Rotate { what: Rotation::Nothing, force: true };
    let left = house.authority.rotate(&me(), "test", &forced).await.unwrap();
    assert_eq!((roots(&left), left.intermediates.len()), (vec![3], 1));
    // Its key still counts: it gets a certificate under the new root, should it come to trust that.
    let again = house.authority.rejoin("test", joined.machine, &request(&key()).unwrap()).await;
    assert!(again.is_err(), "for its own key alone");
}
