//! The provider through its routes: a browser and an app walk all of it, and whatever is wrong is refused in the
//! protocol's words, without a 5xx, with nothing repeated.

use crate::{
    browser::{Browser, PASSWORD, Page},
    world::{World, json},
};
use axum::{body::Body, http::Request};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_model::{
    EnvSpec, IssuerSpec, Manifest, ReleaseSpec, SecretName, SecretSpec, Template, UserId,
    manifest::CLIENT_SECRET,
    secrets::{Hidden, SetSecret},
};
use freehold_reconcile::{SystemClock, ViewExt as _};
use freehold_secrets::Vault;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

const CALLBACK: &str = "https://web.example/cb";
const SECRET: &str = "the secret & of = the client";
const VERIFIER: &str = "a-verifier-of-enough-letters-0123456789-abcdef";
/// Its SHA-256 in base64url, by `openssl`.
const CHALLENGE: &str = "ntdU3X1S2B8tbNlUvTMWCIg6-tiZf49qppXvgL0AwGA";

/// The app `web` of `default`, whose client has [`SECRET`].
async fn provider() -> World {
    let world = World::new();
    let (_, _, _, mut env) = world.tree();
    let text = format!(
        "schema = 1\napp = \"web\"\n[process.web]\nimage = \"web:1\"\n[sign_in]\nprocess = \"web\"\n\
         redirect = [\"{CALLBACK}\"]\nafter_sign_out = [\"https://web.example/\"]\n"
    );
    let mut manifest = Manifest::parse("freehold.toml", &text, &"prod".parse().unwrap()).unwrap();
    manifest.name_issuer("https://home.example", "default.web.prod");
    let keys = world.folder.path().join("keys/secrets.key");
    let vault = Vault::open(&keys, world.store.clone(), Arc::new(SystemClock)).unwrap();
    let name: SecretName = CLIENT_SECRET.parse().unwrap();
    let wanted = SetSecret {
        project: None,
        app: "web".parse().unwrap(),
        env: None,
        name: name.clone(),
        value: Some(Hidden::new(STANDARD.encode(SECRET))),
        sealed: None,
        must_exist: false,
    };
    vault.set(&freehold_model::Actor::System, "req", &wanted).await.unwrap();
    let template: Template = serde_json::from_value(json!({
        "image": {"reference": "web:1", "digest": freehold_model::Digest::of(b"")}, "driver": "container",
        "cpu": "100m", "memory": "64MiB", "stop_timeout": "10s",
        "secrets": [{ "name": CLIENT_SECRET, "version": 1, "env": CLIENT_SECRET }],
    }))
    .unwrap();
    let templates = BTreeMap::from([("web".parse().unwrap(), template)]);
    let manifest_hash = manifest.hash();
    let spec = ReleaseSpec { number: 1, manifest, manifest_hash, templates };
    let release = world.put("v1", Some(env.any_id()), spec);
    env = world.store.view_now().find::<EnvSpec>(env.id).unwrap().unwrap();
    env.spec.release = Some(release.id);
    world.change(|txn| {
        txn.put_spec(&env);
    });
    world
}

impl World {
    fn change(&self, fill: impl FnOnce(&mut freehold_model::Txn)) {
        let mut txn = freehold_model::Txn::new(freehold_model::Actor::System, "test", "req_test");
        fill(&mut txn);
        self.store.commit_now(txn).unwrap();
    }

