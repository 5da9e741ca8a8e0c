//! A second factor: set up, asked for by page and API, each code good once, and the way back.

use crate::browser::{Browser, PASSWORD, Page, user};
use crate::world::World;
use axum::{body::Body, http::StatusCode};
use freehold_model::{SessionSpec, UserId, UserSpec};
use freehold_reconcile::{Store as _, ViewExt as _};
use serde_json::json;

/// The codes that an authenticator shows now and in the next step: in their order, both are good for 30 s.
fn codes(secret: &str) -> (String, String) {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    (totp.generate(now).to_string(), totp.generate(now + 30).to_string())
}

fn secret_of(page: &Page) -> String {
    let rest = page.text.split_once("secret=").unwrap_or_else(|| panic!("{}", page.text)).1;
    rest.split('&').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_second_factor_is_set_up_asked_for_once_each_and_reset() {
    let world = World::new();
    world.tree();
    let id = user(&world, "ada").await;
    let mut ada = Browser::new(&world);
    ada.sign_in("ada", PASSWORD, "").await;
    let change = async |ada: &mut Browser<'_>, step: &str, name: &str, value: &str| {
        let csrf = ada.get("/account").await.field("csrf");
        ada.post("/account/second-factor", &[("csrf", &csrf), ("step", step), (name, value)]).await
    };
    let wrong = change(&mut ada, "begin", "password", "wrong wrong wrong").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let begun = change(&mut ada, "begin", "password", PASSWORD).await;
    assert!(begun.status == StatusCode::OK && begun.text.contains("<svg"), "{}", begun.text);
    let secret = secret_of(&begun);
    // Until a code proves that the authenticator has it, nothing is asked for.
    assert_eq!(Browser::new(&world).sign_in("ada", PASSWORD, "").await.location(), "/account");
    let wrong = change(&mut ada, "confirm", "code", "000000").await;
    assert_eq!((wrong.status, secret_of(&wrong)), (StatusCode::UNPROCESSABLE_ENTITY, secret.clone()));
    let (first, right) = codes(&secret);
    let on = change(&mut ada, "confirm", "code", &first).await;
    assert!(on.text.contains("Recovery codes"), "{}", on.text);
    let recovery = |nth: usize| {
        on.text.split("<li class=\"mono\">").nth(nth).unwrap().split('<').next().unwrap().to_owned()
    };
    assert_eq!(on.text.matches("<li class=\"mono\">").count(), 10);
    assert!(ada.get("/account").await.text.contains("10 recovery codes"));
    // By browser: the password, then the code; what waits lets nobody in.
    let mut other = Browser::new(&world);
    let half = other.sign_in("ada", PASSWORD, "/device").await;
    assert_eq!(half.location(), "/signin/code?next=%2Fdevice");
    assert_eq!(other.get("/account").await.status, StatusCode::SEE_OTHER, "half a sign-in lets in");
    let step = async |browser: &mut Browser<'_>, code: &str| {
        let csrf = browser.get("/signin/code").await.field("csrf");
        browser.post("/signin/code", &[("csrf", &csrf), ("next", "/device"), ("code", code)]).await
    };
    let half_secret = other.session().unwrap().to_owned();
    let replayed = step(&mut other, &first).await;
    assert_eq!(replayed.status, StatusCode::UNAUTHORIZED, "the code of the set-up is replayed");
    let page = step(&mut other, &right).await;
    assert_eq!(page.location(), "/device", "{}", page.text);
    assert_ne!(other.session().unwrap(), half_secret, "fixation");
    assert_eq!(other.get("/account").await.status, StatusCode::OK);
    let mut thief = Browser::new(&world);
    thief.cookies.push(("freehold_session".into(), half_secret));
    assert_eq!(step(&mut thief, &recovery(3)).await.status, StatusCode::UNAUTHORIZED, "it waits on");
    // By the API: the code beside the password, and each is good once.
    let sign_in = async |code: Option<&str>| {
        let mut body = json!({ "user": "ada", "password": PASSWORD });
        if let Some(code) = code {
            body["code"] = json!(code);
        }
        world.post("/v1/session", &body).await
    };
    assert_eq!(sign_in(None).await.1["code"], "second_factor");
    assert_eq!(sign_in(Some(&right)).await.1["code"], "not_signed_in");
    assert_eq!(sign_in(Some(&recovery(1))).await.0, StatusCode::CREATED);
    assert_eq!(sign_in(Some(&recovery(1))).await.1["code"], "not_signed_in", "a recovery code is used twice");
    assert!(ada.get("/account").await.text.contains("9 recovery codes"));
    // Nothing says what is kept, and the root key can change meanwhile.
    for path in ["/v1/resources?kind=user", "/v1/users", "/v1/events", "/v1/resources?kind=session"] {
        let (_, said) = world.get(path).await;
        let said = said.to_string();
        for hidden in [secret.as_str(), "sealed", "last_step", &recovery(2)] {
            assert!(!said.contains(hidden), "{path} says {hidden}");
        }
    }
    assert_eq!(world.post("/v1/key/rotation", &json!({})).await.0, StatusCode::OK);
    assert_eq!(sign_in(Some(&recovery(2))).await.0, StatusCode::CREATED, "the new root key opens it");
    // An admin takes it away, and every session with it.
    let request =
        world.request("DELETE", &format!("/v1/users/{id}/second-factor")).body(Body::empty()).unwrap();
    assert_eq!(crate::world::json(world.send(request).await).await.1["second_factor"], false);
    assert_eq!(ada.get("/account").await.status, StatusCode::SEE_OTHER);
    assert_eq!(sign_in(None).await.0, StatusCode::CREATED);
    assert!(world.get("/v1/events").await.1.to_string().contains("user.second_factor_reset"));
}

