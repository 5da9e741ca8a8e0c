//! The vault over a store in memory that can be told to fail.

use super::*;
use crate::{Recipient, armored};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_model::{
    AppSpec, Bytes, CommitError, Committed, Desired, Digest, EnvSpec, Event, ImageRef, Instance, InstanceId,
    InstanceSpec, Manifest, Millicores, Millis, NodeId, OrgSpec, PinnedSecret, ProjectSpec, ReleaseId,
    ReleaseSpec, Resource, SecretSpec, Seq, Spec, Template,
    id::{OrgId, ProjectId},
    manifest::Driver,
    secrets::{Hidden, SecretSet, SetSecret},
};
use freehold_reconcile::{Ids as _, MemoryStore, StoreError, SystemClock, SystemIds, ViewExt as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// A store whose disk is full after so many commits.
struct Failing {
    inner: MemoryStore,
    left: AtomicUsize,
}

#[async_trait::async_trait]
impl Store for Failing {
    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        let take = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Err(CommitError::Engine("disk full".into()));
        }
        self.inner.commit(txn).await
    }
    async fn view(&self) -> Result<Box<dyn View + Send>, StoreError> {
        self.inner.view().await
    }
    fn head(&self) -> watch::Receiver<Seq> {
        self.inner.head()
    }
    async fn cursor(&self, name: &str) -> Result<Seq, StoreError> {
        self.inner.cursor(name).await
    }
    async fn advance(&self, name: &str, seq: Seq) -> Result<(), StoreError> {
        self.inner.advance(name, seq).await
    }
    async fn leases(&self) -> Result<Vec<freehold_model::Lease>, StoreError> {
        self.inner.leases().await
    }
    async fn change_lease(&self, change: freehold_model::LeaseChange) -> Result<(), StoreError> {
        self.inner.change_lease(change).await
    }
    async fn forget_answers(&self, before: jiff::Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.inner.forget_answers(before, limit).await
    }
}

struct House {
    folder: tempfile::TempDir,
    store: Arc<Failing>,
    vault: Vault,
}

fn who() -> Actor {
    Actor::User("admin".into())
}

fn resource<S: Spec>(name: &str, parent: Option<freehold_model::AnyId>, spec: S) -> Resource<S> {
    Resource::new(S::Id::from(SystemIds.ulid()), name, parent, spec, SystemClock.now())
}

impl House {
    async fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let inner = MemoryStore::new(Arc::new(SystemClock));
        let store = Arc::new(Failing { inner, left: AtomicUsize::new(usize::MAX) });
        let org = OrgId(SystemIds.ulid());
        let mut txn = Txn::new(Actor::System, "first", "first");
        txn.put(&Resource::new(org, "home", None, OrgSpec::default(), SystemClock.now()));
        let project = ProjectId(SystemIds.ulid());
        txn.put(&Resource::new(
            project,
            "default",
            Some(org.into()),
            ProjectSpec::default(),
            SystemClock.now(),
        ));
        store.commit(txn).await.unwrap();
        let vault = vault(&folder, &store);
        House { folder, store, vault }
    }

    /// As after a restart.
    fn restart(&mut self) {
        self.vault = vault(&self.folder, &self.store);
    }

    async fn put<S: Spec>(&self, resource: &Resource<S>) {
        let mut txn = Txn::new(Actor::System, "test", "test");
        txn.put(resource);
        self.store.commit(txn).await.unwrap();
    }

    async fn set(&self, name: &str, value: &str) -> Result<SecretSet, VaultError> {
        self.vault.set(&who(), "req", &request(name, value)).await
    }

    async fn env(&self) -> EnvId {
        self.store.view().await.unwrap().all::<EnvSpec>(None).unwrap()[0].id
    }

    /// What an instance with these versions is given.
    async fn opened(&self, pins: &[(&str, u32)]) -> Result<Vec<String>, VaultError> {
        let instance = instance(self.env().await, pins);
        let key = Key::generate();
        let delivered = self.vault.deliver(&instance, &key.recipient()).await?;
        let open = |it: &crate::Delivered| it.open(std::slice::from_ref(&key), instance.id).unwrap();
        let text = |it| String::from_utf8(open(it).expose().to_vec()).unwrap();
        Ok(delivered.iter().map(text).collect())
    }

    /// A release, v7, that has this version.
    async fn release(&self, name: &str, version: u32) {
        let manifest = Manifest::parse(
            "f",
            "schema = 1\napp = \"shop\"\n[process.web]\nimage = \"a\"\n",
            &"prod".parse().unwrap(),
        )
        .unwrap();
        let templates = [("web".parse().unwrap(), template(&[(name, version)]))].into();
        let spec = ReleaseSpec { number: 7, manifest_hash: manifest.hash(), manifest, templates };
        self.put(&resource("v7", Some(self.env().await.into()), spec)).await;
    }

    async fn events(&self) -> Vec<Event> {
        self.store.view().await.unwrap().events(0, 1000, None).unwrap()
    }
}

