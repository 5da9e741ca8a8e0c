//! Passkeys over the pages and the API: added, signed in with, taken away; and what a flood of strangers leaves behind.

use crate::{
    authenticator::Authenticator,
    browser::{Browser, PASSWORD, house},
    world::{World, json},
};
use axum::{body::Body, http::StatusCode};
use serde_json::Value;

const ORIGIN: &str = "https://home.example";

async fn ask(browser: &mut Browser<'_>, page: &str, path: &str, more: &[(&str, &str)]) -> (Value, String) {
    let csrf = browser.get(page).await.field("csrf");
    let fields = [&[("csrf", csrf.as_str())], more].concat();
    let answer = browser.post(path, &fields).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    (serde_json::from_str(&answer.text).unwrap_or_else(|_| panic!("{}", answer.text)), csrf)
}

pub(crate) async fn add(browser: &mut Browser<'_>, device: &mut Authenticator, name: &str) {
    let (asked, csrf) =
        ask(browser, "/account", "/account/passkeys/options", &[("password", PASSWORD)]).await;
    let answer = device.create(&asked).to_string();
    let ticket = asked["ticket"].as_str().unwrap();
    let fields = [("csrf", csrf.as_str()), ("ticket", ticket), ("credential", &answer), ("name", name)];
    let page = browser.post("/account/passkeys", &fields).await;
    assert_eq!(page.location(), "/account", "{}", page.text);
}

async fn sign_in(browser: &mut Browser<'_>, device: &mut Authenticator) -> crate::browser::Page {
    let (asked, csrf) = ask(browser, "/signin", "/signin/passkey/options", &[]).await;
    let answer = device.get(&asked).to_string();
    let ticket = asked["ticket"].as_str().unwrap();
    let fields = [("csrf", csrf.as_str()), ("ticket", ticket), ("credential", &answer), ("next", "/device")];
    browser.post("/signin/passkey", &fields).await
}

async fn remove_by_admin(world: &World, path: &str) -> (StatusCode, Value) {
    json(world.send(world.request("DELETE", path).body(Body::empty()).unwrap()).await).await
}

#[tokio::test]
async fn a_passkey_is_added_with_the_password_signs_in_without_and_is_removed() {
    let world = house().await;
    let mut ada = Browser::new(&world);
    ada.sign_in("ada", PASSWORD, "").await;
    let (refused, _) =
        ask(&mut ada, "/account", "/account/passkeys/options", &[("password", "wrong wrong wrong")]).await;
    assert_eq!(refused["code"], "not_signed_in", "it is added without the password");
    let mut phone = Authenticator::new(ORIGIN, "home.example");
    add(&mut ada, &mut phone, "<b>my phone").await;
    let account = ada.get("/account").await;
    assert!(
        account.text.contains("&lt;b&gt;my phone") && account.text.contains("not used yet"),
        "{}",
        account.text
    );
    let mut other = Browser::new(&world);
    let page = sign_in(&mut other, &mut phone).await;
    assert_eq!(page.location(), "/device", "{}", page.text);
    assert!(other.get("/account").await.text.contains("last used"));
    let (_, users) = world.get("/v1/users").await;
    assert_eq!(users[0]["passkeys"], 1, "{users}");
    let path = format!("/v1/users/{}/passkeys", users[0]["id"].as_str().unwrap());
    let (_, listed) = world.get(&path).await;
    assert_eq!(listed[0]["name"], "<b>my phone");
    // Nothing says what is kept of it.
    for path in ["/v1/resources?kind=user", "/v1/users", "/v1/events", &path] {
        let said = world.get(path).await.1.to_string();
        for hidden in ["\"credential\"", "cred_id", "answered", "EC_EC2"] {
            assert!(!said.contains(hidden), "{path} says {hidden}: {said}");
        }
    }
    // Removing asks first, and for the password.
    let csrf = other.get("/account").await.field("csrf");
    let id = listed[0]["id"].as_str().unwrap();
    let step = [("csrf", csrf.as_str()), ("step", "remove"), ("passkey", id)];
    let asks = other.post("/account/passkeys", &step).await;
    assert!(asks.status == StatusCode::OK && asks.text.contains("Remove a passkey"), "{}", asks.text);
    let sure = |password| [&step[..], &[("sure", "yes"), ("password", password)]].concat();
    let wrong = other.post("/account/passkeys", &sure("wrong wrong wrong")).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert_eq!(other.post("/account/passkeys", &sure(PASSWORD)).await.location(), "/account");
    assert!(!other.get("/account").await.text.contains("Remove the passkey"));
    let refused = sign_in(&mut Browser::new(&world), &mut phone).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.text.contains("lets nobody in here"), "{}", refused.text);
}

