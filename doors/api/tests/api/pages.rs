//! Pages as a browser asks for them: who gets which, what a form needs, and where nobody is led.

use crate::{
    browser::{Browser, PASSWORD, form, house},
    world::World,
};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::json;

#[tokio::test]
async fn every_page_is_for_everybody_or_for_who_is_signed_in_by_cookie() {
    let world = house().await;
    let mut ada = Browser::new(&world);
    ada.sign_in("ada", PASSWORD, "").await;
    // Page, and whether it is for everybody.
    let table = [
        ("GET", "/signin", true),
        ("GET", "/invite", true),
        ("GET", "/signin/code", true),
        ("POST", "/account/second-factor", false),
        ("POST", "/account/passkeys", false),
        ("POST", "/account/passkeys/options", false),
        ("GET", "/assets/passkey.js", true),
        ("GET", "/assets/page.css", true),
        ("GET", "/account", false),
        ("GET", "/device", false),
        ("POST", "/device", false),
        ("POST", "/account/sessions", false),
        ("POST", "/signout", false),
    ];
    for (method, path, public) in table {
        let body = (method == "POST").then(String::new);
        let mut nobody = Browser::new(&world);
        let page = nobody.ask(method, path, &[], body.clone()).await;
        match public {
            true => assert_eq!(page.status, StatusCode::OK, "{path}"),
            false => {
                assert_eq!(page.status, StatusCode::SEE_OTHER, "{method} {path}");
                assert!(page.location().starts_with("/signin"), "{path}");
            }
        }
        // The owner's token is nobody to a page, and never in an address.
        let token = format!("Bearer {}", world.token.reveal());
        let page = Browser::new(&world).ask(method, path, &[("authorization", &token)], body.clone()).await;
        assert_eq!(page.status.is_success(), public, "{method} {path}");
        if method == "GET" {
            let page = Browser::new(&world).get(&format!("{path}?token={}", world.token.reveal())).await;
            assert!(path.starts_with("/assets") || !page.status.is_success(), "{path}: {}", page.text);
            assert!(!page.text.contains(world.token.reveal()), "{path} repeats a token");
        }
        let page = ada.ask(method, path, &[], body).await;
        let expected = match (method, path) {
            ("POST", _) => StatusCode::FORBIDDEN,
            (_, "/signin") => StatusCode::SEE_OTHER,
            _ => StatusCode::OK,
        };
        assert_eq!(page.status, expected, "{method} {path} as ada: {}", page.text);
    }
    assert_eq!(ada.ask("DELETE", "/account", &[], None).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_person_signs_in_sees_their_account_ends_a_session_and_signs_out() {
    let world = house().await;
    let mut ada = Browser::new(&world);
    let wanted = ada.get("/account").await;
    assert_eq!(wanted.location(), "/signin");
    let page = ada.get("/signin").await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers["cache-control"], "no-store");
    assert!(!page.text.contains("<script>") && !page.text.contains("style=\""), "{}", page.text);
    assert!(!page.text.contains("https://") && !page.text.contains("http://"), "{}", page.text);
    let wrong = ada.sign_in("ada", "<b>wrong</b> wrong", "").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text.contains("is wrong, or the account is locked"), "{}", wrong.text);
    assert!(!wrong.text.contains("<b>wrong") && ada.session().is_none());
    let unknown = ada.sign_in("<script>x", "wrong wrong wrong", "").await;
    assert!(
        unknown.text.contains("&lt;script&gt;x") && !unknown.text.contains("<script>x"),
        "{}",
        unknown.text
    );
    let right = ada.sign_in("ada", PASSWORD, "/account").await;
    assert_eq!((right.status, right.location()), (StatusCode::SEE_OTHER, "/account"), "{}", right.text);
    let set: Vec<&str> = right.headers.get_all("set-cookie").iter().map(|it| it.to_str().unwrap()).collect();
    let set = set.iter().find(|it| it.starts_with("freehold_session=")).unwrap();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax") && !set.contains("Secure"), "{set}");
    let account = ada.get("/account").await;
    assert!(account.text.contains("ada") && account.text.contains("developer"), "{}", account.text);
    assert!(!account.text.contains(ada.session().unwrap()), "the page holds the session's secret");
    // The other one is that of the invite: ended, and this one goes on.
    let first = account.text.matches("name=\"session\"").count();
    assert_eq!(first, 2, "{}", account.text);
    let ids: Vec<&str> = account.text.split("value=\"ses_").skip(1).map(|it| &it[..26]).collect();
    let csrf = account.field("csrf");
    let ended =
        ada.post("/account/sessions", &[("csrf", &csrf), ("session", &format!("ses_{}", ids[1]))]).await;
    assert_eq!(ended.location(), "/account", "{}", ended.text);
    assert_eq!(ada.get("/account").await.text.matches("name=\"session\"").count(), 1);
    let odd = ada.post("/account/sessions", &[("csrf", &csrf), ("session", "nonsense")]).await;
    assert_eq!(odd.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(odd.headers["content-type"].to_str().unwrap().starts_with("text/html"));
    let out = ada.post("/signout", &[("csrf", &csrf)]).await;
    assert_eq!(out.location(), "/signin", "{}", out.text);
    assert!(ada.session().is_none());
    assert_eq!(ada.get("/account").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_session_is_new_at_each_sign_in_and_ends_the_one_before() {
    let world = house().await;
    let mut ada = Browser::new(&world);
    // What somebody planted is not taken over.
    let planted = format!("fh_{}", "0".repeat(64));
    ada.cookies.push(("freehold_session".into(), planted.clone()));
    ada.sign_in("ada", PASSWORD, "").await;
    let first = ada.session().unwrap().to_owned();
    assert_ne!(first, planted);
    let csrf = Browser::new(&world).get("/signin").await;
    let form_cookie = csrf.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let (name, value) = form_cookie.split_once('=').unwrap();
    ada.cookies.retain(|cookie| cookie.0 != name);
    ada.cookies.push((name.into(), value.into()));
    let again =
        ada.post("/signin", &[("csrf", &csrf.field("csrf")), ("user", "ada"), ("password", PASSWORD)]).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER, "{}", again.text);
    assert_ne!(ada.session().unwrap(), first);
    let mut thief = Browser::new(&world);
    thief.cookies.push(("freehold_session".into(), first));
    assert_eq!(thief.get("/account").await.status, StatusCode::SEE_OTHER, "the session before lives on");
}

#[tokio::test]
async fn a_form_without_its_token_or_from_another_site_does_nothing() {
    let world = house().await;
    let mut ada = Browser::new(&world);
    let page = ada.get("/signin").await;
    let good = page.field("csrf");
    let send = async |cookies: &[(String, String)], csrf: &str, origin: &str| {
        let mut browser = Browser::new(&world);
        browser.cookies = cookies.to_vec();
        let body = form(&[("csrf", csrf), ("user", "ada"), ("password", PASSWORD)]);
        let origin = [("origin", origin)];
        let more = if origin[0].1.is_empty() { &origin[..0] } else { &origin[..] };
        let page = browser.ask("POST", "/signin", more, Some(body)).await;
        (page.status, browser.session().is_some())
    };
    let forbidden = (StatusCode::FORBIDDEN, false);
    let own = "http://house.example";
    assert_eq!(send(&ada.cookies, "", own).await, forbidden);
    assert_eq!(send(&ada.cookies, &"0".repeat(64), own).await, forbidden);
    assert_eq!(send(&[], &good, own).await, forbidden, "the cookie is not asked for");
    assert_eq!(send(&ada.cookies, &good, "http://evil.example").await, forbidden);
    assert_eq!(send(&ada.cookies, &good, "null").await, forbidden);
    assert_eq!(send(&ada.cookies, &good, "").await, (StatusCode::SEE_OTHER, true));
    // Signed in, the token is the session's.
    ada.sign_in("ada", PASSWORD, "").await;
    let session = ada.cookies.clone();
    for (csrf, origin) in [("", own), (good.as_str(), own)] {
        let body = form(&[("csrf", csrf)]);
        let page = ada.ask("POST", "/signout", &[("origin", origin)], Some(body)).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
    }
    let csrf = ada.get("/account").await.field("csrf");
    let foreign = [("origin", "http://evil.example")];
    let page = ada.ask("POST", "/signout", &foreign, Some(form(&[("csrf", &csrf)]))).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    // JSON is no form, and the API wants its header still.
    let cookie: Vec<String> = session.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = Request::builder().method("DELETE").uri("/v1/session").header("cookie", cookie.join("; "));
    let status = world.send(request.body(Body::empty()).unwrap()).await.status();
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(ada.get("/account").await.status, StatusCode::OK, "one of these signed ada out");
}

#[tokio::test]
async fn nobody_is_led_to_another_site() {
    let world = house().await;
    for bad in ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb"] {
        let mut ada = Browser::new(&world);
        let page = ada.sign_in("ada", PASSWORD, bad).await;
        assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/account"), "{bad}");
        let path = format!("/signin?{}", form(&[("next", bad)]));
        assert_eq!(Browser::new(&world).get(&path).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    let mut ada = Browser::new(&world);
    let page = ada.get("/signin?next=/account%3Fa%3Db").await;
    assert_eq!(page.field("next"), "/account?a=b");
    // What leads to an app is gone to anew: a form's answer may not redirect to another site.
    let page = ada.sign_in("ada", PASSWORD, "/oidc/authorize?client_id=a").await;
    assert_eq!((page.status, page.location()), (StatusCode::OK, ""));
    assert_eq!(page.headers["refresh"], "0; url=/oidc/authorize?client_id=a");
}

#[tokio::test]
async fn a_page_counts_wrong_passwords_like_the_api_and_costs_as_much() {
    let world = house().await;
    let mut ada = Browser::new(&world);
    for _ in 0..5 {
        let before = freehold_identity::verified();
        assert_eq!(ada.sign_in("ada", "wrong wrong wrong", "").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(freehold_identity::verified() - before, 1);
    }
    let locked = ada.sign_in("ada", PASSWORD, "").await;
    let before = freehold_identity::verified();
    let unknown = ada.sign_in("nobody", PASSWORD, "").await;
    assert_eq!(freehold_identity::verified() - before, 1);
    assert_eq!(locked.status, unknown.status);
    assert_eq!(locked.text.replace("value=\"ada\"", "value=\"nobody\""), unknown.text);
    for _ in 0..13 {
        ada.sign_in("nobody", "x", "").await;
    }
    assert_eq!(ada.sign_in("ada", PASSWORD, "").await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn an_invite_is_a_link_that_is_good_once_and_never_in_a_query() {
    let world = World::new();
    world.tree();
    let (_, made) = world.post("/v1/users", &json!({ "name": "ada" })).await;
    let invite = made["invite"].as_str().unwrap();
    assert_eq!(made["link"], format!("https://home.example/invite#{invite}"));
    let mut ada = Browser::new(&world);
    let query = ada.get(&format!("/invite?invite={invite}")).await;
    assert_eq!(query.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!query.text.contains(invite));
    let csrf = ada.get("/invite").await.field("csrf");
    let take = async |ada: &mut Browser<'_>, invite: &str, password: &str, again: &str| {
        let fields = [("csrf", csrf.as_str()), ("invite", invite), ("password", password), ("again", again)];
        ada.post("/invite", &fields).await
    };
    for (password, again) in
        [("short", "short"), (PASSWORD, "four words of yours"), ("ada ada ada ada", "ada ada ada ada")]
    {
        let page = take(&mut ada, invite, password, again).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{password}");
        assert_eq!(page.field("csrf"), csrf);
        assert!(page.text.contains(invite) && !page.text.contains(password), "{}", page.text);
    }
    // The whole link is good too, as pasted.
    let page = take(&mut ada, made["link"].as_str().unwrap(), PASSWORD, PASSWORD).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/account"), "{}", page.text);
    assert!(ada.get("/account").await.text.contains("ada"));
    let mut other = Browser::new(&world);
    other.cookies = ada.cookies.iter().filter(|cookie| cookie.0 == "freehold_form").cloned().collect();
    let page = take(&mut other, invite, PASSWORD, PASSWORD).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text.contains("is not good (any more)") && other.session().is_none(), "{}", page.text);
}

#[tokio::test]
async fn a_program_is_let_in_by_a_person_who_sees_what_asks() {
    let world = house().await;
    let ask = async || {
        let request = Request::builder().method("POST").uri("/v1/session/device");
        let request = request.header("user-agent", "freehold <b>1</b>").header("host", "house.example");
        crate::world::json(world.send(request.body(Body::empty()).unwrap()).await).await.1
    };
    let poll = async |asked: &serde_json::Value| {
        world.post("/v1/session/device/poll", &json!({ "device_code": asked["device_code"] })).await
    };
    let asked = ask().await;
    assert_eq!(asked["verification_uri"], "https://home.example/device");
    let (code, link) = (
        asked["user_code"].as_str().unwrap(),
        format!("/device?code={}", asked["user_code"].as_str().unwrap()),
    );
    assert_eq!(poll(&asked).await.1["state"], "authorization_pending");
    assert_eq!(poll(&asked).await.1["state"], "slow_down");
    // Who is not signed in is led back here afterwards.
    let mut ada = Browser::new(&world);
    let page = ada.get(&link).await;
    assert_eq!(page.location(), format!("/signin?next=%2Fdevice%3Fcode%3D{code}"));
    let page = ada.sign_in("ada", PASSWORD, &link).await;
    assert_eq!(page.location(), link);
    let page = ada.get(&link).await;
    assert!(page.text.contains("freehold &lt;b&gt;1") && page.text.contains(code), "{}", page.text);
    let csrf = page.field("csrf");
    let wrong = ada.post("/device", &[("csrf", &csrf), ("code", "BBBB-BBBB")]).await;
    assert_eq!(wrong.status, StatusCode::NOT_FOUND);
    let wrong = ada.post("/device", &[("csrf", "0"), ("code", code), ("answer", "allow")]).await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);
    // Looking allows nothing.
    ada.post("/device", &[("csrf", &csrf), ("code", &code.to_lowercase())]).await;
    assert_eq!(poll(&asked).await.1["state"], "slow_down");
    let done = ada.post("/device", &[("csrf", &csrf), ("code", code), ("answer", "allow")]).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    let (_, polled) = poll(&asked).await;
    assert_eq!(
        (&polled["state"], &polled["signed_in"]["session"]["user"]),
        (&json!("allowed"), &json!("ada"))
    );
    assert_eq!(poll(&asked).await.0, StatusCode::NOT_FOUND, "it is fetched twice");
    let token = format!("Bearer {}", polled["signed_in"]["token"].as_str().unwrap());
    let request = Request::builder().uri("/v1/whoami").header("authorization", token);
    assert_eq!(world.send(request.body(Body::empty()).unwrap()).await.status(), StatusCode::OK);
    // Another one is refused.
    let asked = ask().await;
    let fields =
        [("csrf", csrf.as_str()), ("code", asked["user_code"].as_str().unwrap()), ("answer", "deny")];
    assert!(ada.post("/device", &fields).await.text.contains("Refused"));
    assert_eq!(poll(&asked).await.0, StatusCode::FORBIDDEN);
    assert_eq!(poll(&asked).await.0, StatusCode::NOT_FOUND);
    let (_, sessions) = world.get("/v1/resources?kind=session").await;
    assert!(!sessions.to_string().contains("waits"), "{sessions}");
    // Codes are not to be had without end.
    for _ in 0..30 {
        ask().await;
    }
    assert_eq!(ask().await["code"], "rate_limited");
}