fn vault(folder: &tempfile::TempDir, store: &Arc<Failing>) -> Vault {
    Vault::open(&folder.path().join("keys/secrets.key"), store.clone(), Arc::new(SystemClock)).unwrap()
}

fn request(name: &str, value: &str) -> SetSecret {
    SetSecret {
        project: None,
        app: "shop".parse().unwrap(),
        env: None,
        name: name.parse().unwrap(),
        value: Some(Hidden::new(STANDARD.encode(value))),
        sealed: None,
        must_exist: false,
    }
}

fn template(pins: &[(&str, u32)]) -> Template {
    let pin = |(name, version): &(&str, u32)| PinnedSecret {
        name: name.parse().unwrap(),
        version: *version,
        env: Some((*name).into()),
        file: None,
    };
    let whole = serde_json::json!({
        "image": ImageRef { reference: "a:1".into(), digest: Digest::of(b"a") },
        "driver": Driver::Container, "cpu": Millicores(1), "memory": Bytes(1), "stop_timeout": Millis(1),
        "secrets": pins.iter().map(pin).collect::<Vec<_>>(),
    });
    serde_json::from_value(whole).unwrap()
}

fn instance(env: EnvId, pins: &[(&str, u32)]) -> Instance {
    let template = template(pins);
    let spec = InstanceSpec {
        node: NodeId(SystemIds.ulid()),
        process: "web".parse().unwrap(),
        release: ReleaseId(SystemIds.ulid()),
        template_hash: template.hash(),
        template,
        volumes: Default::default(),
        address: [10, 0, 0, 1].into(),
        desired: Desired::Running,
        serving: true,
        after: vec![],
        placed: Default::default(),
    };
    Instance::new(InstanceId(SystemIds.ulid()), "web-1", Some(env.into()), spec, SystemClock.now())
}

#[tokio::test]
async fn the_first_value_makes_app_and_env_and_each_later_one_a_version() {
    let house = House::new().await;
    let first = house.set("KEY", "one").await.unwrap();
    assert!(first.made_env && first.changed && first.version == 1);
    let view = house.store.view().await.unwrap();
    assert_eq!(view.all::<AppSpec>(None).unwrap()[0].name, "shop");
    let again = house.set("KEY", "one").await.unwrap();
    assert_eq!((again.version, again.changed, again.made_env), (1, false, false));
    let second = house.set("KEY", "two").await.unwrap();
    assert_eq!((second.version, second.secret.current), (2, Some(2)));
    assert_eq!(house.opened(&[("KEY", 1)]).await.unwrap(), ["one"]);
    assert_eq!(house.opened(&[("KEY", 2)]).await.unwrap(), ["two"]);
    let third = house.set("KEY", "one").await.unwrap().secret;
    assert_eq!(third.versions[0].fingerprint, third.versions[2].fingerprint, "equal values look equal");
    assert_ne!(third.versions[0].fingerprint, third.versions[1].fingerprint);
}

#[tokio::test]
async fn no_value_is_in_the_store_or_its_events() {
    let house = House::new().await;
    house.set("KEY", "hunter2-hunter2").await.unwrap();
    house.vault.rotate_key(&who(), "req").await.unwrap();
    let secrets = house.store.view().await.unwrap().all::<SecretSpec>(None).unwrap();
    let all = format!("{secrets:?} {:?}", house.events().await);
    assert!(all.contains("secret.set") && all.contains("key.rotated"), "{all}");
    for planted in ["hunter2-hunter2", &STANDARD.encode("hunter2-hunter2"), "AGE-SECRET-KEY"] {
        assert!(!all.contains(planted), "{planted}");
    }
}

#[tokio::test]
async fn a_value_moved_to_another_name_in_the_database_is_not_opened() {
    let house = House::new().await;
    house.set("MINE", "mine").await.unwrap();
    house.set("YOURS", "yours").await.unwrap();
    let view = house.store.view().await.unwrap();
    let all = view.all::<SecretSpec>(None).unwrap();
    let find = |name: &str| all.iter().find(|secret| secret.name == name).unwrap();
    let mut moved = find("YOURS").clone();
    moved.spec.versions[0].sealed = find("MINE").spec.versions[0].sealed.clone();
    house.put(&moved).await;
    let error = house.opened(&[("YOURS", 1)]).await.unwrap_err();
    assert!(matches!(error, VaultError::Stored { source: OpenError::OtherPurpose, .. }), "{error}");
}

