//! Pages as a browser asks for them: who gets which, what a form needs, and where nobody is led.

use crate::world::{World, bytes};
use axum::{
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use serde_json::json;

pub(crate) const PASSWORD: &str = "four words of ours";

/// A browser with its cookies; it follows no redirect.
pub(crate) struct Browser<'a> {
    world: &'a World,
    pub(crate) cookies: Vec<(String, String)>,
}

pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn location(&self) -> &str {
        self.headers.get("location").map_or("", |it| it.to_str().unwrap())
    }

    /// The value of the first hidden field of that name.
    pub(crate) fn field(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let rest =
            self.text.split_once(&mark).unwrap_or_else(|| panic!("no field {name} in {}", self.text)).1;
        rest.split('"').next().unwrap().to_owned()
    }
}

impl<'a> Browser<'a> {
    pub(crate) fn new(world: &'a World) -> Browser<'a> {
        Browser { world, cookies: vec![] }
    }

    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: Option<String>,
    ) -> Page {
        let mut request = Request::builder().method(method).uri(path).header("host", "house.example");
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if body.is_some() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, Body::from);
        let response = self.world.send(request.body(body).unwrap()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        for set in headers.get_all("set-cookie") {
            let set = set.to_str().unwrap();
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|cookie| cookie.0 != name);
            if !set.contains("Max-Age=0") {
                self.cookies.push((name.into(), value.into()));
            }
        }
        Page { status, headers, text: String::from_utf8(bytes(response).await).unwrap() }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.ask("GET", path, &[], None).await
    }

    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.ask("POST", path, &[("origin", "http://house.example")], Some(form(fields))).await
    }

    pub(crate) async fn sign_in(&mut self, name: &str, password: &str, next: &str) -> Page {
        let csrf = self.get("/signin").await.field("csrf");
        let fields = [("csrf", csrf.as_str()), ("next", next), ("user", name), ("password", password)];
        self.post("/signin", &fields).await
    }

    pub(crate) fn session(&self) -> Option<&str> {
        self.cookies.iter().find(|cookie| cookie.0 == "freehold_session").map(|cookie| cookie.1.as_str())
    }
}

pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let text = |text: &str| text.bytes().map(|c| format!("%{c:02x}")).collect::<String>();
    fields.iter().map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join("&")
}

/// Makes a user who has chosen [`PASSWORD`]; their id.
pub(crate) async fn user(world: &World, name: &str) -> String {
    let (status, made) =
        world.post("/v1/users", &json!({ "name": name, "bindings": [{ "role": "developer" }] })).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let (status, taken) =
        world.post("/v1/invites", &json!({ "invite": made["invite"], "password": PASSWORD })).await;
    assert_eq!(status, StatusCode::CREATED, "{taken}");
    made["user"]["id"].as_str().unwrap().to_owned()
}

async fn house() -> World {
    let world = World::new();
    world.tree();
    user(&world, "ada").await;
    world
}

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
