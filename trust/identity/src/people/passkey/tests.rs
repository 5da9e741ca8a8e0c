//! Passkeys with an authenticator of software: added, signed in with, and everything that a bad answer can be.

use super::authenticator::{Authenticator, encode};
use super::*;
use crate::{Identity, Opened, Origin, Principal, authenticate, find_user, testing::House, unlock_user};
use freehold_model::{Resource, SessionSpec, UserId, UserSpec, people::PasskeySummary};
use freehold_reconcile::{Ids as _, SystemIds, ViewExt as _};
use freehold_secrets::Voucher;
use proptest::prelude::*;
use serde_json::{Value, json};

const ORIGIN: &str = "https://home.example";
const BROWSER: &str = "the cookie of this browser";

struct Scene {
    house: House,
    party: RelyingParty,
    voucher: Voucher,
    ada: UserId,
    now: Timestamp,
}

impl Scene {
    fn new() -> Scene {
        let house = House::new();
        let party = RelyingParty::new(Some(&ORIGIN.parse().unwrap())).unwrap();
        let ada = person(&house, "ada");
        let now = house.now;
        Scene { house, party, voucher: Voucher::alone(), ada, now }
    }

    fn user(&self, id: UserId) -> User {
        self.house.view().find::<UserSpec>(id).unwrap().unwrap()
    }

    fn ask_to_add(&self, id: UserId) -> Asked {
        ask_to_add_passkey(&self.party, &self.voucher, &self.user(id), BROWSER, self.now).unwrap()
    }

    fn add(
        &self,
        id: UserId,
        asked: &Asked,
        answer: &Value,
        name: &str,
    ) -> Result<PasskeySummary, PeopleError> {
        let user = self.user(id);
        let who = Principal { name: user.name.clone(), ..Principal::root() };
        let answer = answer.to_string();
        let reply = Reply { ticket: &asked.ticket, browser: BROWSER, credential: &answer };
        let (txn, told) = add_passkey(
            &*self.house.view(),
            &self.party,
            &self.voucher,
            &who,
            id,
            reply,
            name,
            "req_test",
            self.now,
        )?;
        self.house.store.commit_now(txn).unwrap();
        Ok(told)
    }

    /// A device with a passkey of that person.
    fn device(&self, id: UserId, name: &str) -> Authenticator {
        let mut device = Authenticator::new(ORIGIN, "home.example");
        let asked = self.ask_to_add(id);
        let answer = device.create(&asked.options);
        self.add(id, &asked, &answer, name).unwrap();
        device
    }

    fn ask(&self) -> Asked {
        ask_for_passkey(&self.party, &self.voucher, BROWSER, self.now).unwrap()
    }

    fn try_from(&self, browser: &str, ticket: &str, answer: &str) -> Result<PasskeyVerdict, PeopleError> {
        let reply = Reply { ticket, browser, credential: answer };
        let (txn, verdict) = sign_in_with_passkey(
            &*self.house.view(),
            &self.party,
            &self.voucher,
            reply,
            &Origin::default(),
            self.now,
        )?;
        if !txn.is_empty() {
            self.house.store.commit_now(txn).unwrap();
        }
        Ok(verdict)
    }

    fn answer(&self, asked: &Asked, answer: &Value) -> Result<Opened, String> {
        match self.try_from(BROWSER, &asked.ticket, &answer.to_string()) {
            Ok(PasskeyVerdict::In(opened)) => Ok(*opened),
            Ok(PasskeyVerdict::Out(problem)) => Err(problem.title),
            Err(error) => Err(error.to_string()),
        }
    }

    fn sign_in(&self, device: &mut Authenticator) -> Result<Opened, String> {
        let asked = self.ask();
        let answer = device.get(&asked.options);
        self.answer(&asked, &answer)
    }

    fn events(&self) -> Vec<String> {
        let events = self.house.view().events(0, 10_000, None).unwrap();
        events.into_iter().map(|it| it.what).collect()
    }

    fn count(&self, what: &str) -> usize {
        self.events().iter().filter(|it| *it == what).count()
    }
}

fn person(house: &House, name: &str) -> UserId {
    let spec = UserSpec { password: Some("x".into()), ..UserSpec::default() };
    let user: User = Resource::new(UserId(SystemIds.ulid()), name, None, spec, house.now);
    house.commit(|txn| {
        txn.put(&user);
    });
    user.id
}

const WRONG: &str = "This passkey lets nobody in here, or the account is locked for a while.";