#[tokio::test]
async fn what_cannot_be_a_value_is_refused_and_changes_nothing() {
    let house = House::new().await;
    let before = house.events().await.len();
    let vault = &house.vault;
    let refused = |wanted: SetSecret| async move { vault.set(&who(), "req", &wanted).await.unwrap_err() };
    let base = request("KEY", "x");
    assert!(matches!(refused(request("KEY", "")).await, VaultError::Empty));
    assert!(matches!(refused(request("KEY", &"x".repeat(65_537))).await, VaultError::TooLarge(65_537)));
    assert!(matches!(refused(SetSecret { value: None, ..base.clone() }).await, VaultError::NoValue));
    let both = SetSecret { sealed: Some("x".into()), ..base.clone() };
    assert!(matches!(refused(both).await, VaultError::NoValue));
    let clear = SetSecret { value: Some(Hidden::new("hunter2!".into())), ..base.clone() };
    assert!(matches!(refused(clear).await, VaultError::NotBase64));
    let absent = SetSecret { must_exist: true, ..base.clone() };
    assert!(matches!(refused(absent).await, VaultError::NoSecret { .. }));
    let elsewhere = SetSecret { project: Some("nowhere".parse().unwrap()), ..base };
    assert!(matches!(refused(elsewhere).await, VaultError::NoProject(_)));
    assert_eq!(house.events().await.len(), before);
}

#[tokio::test]
async fn text_sealed_for_git_is_set_where_it_was_sealed_for_and_nowhere_else() {
    let house = House::new().await;
    let recipient: Recipient = house.vault.key().recipient.parse().unwrap();
    let name = |text: &str| text.parse().unwrap();
    let context = Context::Git {
        project: name("default"),
        app: name("shop"),
        env: name("prod"),
        name: "KEY".parse().unwrap(),
    };
    let text = armored(&seal(&recipient, &context, &Plaintext::new(b"from git".to_vec())));
    let sealed = |name: &str| SetSecret { value: None, sealed: Some(text.clone()), ..request(name, "") };
    house.vault.set(&who(), "req", &sealed("KEY")).await.unwrap();
    assert_eq!(house.opened(&[("KEY", 1)]).await.unwrap(), ["from git"]);
    let refused = house.vault.set(&who(), "req", &sealed("OTHER")).await.unwrap_err();
    assert!(matches!(refused, VaultError::Sealed(OpenError::OtherPurpose)), "{refused}");
    house.vault.rotate_key(&who(), "req").await.unwrap();
    let refused = house.vault.set(&who(), "req", &sealed("KEY")).await.unwrap_err();
    assert!(matches!(refused, VaultError::Sealed(OpenError::NoKey)), "{refused}");
}

#[tokio::test]
async fn a_version_that_a_release_has_is_removed_by_force_alone() {
    let house = House::new().await;
    let id = house.set("KEY", "one").await.unwrap().secret.id;
    house.set("KEY", "two").await.unwrap();
    house.release("KEY", 1).await;

    let remove = |number, force| house.vault.remove(&Actor::System, "req", id, number, force);
    let error = remove(Some(1), false).await.unwrap_err();
    assert!(error.to_string().contains("v7 (version 1)") && error.problem().code.exit_code() == 5, "{error}");
    assert!(remove(None, false).await.is_err());
    assert!(matches!(remove(Some(9), false).await.unwrap_err(), VaultError::NoVersion { number: 9, .. }));
    let removed = remove(Some(2), false).await.unwrap();
    assert_eq!((removed.removed, removed.secret.current), (vec![2], Some(1)));
    let removed = remove(None, true).await.unwrap();
    assert_eq!((removed.removed, removed.secret.current), (vec![1], None));
    assert!(matches!(house.opened(&[("KEY", 1)]).await, Err(VaultError::NoVersion { number: 1, .. })));
    // Its numbers are never given again.
    assert_eq!(house.set("KEY", "one").await.unwrap().version, 3);
}