#[tokio::test]
async fn an_admin_takes_one_away_with_the_sessions_and_others_may_not() {
    let world = house().await;
    let mut ada = Browser::new(&world);
    ada.sign_in("ada", PASSWORD, "").await;
    let mut phone = Authenticator::new(ORIGIN, "home.example");
    add(&mut ada, &mut phone, "phone").await;
    let (_, users) = world.get("/v1/users").await;
    let path = format!("/v1/users/{}/passkeys", users[0]["id"].as_str().unwrap());
    let id = world.get(&path).await.1[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(remove_by_admin(&world, &format!("{path}/%00%ff")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(remove_by_admin(&world, &format!("{path}/nothing")).await.0, StatusCode::NOT_FOUND);
    let (status, removed) = remove_by_admin(&world, &format!("{path}/{id}")).await;
    assert_eq!((status, &removed["name"]), (StatusCode::OK, &"phone".into()));
    assert_eq!(ada.get("/account").await.status, StatusCode::SEE_OTHER, "a session goes on");
    assert_eq!(sign_in(&mut Browser::new(&world), &mut phone).await.status, StatusCode::UNAUTHORIZED);
    let events = world.get("/v1/events").await.1.to_string();
    assert!(events.contains("user.passkey_added") && events.contains("user.passkey_removed"), "{events}");
}

#[tokio::test]
async fn another_control_plane_takes_the_answer_and_the_first_does_not_take_it_again() {
    let world = house().await;
    let mut ada = Browser::new(&world);
    ada.sign_in("ada", PASSWORD, "").await;
    let mut phone = Authenticator::new(ORIGIN, "home.example");
    add(&mut ada, &mut phone, "phone").await;
    let beside = world.beside();
    let mut here = Browser::new(&world);
    let (asked, csrf) = ask(&mut here, "/signin", "/signin/passkey/options", &[]).await;
    let (answer, ticket) = (phone.get(&asked).to_string(), asked["ticket"].as_str().unwrap());
    let fields = [("csrf", csrf.as_str()), ("ticket", ticket), ("credential", &answer)];
    let mut there = Browser::new(&beside);
    there.cookies = here.cookies.clone();
    assert_eq!(there.post("/signin/passkey", &fields).await.location(), "/account");
    let again = here.post("/signin/passkey", &fields).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    assert!(again.text.contains("done already") && here.session().is_none(), "{}", again.text);
}

#[tokio::test]
async fn strangers_who_ask_fill_nothing_and_those_who_fail_wait() {
    let world = house().await;
    let before = world.head();
    let mut stranger = Browser::new(&world);
    let csrf = stranger.get("/signin").await.field("csrf");
    for _ in 0..300 {
        let page = stranger.post("/signin/passkey/options", &[("csrf", &csrf)]).await;
        assert_eq!(page.status, StatusCode::OK);
    }
    let mut unknown = Authenticator::new(ORIGIN, "home.example");
    for expected in (0..20).map(|_| StatusCode::UNAUTHORIZED).chain([StatusCode::TOO_MANY_REQUESTS]) {
        let asked = stranger.post("/signin/passkey/options", &[("csrf", &csrf)]).await;
        let asked: Value = serde_json::from_str(&asked.text).unwrap();
        if expected == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(asked["code"], "rate_limited", "{asked}");
            break;
        }
        let answer = unknown.get(&asked).to_string();
        let ticket = asked["ticket"].as_str().unwrap();
        let fields = [("csrf", csrf.as_str()), ("ticket", ticket), ("credential", &answer)];
        assert_eq!(stranger.post("/signin/passkey", &fields).await.status, expected);
    }
    assert_eq!(world.head(), before, "strangers write");
    for bad in [("ticket", "nonsense"), ("ticket", ""), ("credential", "{"), ("credential", "[]")] {
        let page = Browser::new(&world).post("/signin/passkey", &[bad]).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "without a token of ours: {bad:?}");
    }
}