#[test]
fn a_passkey_is_added_signed_in_with_and_removed_and_each_is_in_the_log() {
    let scene = Scene::new();
    let asked = scene.ask_to_add(scene.ada);
    let selection = &asked.options["publicKey"]["authenticatorSelection"];
    assert_eq!(
        (&selection["userVerification"], &selection["residentKey"]),
        (&json!("required"), &json!("required"))
    );
    assert_eq!(asked.options["publicKey"]["rp"]["id"], "home.example");
    let mut device = Authenticator::new(ORIGIN, "home.example");
    let answer = device.create(&asked.options);
    let told = scene.add(scene.ada, &asked, &answer, "  Ada's phone\n").unwrap();
    assert_eq!((told.name.as_str(), told.last_used), ("Ada's phone", None));
    let asked = scene.ask();
    assert!(
        asked.options["publicKey"]["allowCredentials"].as_array().is_none_or(Vec::is_empty),
        "nobody is named"
    );
    let answer = device.get(&asked.options);
    let opened = scene.answer(&asked, &answer).unwrap();
    let hash = TokenHash::of(opened.secret.expose());
    let who = authenticate(&*scene.house.view(), &hash, scene.now).unwrap().unwrap();
    assert!(who.name == "ada" && matches!(who.identity, Identity::User { .. }) && !opened.half);
    assert_eq!(passkey_summaries(&*scene.house.view(), scene.ada).unwrap()[0].last_used, Some(scene.now));
    let said = scene
        .house
        .view()
        .events(0, 10_000, None)
        .unwrap()
        .into_iter()
        .find(|it| it.what == "session.opened")
        .unwrap();
    assert_eq!(said.data["by"], "passkey");
    let root = Principal::root();
    let (txn, _) = remove_own_passkey(&*scene.house.view(), &root, scene.ada, &told.id, "req_test").unwrap();
    scene.house.store.commit_now(txn).unwrap();
    assert_eq!(scene.sign_in(&mut device).unwrap_err(), WRONG, "a removed passkey lets in");
    for what in ["user.passkey_added", "user.passkey_removed"] {
        assert_eq!(scene.count(what), 1, "{:?}", scene.events());
    }
    assert!(remove_own_passkey(&*scene.house.view(), &root, scene.ada, &told.id, "req_test").is_err());
    // It can be added anew.
    let asked = scene.ask_to_add(scene.ada);
    let answer = device.create(&asked.options);
    assert!(scene.add(scene.ada, &asked, &answer, "").is_ok_and(|it| it.name == "Passkey"));
}

#[test]
fn a_challenge_is_answered_once_in_time_and_by_the_browser_that_was_asked() {
    let mut scene = Scene::new();
    let mut device = scene.device(scene.ada, "phone");
    let asked = scene.ask();
    let answer = device.get(&asked.options);
    let text = answer.to_string();
    assert!(scene.try_from("another", &asked.ticket, &text).is_err(), "another browser answers");
    let other = scene.ask();
    assert_eq!(scene.answer(&other, &answer).unwrap_err(), WRONG, "the answer is to another challenge");
    assert!(scene.answer(&asked, &answer).is_ok());
    assert!(scene.answer(&asked, &answer).unwrap_err().contains("done already"), "it is replayed");
    let again = device.get(&asked.options);
    assert!(
        scene.answer(&asked, &again).unwrap_err().contains("done already"),
        "one challenge is answered twice"
    );
    let late = scene.ask();
    scene.now += WAIT;
    let answer = device.get(&late.options);
    assert!(scene.answer(&late, &answer).unwrap_err().contains("too long"), "it is answered too late");
    // What was answered is forgotten once nothing could answer it, at the next sign-in.
    scene.sign_in(&mut device).unwrap();
    assert_eq!(scene.user(scene.ada).spec.answered.len(), 1);
    assert_eq!(scene.house.view().claims(ANSWERED).unwrap().len(), 1);
    // A ticket to add lets nobody in, and the other way round.
    let (add, sign_in) = (scene.ask_to_add(scene.ada), scene.ask());
    let answer = device.get(&add.options);
    assert!(scene.answer(&add, &answer).unwrap_err().contains("too long"));
    let mut new = Authenticator::new(ORIGIN, "home.example");
    let answer = new.create(&add.options);
    assert!(scene.add(scene.ada, &sign_in, &answer, "").is_err());
    assert!(scene.add(scene.ada, &add, &answer, "").is_ok());
    assert!(scene.add(scene.ada, &add, &answer, "").is_err(), "it is added twice");
}

#[test]
fn two_who_answer_one_challenge_at_once_are_one() {
    let scene = Scene::new();
    let mut device = scene.device(scene.ada, "phone");
    let asked = scene.ask();
    let answer = device.get(&asked.options).to_string();
    let reply = Reply { ticket: &asked.ticket, browser: BROWSER, credential: &answer };
    let decide = || {
        let view = scene.house.view();
        sign_in_with_passkey(&*view, &scene.party, &scene.voucher, reply, &Origin::default(), scene.now)
            .unwrap()
    };
    let ((first, _), (second, _)) = (decide(), decide());
    scene.house.store.commit_now(first).unwrap();
    assert!(scene.house.store.commit_now(second).unwrap_err().is_conflict());
}