#[tokio::test]
async fn wrong_codes_lock_an_account_however_often_the_password_was_right() {
    let world = World::new();
    world.tree();
    user(&world, "ada").await;
    let mut ada = Browser::new(&world);
    ada.sign_in("ada", PASSWORD, "").await;
    let csrf = ada.get("/account").await.field("csrf");
    let fields = [("csrf", csrf.as_str()), ("step", "begin"), ("password", PASSWORD)];
    let secret = secret_of(&ada.post("/account/second-factor", &fields).await);
    let confirm = [("csrf", csrf.as_str()), ("step", "confirm"), ("code", &codes(&secret).0)];
    ada.post("/account/second-factor", &confirm).await;
    let mut other = Browser::new(&world);
    for _ in 0..5 {
        other.sign_in("ada", PASSWORD, "").await;
        let csrf = other.get("/signin/code").await.field("csrf");
        let page = other.post("/signin/code", &[("csrf", &csrf), ("code", "000000")]).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{}", page.text);
    }
    let (_, users) = world.get("/v1/users").await;
    assert_eq!(users[0]["state"], "locked", "{users}");
    let body = json!({ "user": "ada", "password": PASSWORD, "code": codes(&secret).1 });
    assert_eq!(world.post("/v1/session", &body).await.0, StatusCode::UNAUTHORIZED, "a locked account opens");
}

#[tokio::test]
async fn who_has_no_password_sets_one_up_and_links_just_after_signing_in_by_hand() {
    let world = World::new();
    world.tree();
    let id = user(&world, "ada").await.parse::<UserId>().unwrap();
    let mut ada = Browser::new(&world);
    ada.sign_in("ada", PASSWORD, "").await;
    // As who took their invite with another provider.
    let view = world.store.view().await.unwrap();
    let mut user = view.find::<UserSpec>(id).unwrap().unwrap();
    user.spec.password = None;
    world.put_resource(&user);
    let begin = async |ada: &mut Browser<'_>| {
        let account = ada.get("/account").await;
        assert!(!account.text.contains("Your password"), "{}", account.text);
        let csrf = account.field("csrf");
        ada.post("/account/second-factor", &[("csrf", &csrf), ("step", "begin")]).await
    };
    let begun = begin(&mut ada).await;
    assert!(begun.text.contains("<svg"));
    // What a program was given by a click proves nothing; nor would a session of long ago.
    for mut session in view.all::<SessionSpec>(Some(id.into())).unwrap() {
        session.spec.by = Some("device".into());
        world.put_resource(&session);
    }
    let refused = begin(&mut ada).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("ten minutes"));
    let csrf = ada.get("/account").await.field("csrf");
    let link = ada.post("/account/providers", &[("csrf", &csrf), ("link", "acme")]).await;
    assert_eq!(link.status, StatusCode::FORBIDDEN, "{}", link.text);
}