    /// A person with that role, signed in with a browser.
    async fn signed_in<'a>(&'a self, name: &str, role: Option<&str>) -> Browser<'a> {
        let mut bindings = vec![];
        bindings.extend(role.map(|role| json!({ "role": role, "project": "default" })));
        let (_, made) = self.post("/v1/users", &json!({ "name": name, "bindings": bindings })).await;
        let invite = made["invite"].as_str().unwrap();
        self.post("/v1/invites", &json!({ "invite": invite, "password": PASSWORD })).await;
        let mut browser = Browser::new(self);
        let page = browser.get("/signin").await;
        let csrf = page.field("csrf");
        let fields = [("csrf", &*csrf), ("user", name), ("password", PASSWORD)];
        let page = browser.post("/signin", &fields).await;
        assert_eq!(page.status, 303, "{}", page.text);
        browser
    }

    async fn token_request(&self, pairs: &[(&str, &str)], basic: Option<(&str, &str)>) -> (u16, Value) {
        let body = encoded(pairs);
        let mut request = Request::builder().method("POST").uri("/oidc/token");
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if let Some((id, secret)) = basic {
            let half = |text: &str| encoded(&[("", text)])[1..].to_owned();
            let text = STANDARD.encode(format!("{}:{}", half(id), half(secret)));
            request = request.header("authorization", format!("Basic {text}"));
        }
        let (status, answer) = json(self.send(request.body(Body::from(body)).unwrap()).await).await;
        (status.as_u16(), answer)
    }

    async fn by_code(&self, code: &str) -> (u16, Value) {
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.token_request(&pairs, Some(("default.web.prod", SECRET))).await
    }

    async fn userinfo(&self, token: &str) -> (u16, Value) {
        let request =
            Request::builder().uri("/oidc/userinfo").header("authorization", format!("Bearer {token}"));
        let (status, answer) = json(self.send(request.body(Body::empty()).unwrap()).await).await;
        (status.as_u16(), answer)
    }
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn authorize(changes: &[(&str, &str)]) -> String {
    let mut all = vec![
        ("response_type", "code"),
        ("client_id", "default.web.prod"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile groups offline_access"),
        ("state", "st"),
        ("nonce", "n"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        all.retain(|(it, _)| it != name);
        all.push((name, value));
    }
    format!("/oidc/authorize?{}", encoded(&all))
}

/// A parameter of the address that a page leads to.
fn brought(page: &Page, name: &str) -> String {
    let (address, query) =
        page.location().split_once('?').unwrap_or_else(|| panic!("{} {}", page.status, page.text));
    assert_eq!(address, CALLBACK);
    let found = form_urlencoded::parse(query.as_bytes()).find(|(it, _)| it == name);
    found.unwrap_or_else(|| panic!("no {name} in {query}")).1.into_owned()
}

/// Says yes to the question, and answers with the code.
async fn agree(browser: &mut Browser<'_>, path: &str) -> String {
    let page = browser.get(path).await;
    assert_eq!(page.status, 200, "{} {}", page.location(), page.text);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https: http:;"), "{policy}");
    let (csrf, request) = (page.field("csrf"), page.field("request").replace("&amp;", "&"));
    let fields = [("csrf", &*csrf), ("request", &*request), ("answer", "allow")];
    let page = browser.post("/oidc/authorize", &fields).await;
    assert_eq!(brought(&page, "iss"), "https://home.example");
    assert_eq!(brought(&page, "state"), "st");
    brought(&page, "code")
}

#[tokio::test]
async fn who_lacks_a_second_factor_that_the_org_asks_for_is_led_to_their_account_and_not_to_the_app() {
    let world = provider().await;
    let mut browser = world.signed_in("ada", Some("developer")).await;
    let code = agree(&mut browser, &authorize(&[])).await;
    let (_, tokens) = world.by_code(&code).await;
    crate::requirement::require(&world, true).await;
    let page = browser.get(&authorize(&[])).await;
    assert_eq!(page.status, 403, "{}", page.location());
    assert!(
        page.text.contains("<code>home</code> asks for a second factor")
            && page.text.contains("href=\"/account\"")
    );
    let silent = browser.get(&authorize(&[("prompt", "none")])).await;
    assert!(!brought(&silent, "error").is_empty());
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(world.userinfo(token).await.0, 401, "an app goes on");
    crate::requirement::require(&world, false).await;
    assert_eq!(world.userinfo(token).await.0, 200);
}

#[tokio::test]
async fn a_person_signs_in_to_an_app_and_out_again() {
    let world = provider().await;
    let mut browser = world.signed_in("ada", Some("developer")).await;
    let code = agree(&mut browser, &authorize(&[])).await;
    let (status, tokens) = world.by_code(&code).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(600)));
    let (status, person) = world.userinfo(tokens["access_token"].as_str().unwrap()).await;
    assert_eq!((status, &person["preferred_username"]), (200, &json!("ada")), "{person}");
    assert_eq!(person["groups"], json!(["developer"]));
    assert!(person["sub"].as_str().unwrap().parse::<UserId>().is_ok());
    // They are not asked again in this session.
    let page = browser.get(&authorize(&[("prompt", "none")])).await;
    assert!(!brought(&page, "code").is_empty());
    let (_, clients) = world.get("/v1/oidc/clients").await;
    assert_eq!((&clients[0]["client_id"], &clients[0]["signed_in"]), (&json!("default.web.prod"), &json!(1)));
    // Signing out by the app ends everything that came of the session.
    let (_, fresh) = {
        let page = browser.get(&authorize(&[])).await;
        world.by_code(&brought(&page, "code")).await
    };
    let hint = fresh["id_token"].as_str().unwrap();
    let query = encoded(&[
        ("id_token_hint", hint),
        ("post_logout_redirect_uri", "https://web.example/"),
        ("state", "x"),
    ]);
    let page = browser.get(&format!("/oidc/logout?{query}")).await;
    assert_eq!(page.location(), "https://web.example/?state=x");
    assert!(browser.cookies.iter().all(|(name, _)| name != "freehold_session"));
    for tokens in [&tokens, &fresh] {
        assert_eq!(world.userinfo(tokens["access_token"].as_str().unwrap()).await.0, 401);
        let pairs =
            [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
        let (status, refused) = world.token_request(&pairs, Some(("default.web.prod", SECRET))).await;
        assert_eq!((status, &refused["error"]), (400, &json!("invalid_grant")));
    }
    let page = browser.get(&authorize(&[])).await;
    assert!(page.location().starts_with("/signin?next=%2Foidc%2Fauthorize%3F"), "{}", page.location());
}

#[tokio::test]
async fn clients_prove_themselves_by_either_way_and_by_nothing_else() {
    let world = provider().await;
    let mut browser = world.signed_in("ada", Some("viewer")).await;
    let code = agree(&mut browser, &authorize(&[])).await;
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let posted = |id, secret| [&pairs[..], &[("client_id", id), ("client_secret", secret)]].concat();
    for (pairs, basic) in [
        (pairs.to_vec(), None),
        (pairs.to_vec(), Some(("default.web.prod", "wrong"))),
        (pairs.to_vec(), Some(("default.web.prod", ""))),
        (pairs.to_vec(), Some(("default.nobody.prod", SECRET))),
        (posted("default.web.prod", "wrong"), None),
    ] {
        let (status, refused) = world.token_request(&pairs, basic).await;
        assert_eq!((status, &refused["error"]), (401, &json!("invalid_client")), "{basic:?}");
    }
    let both = posted("default.web.prod", SECRET);
    let (status, refused) = world.token_request(&both, Some(("default.web.prod", SECRET))).await;
    assert_eq!((status, &refused["error"]), (400, &json!("invalid_request")));
    let (status, answer) = world.token_request(&both, None).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn nobody_is_led_away_without_their_word() {
    let world = provider().await;
    let mut browser = world.signed_in("ada", Some("viewer")).await;
    let page = browser.get(&authorize(&[])).await;
    let request = page.field("request").replace("&amp;", "&");
    let csrf = page.field("csrf");
    // A foreign page can send the form, but not its token; nor can it come from elsewhere.
    for forged in ["", "x", &csrf[1..]] {
        let fields = [("csrf", forged), ("request", &*request), ("answer", "allow")];
        assert_eq!(browser.post("/oidc/authorize", &fields).await.status, 403);
    }
    let body = encoded(&[("csrf", &*csrf), ("request", &*request), ("answer", "allow")]);
    let page =
        browser.ask("POST", "/oidc/authorize", &[("origin", "https://evil.example")], Some(body)).await;
    assert_eq!(page.status, 403);
    let page =
        browser.post("/oidc/authorize", &[("csrf", &csrf), ("request", &request), ("answer", "deny")]).await;
    assert_eq!(brought(&page, "error"), "access_denied");
    let evil = authorize(&[("redirect_uri", "https://evil.example/")]);
    let fields = [("csrf", &*csrf), ("request", evil.split_once('?').unwrap().1), ("answer", "allow")];
    let page = browser.post("/oidc/authorize", &fields).await;
    assert_eq!((page.status.as_u16(), page.location()), (400, ""));
    assert!(!page.text.contains("evil.example"), "{}", page.text);
    // Who has no role at the app's project is told to the app, and gets no code.
    let mut stranger = world.signed_in("eve", None).await;
    let page = stranger.get(&authorize(&[])).await;
    assert_eq!(brought(&page, "error"), "access_denied");
    let page = Browser::new(&world).get(&authorize(&[("prompt", "none")])).await;
    assert_eq!(brought(&page, "error"), "login_required");
    // Signing out by a link asks first.
    let page = browser.get("/oidc/logout").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("Sign out?") && !browser.cookies.is_empty());
    let fields = [("csrf", &*page.field("csrf")), ("request", "")];
    browser.post("/oidc/logout", &fields).await;
    assert!(browser.cookies.iter().all(|(name, _)| name != "freehold_session"));
}

#[tokio::test]
async fn odd_requests_are_refused_and_repeated_nowhere() {
    let world = provider().await;
    let mut browser = world.signed_in("ada", Some("viewer")).await;
    let (huge, odd) = ("x".repeat(20_000), "\"><script>alert(1)</script>\u{0}\u{202e}é");
    for name in [
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "prompt",
        "max_age",
        "more",
    ] {
        for value in [&*huge, odd, ""] {
            let page = browser.get(&authorize(&[(name, value)])).await;
            let said = page.status.as_u16();
            assert!(matches!(said, 200 | 303 | 400), "{name}: {said}");
            assert!(
                !page.text.contains("<script>alert") && !page.text.contains("xxxxxxxxxxxx"),
                "{name}: {}",
                page.text
            );
            assert!(said != 303 || page.location().starts_with(CALLBACK), "{name}: {}", page.location());
        }
        let page = browser.get(&format!("{}&{name}=twice", authorize(&[]))).await;
        assert!(matches!(page.status.as_u16(), 200 | 303 | 400), "{name} twice");
    }
    for body in [
        &*huge,
        "",
        "&&&===",
        "%",
        "grant_type=authorization_code&grant_type=refresh_token",
        "grant_type=%00",
    ] {
        for kind in ["application/x-www-form-urlencoded", "application/json", "text/plain"] {
            for credentials in
                [None, Some("Basic !"), Some("Basic ZGVmYXVsdA=="), Some("Bearer x"), Some("Basic /w==")]
            {
                let mut request =
                    Request::builder().method("POST").uri("/oidc/token").header("content-type", kind);
                if let Some(credentials) = credentials {
                    request = request.header("authorization", credentials);
                }
                let response = world.send(request.body(Body::from(body.to_owned())).unwrap()).await;
                assert_eq!(response.headers()["cache-control"], "no-store");
                let (status, answer) = json(response).await;
                assert!(matches!(status.as_u16(), 400 | 401), "{body} {kind} {credentials:?}: {status}");
                let code = answer["error"].as_str().unwrap();
                assert!(matches!(code, "invalid_request" | "invalid_client"), "{answer}");
            }
        }
    }
    for token in ["", "x", ".", &huge[..3000], "01kay0000000000000000000000.x"] {
        assert_eq!(world.userinfo(token).await.0, 401);
    }
}

#[tokio::test]
async fn of_many_who_show_one_code_at_once_none_keeps_anything() {
    let world = provider().await;
    let mut browser = world.signed_in("ada", Some("viewer")).await;
    let code = agree(&mut browser, &authorize(&[])).await;
    let answers = futures::future::join_all((0..8).map(|_| world.by_code(&code))).await;
    let given: Vec<&Value> = answers.iter().filter(|(status, _)| *status == 200).map(|(_, it)| it).collect();
    assert!(given.len() <= 1, "{answers:?}");
    for (status, refused) in answers.iter().filter(|(status, _)| *status != 200) {
        assert_eq!((*status, &refused["error"]), (400, &json!("invalid_grant")));
    }
    for tokens in given {
        assert_eq!(world.userinfo(tokens["access_token"].as_str().unwrap()).await.0, 401);
    }
}

#[tokio::test]
async fn a_long_request_survives_the_sign_in_page() {
    let world = provider().await;
    let mut browser = Browser::new(&world);
    let path = authorize(&[("state", &"s".repeat(2000)), ("nonce", &"n".repeat(2000))]);
    let page = browser.get(&path).await;
    let next = page.location().strip_prefix("/signin?").expect("to sign in").to_owned();
    let next = form_urlencoded::parse(next.as_bytes()).next().unwrap().1.into_owned();
    assert_eq!(next, path);
}

#[tokio::test]
async fn keys_are_published_rotated_and_never_told() {
    let world = provider().await;
    let (status, keys) = world.get("/oidc/jwks").await;
    assert_eq!(status, 200);
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    let (status, rotated) = world.post("/v1/oidc/keys", &json!({})).await;
    assert_eq!((status.as_u16(), rotated.as_array().unwrap().len()), (200, 2), "{rotated}");
    let (_, discovered) = world.get("/.well-known/openid-configuration").await;
    assert_eq!(discovered["issuer"], "https://home.example");
    assert_eq!(discovered["code_challenge_methods_supported"], json!(["S256"]));
    let mut browser = world.signed_in("ada", Some("viewer")).await;
    let code = agree(&mut browser, &authorize(&[])).await;
    let (_, tokens) = world.by_code(&code).await;
    let (_, all) = world.get("/v1/resources?kind=grant").await;
    let (_, issuer) = world.get("/v1/resources?kind=issuer").await;
    let told = format!("{all}{issuer}");
    let view = world.store.view_now();
    let kept = view.all::<IssuerSpec>(None).unwrap().remove(0).spec.keys[0].sealed.clone().unwrap().sealed;
    let secret = view.all::<SecretSpec>(None).unwrap().remove(0).spec.versions[0].sealed.clone();
    for hidden in ["hash", &*kept, &secret, &code[27..], &tokens["access_token"].as_str().unwrap()[27..]] {
        assert!(!told.contains(hidden), "{hidden} in {told}");
    }
}