#[test]
fn whatever_is_wrong_is_answered_in_the_same_words() {
    type Spoil = fn(&mut Authenticator);
    let cases: [(&str, Spoil); 4] = [
        ("origin", |it| it.origin = "https://evil.example".into()),
        ("another port", |it| it.origin = "https://home.example:8443".into()),
        ("rp id", |it| it.rp = "evil.example".into()),
        ("no verification", |it| it.verifies = false),
    ];
    for (what, spoil) in cases {
        let scene = Scene::new();
        let mut device = scene.device(scene.ada, "phone");
        spoil(&mut device);
        assert_eq!(scene.sign_in(&mut device).unwrap_err(), WRONG, "{what}");
        assert_eq!(scene.count("user.passkey_refused"), 1, "{what}");
        let mut new = Authenticator::new(ORIGIN, "home.example");
        spoil(&mut new);
        let asked = scene.ask_to_add(scene.ada);
        let answer = new.create(&asked.options);
        assert!(scene.add(scene.ada, &asked, &answer, "").is_err(), "added: {what}");
    }
    let scene = Scene::new();
    let mut device = scene.device(scene.ada, "phone");
    let bob = person(&scene.house, "bob");
    let mut bobs = scene.device(bob, "phone");
    let fields = ["clientDataJSON", "authenticatorData", "signature", "userHandle"];
    for field in fields {
        let asked = scene.ask();
        let (mut answer, other) = (device.get(&asked.options), bobs.get(&asked.options));
        answer["response"][field] = other["response"][field].clone();
        let outcome = scene.answer(&asked, &answer);
        // Both wrote the same client data.
        assert_eq!(outcome.is_ok(), field == "clientDataJSON" || field == "authenticatorData", "{field}");
    }
    let asked = scene.ask();
    let mut answer = device.get(&asked.options);
    (answer["rawId"], answer["id"]) = (json!(encode(&bobs.id)), json!(encode(&bobs.id)));
    assert_eq!(scene.answer(&asked, &answer).unwrap_err(), WRONG, "somebody else's credential");
    let mut answer = device.get(&asked.options);
    answer["response"]["userHandle"] = json!(null);
    assert_eq!(scene.answer(&asked, &answer).unwrap_err(), WRONG, "it does not say whose it is");
    let mut stranger = Authenticator::new(ORIGIN, "home.example");
    assert_eq!(scene.sign_in(&mut stranger).unwrap_err(), WRONG, "an unknown one");
    assert_eq!(scene.answer(&scene.ask(), &json!({ "id": 7 })).unwrap_err(), WRONG);
    // What is known already belongs to its person.
    let asked = scene.ask_to_add(bob);
    let answer = device.create(&asked.options);
    assert!(scene.add(bob, &asked, &answer, "mine").is_err(), "two people have one passkey");
}

#[test]
fn who_has_a_second_factor_is_not_asked_for_it_after_a_passkey() {
    let scene = Scene::new();
    let mut device = scene.device(scene.ada, "phone");
    let mut user = scene.user(scene.ada);
    user.spec.second_factor = Some(freehold_model::SecondFactor {
        sealed: String::new(),
        key: String::new(),
        since: Some(scene.now),
        last_step: 0,
        recovery: vec![],
    });
    scene.house.commit(|txn| {
        txn.put_spec(&user);
    });
    let opened = scene.sign_in(&mut device).unwrap();
    assert!(!opened.half);
    let hash = TokenHash::of(opened.secret.expose());
    assert!(authenticate(&*scene.house.view(), &hash, scene.now).unwrap().is_some());
}

#[test]
fn a_counter_that_goes_back_lets_nobody_in_and_is_in_the_log() {
    let scene = Scene::new();
    let mut device = Authenticator::new(ORIGIN, "home.example");
    device.counter = 7;
    let asked = scene.ask_to_add(scene.ada);
    let answer = device.create(&asked.options);
    scene.add(scene.ada, &asked, &answer, "key").unwrap();
    assert!(scene.sign_in(&mut device).is_ok() && scene.sign_in(&mut device).is_ok());
    device.counter = 9;
    assert_eq!(scene.sign_in(&mut device).unwrap_err(), WRONG, "the same counter twice");
    assert_eq!(scene.count("user.passkey_counter_back"), 1);
    device.counter = 11;
    assert!(scene.sign_in(&mut device).is_ok());
}