/// Each change writes the whole secret: what nothing uses goes, what a release or an instance has stays.
#[tokio::test]
async fn a_secret_that_is_set_again_and_again_keeps_what_is_used_and_a_few_more() {
    let house = House::new().await;
    for n in 1..=3 {
        house.set("KEY", &format!("value {n}")).await.unwrap();
    }
    house.release("KEY", 2).await;
    for n in 4..=40 {
        house.set("KEY", &format!("value {n}")).await.unwrap();
    }
    let view = house.store.view().await.unwrap();
    let spec = view.all::<SecretSpec>(None).unwrap().remove(0).spec;
    let numbers: Vec<u32> = spec.versions.iter().map(|version| version.number).collect();
    assert_eq!(numbers, [2, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40]);
    assert_eq!((spec.current, spec.last), (Some(40), 40));
    assert_eq!(house.opened(&[("KEY", 2), ("KEY", 40)]).await.unwrap(), ["value 2", "value 40"]);
    let forgotten = house.events().await.iter().filter(|event| event.data.get("forgotten").is_some()).count();
    assert_eq!(forgotten, 29);
}

#[tokio::test]
async fn a_running_instance_holds_its_versions() {
    let house = House::new().await;
    let id = house.set("KEY", "one").await.unwrap().secret.id;
    house.put(&instance(house.env().await, &[("KEY", 1)])).await;
    let error = house.vault.remove(&who(), "req", id, None, false).await.unwrap_err();
    assert!(error.to_string().contains("what runs"), "{error}");
}

#[tokio::test]
async fn a_rotation_that_breaks_off_anywhere_loses_nothing_and_goes_on() {
    // Four secrets of two versions: six commits with the claim of the key and the event at the end.
    for good in 0..=6 {
        let mut house = House::new().await;
        for name in ["A", "B", "C", "D"] {
            house.set(name, "one").await.unwrap();
            house.set(name, "two").await.unwrap();
        }
        let before = house.vault.key();
        house.store.left.store(good, Ordering::Relaxed);
        let rotated = house.vault.rotate_key(&who(), "req").await;
        assert_eq!(rotated.is_ok(), good == 6, "{rotated:?}");
        house.restart();
        let all = [("A", 1), ("B", 2), ("C", 1), ("D", 2)];
        assert_eq!(house.opened(&all).await.unwrap(), ["one", "two", "one", "two"], "after {good} commits");
        house.store.left.store(usize::MAX, Ordering::Relaxed);
        house.vault.resume_rotation().await.unwrap();
        let after = house.vault.key();
        assert!(after.older == 0 && after.recipient != before.recipient);
        house.restart();
        assert_eq!(house.opened(&all).await.unwrap(), ["one", "two", "one", "two"]);
        let secrets = house.store.view().await.unwrap().all::<SecretSpec>(None).unwrap();
        assert!(secrets.iter().flat_map(|it| &it.spec.versions).all(|it| it.key == after.recipient));
        assert_eq!(house.set("A", "two").await.unwrap().version, 2, "the same value is still the same");
    }
}

#[tokio::test]
async fn a_lost_key_is_an_error_that_says_so_and_a_new_value_mends_it() {
    let mut house = House::new().await;
    house.set("KEY", "one").await.unwrap();
    std::fs::remove_file(house.folder.path().join("keys/secrets.key")).unwrap();
    house.restart();
    let error = house.opened(&[("KEY", 1)]).await.unwrap_err();
    assert!(error.to_string().contains("a key that is not here"), "{error}");
    assert!(error.problem().hint.unwrap().contains("backup"));
    // A rotation does not throw away what it cannot open: the file may come back.
    assert!(house.vault.rotate_key(&who(), "req").await.is_err());
    assert_eq!(house.set("KEY", "one").await.unwrap().version, 2);
    assert_eq!(house.opened(&[("KEY", 2)]).await.unwrap(), ["one"]);
}

#[tokio::test]
async fn a_key_that_is_not_the_houses_is_refused_and_the_houses_follows_a_rotation() {
    let house = House::new().await;
    house.vault.join_house().await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = vault(&elsewhere, &house.store);
    let error = stranger.join_house().await.unwrap_err();
    assert!(error.to_string().contains("copy keys/secrets.key"), "{error}");
    house.vault.rotate_key(&who(), "req").await.unwrap();
    house.vault.join_house().await.unwrap();
    let view = house.store.view().await.unwrap();
    assert_eq!(Vault::house_key(&*view).unwrap(), Some(house.vault.key().recipient));
    let copy = |from: &tempfile::TempDir, to: &tempfile::TempDir| {
        std::fs::copy(from.path().join("keys/secrets.key"), to.path().join("keys/secrets.key")).unwrap()
    };
    copy(&house.folder, &elsewhere);
    vault(&elsewhere, &house.store).join_house().await.unwrap();
}