#[test]
fn wrong_answers_lock_the_account_to_passkeys_too_and_write_little() {
    let scene = Scene::new();
    let mut device = scene.device(scene.ada, "phone");
    device.verifies = false;
    for _ in 0..8 {
        assert_eq!(scene.sign_in(&mut device).unwrap_err(), WRONG);
    }
    assert_eq!((scene.count("user.passkey_refused"), scene.count("user.locked")), (5, 1));
    device.verifies = true;
    assert_eq!(scene.sign_in(&mut device).unwrap_err(), WRONG, "a locked account opens");
    let (txn, _) = unlock_user(&*scene.house.view(), &scene.house.root(), scene.ada).unwrap();
    scene.house.store.commit_now(txn).unwrap();
    device.verifies = false;
    assert_eq!(scene.sign_in(&mut device).unwrap_err(), WRONG);
    device.verifies = true;
    assert!(scene.sign_in(&mut device).is_ok());
    let (user, _) = find_user(&*scene.house.view(), "ada", scene.now).unwrap().unwrap();
    assert_eq!(user.status, Default::default(), "failures are not forgiven");
}

#[test]
fn somebody_has_twenty_at_most_each_with_a_name_and_an_admin_takes_one_away_with_the_sessions() {
    let scene = Scene::new();
    let mut first = scene.device(scene.ada, "key");
    for _ in 1..MOST {
        scene.device(scene.ada, "key");
    }
    let all = passkey_summaries(&*scene.house.view(), scene.ada).unwrap();
    let names: std::collections::BTreeSet<_> = all.iter().map(|it| it.name.as_str()).collect();
    assert!(names.len() == MOST && names.contains("key 20"), "{names:?}");
    let more = ask_to_add_passkey(&scene.party, &scene.voucher, &scene.user(scene.ada), BROWSER, scene.now);
    assert!(more.is_err());
    scene.sign_in(&mut first).unwrap();
    let root = scene.house.root();
    assert!(remove_passkey(&*scene.house.view(), &root, scene.ada, "0000000000000000").is_err());
    let (txn, _) = remove_passkey(&*scene.house.view(), &root, scene.ada, &all[0].id).unwrap();
    scene.house.store.commit_now(txn).unwrap();
    assert!(scene.house.view().all::<SessionSpec>(None).unwrap().is_empty());
    assert_eq!(scene.sign_in(&mut first).unwrap_err(), WRONG);
    // Whoever is removed leaves nothing behind that another could trip over.
    let (txn, ()) = crate::delete_user(&*scene.house.view(), &root, scene.ada).unwrap();
    scene.house.store.commit_now(txn).unwrap();
    for scope in [PASSKEY, ANSWERED] {
        assert!(scene.house.view().claims(scope).unwrap().is_empty(), "{scope}");
    }
}

#[test]
fn a_passkey_that_was_kept_by_an_earlier_version_is_read() {
    // As 0.6.2 of the library wrote it; `UPDATE=1` writes one of today.
    if std::env::var_os("UPDATE").is_some() {
        let scene = Scene::new();
        scene.device(scene.ada, "phone");
        let text = serde_json::to_string_pretty(&scene.user(scene.ada).spec.passkeys[0]).unwrap() + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/people/passkey/kept.json");
        return std::fs::write(path, text).unwrap();
    }
    let kept = include_str!("kept.json");
    let passkey: freehold_model::Passkey = serde_json::from_str(kept).unwrap();
    let read = sign_in::stored(&passkey).unwrap();
    assert_eq!(hash_of(read.cred_id()), passkey.hash);
    assert_eq!(json!(read), passkey.credential, "it is written otherwise than it was");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nothing_that_strangers_send_lets_them_in_or_ends_the_process(
        text in "\\PC{0,120}", at: prop::sample::Index, change in 1u8..=255, field in 0usize..4, cut: bool,
    ) {
        thread_local!(static SCENE: Scene = Scene::new());
        SCENE.with(|scene| {
            let asked = scene.ask();
            prop_assert!(scene.try_from(BROWSER, &text, &text).is_err());
            prop_assert!(matches!(scene.try_from(BROWSER, &asked.ticket, &text), Ok(PasskeyVerdict::Out(_))));
            // A new passkey of which a byte is another, or the end is missing: CBOR and JSON are read by the library.
            let asked = scene.ask_to_add(scene.ada);
            let mut answer = Authenticator::new(ORIGIN, "home.example").create(&asked.options);
            let name = ["clientDataJSON", "attestationObject"][field % 2];
            use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
            let mut bytes = URL_SAFE_NO_PAD.decode(answer["response"][name].as_str().unwrap()).unwrap();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= change }
            answer["response"][name] = json!(encode(&bytes));
            let _ = scene.add(scene.ada, &asked, &answer, "x").map(|told| {
                let root = Principal::root();
                let view = scene.house.view();
                let (txn, _) = remove_own_passkey(&*view, &root, scene.ada, &told.id, "req_test").unwrap();
                scene.house.store.commit_now(txn).unwrap();
            });
            Ok(())
        })?;
    }
}
