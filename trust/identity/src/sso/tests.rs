//! Signing in with a provider, without routes and without a network: a provider that answers as it is told, and what
//! must be refused of it and of whoever comes back.

use super::*;
use crate::{
    Asker, Opened, Origin, TokenHash, authenticate, create_user, hash_password, people::session,
    testing::House,
};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_model::{
    Errand, IdentityProvider, IdentityProviderId, IdentityProviderSpec, PublicUrl, SealedValue, SecondFactor,
    SessionSpec, User, UserId, UserSpec, people::CreateUser, secrets::Hidden, sso::SetIdentityProvider,
};
use freehold_reconcile::ViewExt as _;
use jiff::{SignedDuration, Timestamp};
use openidconnect::{HttpRequest, HttpResponse, http::Response};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use ulid::Ulid;

const ISSUER: &str = "https://sso.example";
const CLIENT: &str = "freehold";
const CALLBACK: &str = "https://home.example/signin/with/acme/callback";

/// What is changed in something that was right.
type Case<'a> = (&'a str, &'a dyn Fn(&mut Value));

/// A key of the provider, and its public half as published.
struct Key {
    pair: EcdsaKeyPair,
    kid: &'static str,
}

impl Key {
    fn new(kid: &'static str) -> Key {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Key { pair: pair.unwrap(), kid }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid, "x": x, "y": y })
    }

    fn sign(&self, claims: &Value) -> String {
        let text = unsigned(&json!({ "alg": "ES256", "kid": self.kid, "typ": "JWT" }), claims);
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn unsigned(head: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(head), part(claims))
}

/// What the provider answers, and what it was asked.
struct Acme {
    discovery: Value,
    keys: Vec<Value>,
    token: Result<String, Value>,
    away: bool,
    asked: Vec<(String, String)>,
}

struct Wire(Arc<Mutex<Acme>>);

#[async_trait]
impl Fetch for Wire {
    async fn fetch(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let url = request.uri().to_string();
        let mut acme = self.0.lock().unwrap();
        acme.asked.push((url.clone(), String::from_utf8(request.body().clone()).unwrap()));
        if acme.away {
            return Err(FetchError::Unreachable { url, why: "nobody is there".into() });
        }
        let (status, body) = match url.strip_prefix(ISSUER).unwrap() {
            "/.well-known/openid-configuration" => (200, acme.discovery.clone()),
            "/keys" => (200, json!({ "keys": acme.keys })),
            "/token" => match &acme.token {
                Ok(token) => {
                    (200, json!({ "access_token": "at", "token_type": "Bearer", "id_token": token }))
                }
                Err(refusal) => (400, refusal.clone()),
            },
            other => panic!("nobody asks for {other}"),
        };
        let mut response = Response::new(body.to_string().into_bytes());
        *response.status_mut() = status.try_into().unwrap();
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        Ok(response)
    }
}

struct World {
    house: House,
    acme: Arc<Mutex<Acme>>,
    key: Key,
    relying: Relying,
    client: Client,
    ada: UserId,
}

fn wanted() -> SetIdentityProvider {
    SetIdentityProvider {
        issuer: ISSUER.into(),
        client_id: CLIENT.into(),
        client_secret: Some(Hidden::new("the secret".into())),
        title: Some("Acme".into()),
    }
}

fn sealed() -> Option<SealedValue> {
    Some(SealedValue { sealed: "sealed".into(), key: "key".into() })
}

fn set(
    house: &House,
    name: &str,
    wanted: &SetIdentityProvider,
    secret: Option<SealedValue>,
) -> Result<IdentityProvider, crate::PeopleError> {
    let id = IdentityProviderId(Ulid(900 + u128::from(name.as_bytes()[0])));
    let (txn, provider) =
        set_provider(&*house.view(), &house.root(), &name.parse().unwrap(), wanted, id, secret)?;
    house.store.commit_now(txn).unwrap();
    Ok(house.view().find::<IdentityProviderSpec>(provider.id).unwrap().unwrap())
}

impl World {
    fn new() -> World {
        let house = House::new();
        let provider = set(&house, "acme", &wanted(), sealed()).unwrap();
        let wanted = CreateUser { name: "ada".parse().unwrap(), full_name: None, bindings: vec![] };
        let (txn, made) = create_user(&*house.view(), &house.root(), &wanted).unwrap();
        house.store.commit_now(txn).unwrap();
        let shown = TokenHash::of(made.invite.expose());
        let hashed = hash_password("four words of ours");
        let (txn, _) =
            session::accept_invite(&*house.view(), &shown, &hashed, &Origin::default(), house.now).unwrap();
        house.store.commit_now(txn).unwrap();
        let key = Key::new("one");
        let acme = Acme {
            discovery: json!({
                "issuer": ISSUER, "authorization_endpoint": format!("{ISSUER}/auth"),
                "token_endpoint": format!("{ISSUER}/token"), "jwks_uri": format!("{ISSUER}/keys"),
                "response_types_supported": ["code"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256", "ES256"],
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": true,
            }),
            keys: vec![key.jwk()],
            token: Err(json!({ "error": "invalid_grant" })),
            away: false,
            asked: vec![],
        };
        let acme = Arc::new(Mutex::new(acme));
        let relying = Relying::new(Arc::new(Wire(acme.clone())));
        let client = Client {
            provider,
            secret: Hidden::new("the secret".into()),
            house: "https://home.example".parse::<PublicUrl>().unwrap(),
        };
        World { house, acme, key, relying, client, ada: made.user.id }
    }

    fn go(&self, what: &Errand) -> Ticket {
        let (txn, ticket) = go(
            &*self.house.view(),
            &self.client.provider,
            what,
            "/account",
            &Origin::default(),
            self.house.now,
        )
        .unwrap();
        let kept = serde_json::to_string(&txn).unwrap();
        for secret in [ticket.text().expose(), &ticket.state(), &ticket.nonce(), ticket.verifier().expose()] {
            assert!(!kept.contains(secret), "a secret of the errand is kept");
        }
        self.house.store.commit_now(txn).unwrap();
        ticket
    }

    fn claims(&self, ticket: &Ticket) -> Value {
        let now = self.house.now.as_second();
        json!({ "iss": ISSUER, "sub": "1234", "aud": CLIENT, "iat": now, "exp": now + 300,
            "nonce": ticket.nonce(), "preferred_username": "ada@acme" })
    }

    fn answers(&self, token: String) {
        self.acme.lock().unwrap().token = Ok(token);
    }

    async fn came(&self, ticket: &Ticket) -> Result<Proved, RelyingError> {
        self.relying.who_came(&self.client, ticket, &code(), self.house.now).await
    }

    /// Comes back with these claims, signed.
    async fn told(&self, change: impl FnOnce(&mut Value)) -> Result<Proved, RelyingError> {
        let ticket = self.go(&Errand::SignIn);
        let mut claims = self.claims(&ticket);
        change(&mut claims);
        self.answers(self.key.sign(&claims));
        self.came(&ticket).await
    }

    async fn proved(&self) -> Proved {
        self.told(|_| ()).await.unwrap()
    }

    /// A session of ada's, in which she links who came.
    fn link(&self, proved: &Proved) -> Result<(), crate::PeopleError> {
        let opened = self.by_password();
        let who = (self.ada, opened.summary.id);
        let txn = link(&*self.house.view(), proved, who, &Origin::default(), self.house.now)?;
        self.house.store.commit_now(txn).unwrap();
        Ok(())
    }

    fn by_password(&self) -> Opened {
        let (txn, opened) =
            session::sign_in(&*self.house.view(), &self.user(), &Origin::default(), self.house.now).unwrap();
        self.house.store.commit_now(txn).unwrap();
        opened
    }

    fn user(&self) -> User {
        self.house.view().find::<UserSpec>(self.ada).unwrap().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut User)) {
        let mut user = self.user();
        change(&mut user);
        self.house.commit(|txn| {
            txn.put_spec(&user).put_status(&user);
        });
    }

    fn enter(&self, proved: &Proved) -> Result<Entered, crate::PeopleError> {
        sign_in_with(&*self.house.view(), proved, &Origin::default(), self.house.now)
    }

    fn sessions(&self) -> Vec<freehold_model::Session> {
        self.house.view().all::<SessionSpec>(None).unwrap()
    }
}

fn code() -> Answered {
    Answered { code: Some(Hidden::new("a code".into())), error: None, iss: Some(ISSUER.into()) }
}

#[tokio::test]
async fn who_linked_an_identity_signs_in_with_it() {
    let world = World::new();
    let ticket = world.go(&Errand::SignIn);
    let way = world.relying.way_there(&world.client, &ticket, world.house.now).await.unwrap();
    let url = openidconnect::url::Url::parse(&way).unwrap();
    let query =
        |name: &str| url.query_pairs().find(|(it, _)| it == name).map(|(_, value)| value.into_owned());
    assert!(way.starts_with("https://sso.example/auth?"), "{way}");
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile"),
        ("code_challenge_method", "S256"),
        ("state", &ticket.state()),
        ("nonce", &ticket.nonce()),
    ] {
        assert_eq!(query(name).as_deref(), Some(value), "{name}");
    }
    assert!(!way.contains(ticket.verifier().expose()), "the verifier is for the provider's ears alone");
    let proved = world.proved().await;
    assert_eq!((proved.issuer.as_str(), proved.subject.as_str()), (ISSUER, "1234"));
    assert_eq!(proved.shown.as_deref(), Some("ada@acme"));
    let sent = world.acme.lock().unwrap().asked.last().unwrap().1.clone();
    assert!(sent.contains("code_verifier=") && !sent.contains("client_secret"), "Basic, with PKCE: {sent}");

    assert!(matches!(world.enter(&proved).unwrap(), Entered::Stranger), "a stranger comes in");
    world.link(&proved).unwrap();
    let Entered::Opened(entered) = world.enter(&proved).unwrap() else { panic!("they linked it") };
    let (txn, opened) = *entered;
    let audit = serde_json::to_string(&txn.events).unwrap();
    assert!(audit.contains("session.opened") && audit.contains("provider acme"), "{audit}");
    world.house.store.commit_now(txn).unwrap();
    let shown = TokenHash::of(opened.secret.expose());
    let who = authenticate(&*world.house.view(), &shown, world.house.now).unwrap().unwrap();
    assert_eq!(who.name, "ada");
}

#[tokio::test]
async fn what_comes_back_is_taken_once_by_the_browser_that_went() {
    let world = World::new();
    let ticket = world.go(&Errand::SignIn);
    let (state, cookie) = (ticket.state(), ticket.text());
    let back = |provider: &str, cookie: Option<&str>, state: &str, now: Timestamp| {
        come_back(&*world.house.view(), provider, cookie, state, "req", now)
    };
    let (now, mine) = (world.house.now, Some(cookie.expose()));
    let other = world.go(&Errand::SignIn);
    for (what, provider, cookie, state, at) in [
        ("a wrong state", "acme", mine, "wrong", now),
        ("no state", "acme", mine, "", now),
        ("no cookie", "acme", None, state.as_str(), now),
        ("another browser", "acme", Some(other.text().expose()), state.as_str(), now),
        ("another's state", "acme", mine, &other.state(), now),
        ("the other provider", "acme2", mine, state.as_str(), now),
        ("too late", "acme", mine, state.as_str(), now + ERRAND),
    ] {
        assert!(back(provider, cookie, state, at).is_err(), "{what} is taken");
    }
    let shown = TokenHash::of(cookie.expose());
    assert!(authenticate(&*world.house.view(), &shown, now).unwrap().is_none(), "a ticket lets in");
    let (txn, returned) = back("acme", mine, &state, now).unwrap();
    let (again, _) = back("acme", mine, &state, now).unwrap();
    assert_eq!(returned.next, "/account");
    assert_eq!(returned.ticket.nonce(), ticket.nonce());
    world.house.store.commit_now(txn).unwrap();
    assert!(world.house.store.commit_now(again).is_err(), "two at once are both taken");
    assert!(back("acme", mine, &state, now).is_err(), "it is taken twice");
}

#[tokio::test]
async fn tokens_that_are_not_for_this_sign_in_are_not_believed() {
    let world = World::new();
    let past = world.house.now.as_second() - 31;
    let cases: [Case; 12] = [
        ("wrong nonce", &|it| it["nonce"] = "another".into()),
        ("no nonce", &|it| drop(it.as_object_mut().unwrap().remove("nonce"))),
        ("wrong aud", &|it| it["aud"] = "another".into()),
        ("two audiences", &|it| it["aud"] = json!([CLIENT, "another"])),
        ("no aud", &|it| drop(it.as_object_mut().unwrap().remove("aud"))),
        ("wrong azp", &|it| it["azp"] = "another".into()),
        ("wrong iss", &|it| it["iss"] = "https://evil.example".into()),
        ("iss with a slash", &|it| it["iss"] = format!("{ISSUER}/").into()),
        ("expired", &|it| it["exp"] = past.into()),
        ("no exp", &|it| drop(it.as_object_mut().unwrap().remove("exp"))),
        ("no subject", &|it| it["sub"] = "".into()),
        ("a long subject", &|it| it["sub"] = "x".repeat(256).into()),
    ];
    for (what, change) in cases {
        let answer = world.told(change).await;
        assert!(
            matches!(answer, Err(RelyingError::Doubted(_) | RelyingError::Published(_))),
            "{what}: {answer:?}"
        );
        assert!(!format!("{answer:?}").contains("1234"), "{what}: it repeats the token");
    }
    assert!(world.told(|it| it["azp"] = CLIENT.into()).await.is_ok());
}

#[tokio::test]
async fn only_the_providers_own_signature_counts() {
    let world = World::new();
    let ticket = world.go(&Errand::SignIn);
    let claims = world.claims(&ticket);
    let good = world.key.sign(&claims);
    let hmac = |key: &[u8], kid: Value| {
        let text = unsigned(&json!({ "alg": "HS256", "kid": kid, "typ": "JWT" }), &claims);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, text.as_bytes())))
    };
    let public = world.key.jwk();
    let point = world.key.pair.public_key().as_ref().to_vec();
    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let mut other = claims.clone();
    other["sub"] = "5678".into();
    let forged = URL_SAFE_NO_PAD.encode(other.to_string());
    for (what, token) in [
        ("another's key under the same name", Key::new("one").sign(&claims)),
        ("a changed body", format!("{head}.{forged}.{signature}")),
        ("no signature", format!("{head}.{body}.")),
        ("alg none", unsigned(&json!({ "alg": "none" }), &claims) + "."),
        ("alg none with a kid", unsigned(&json!({ "alg": "none", "kid": "one" }), &claims) + "."),
        ("HS256 with the public point", hmac(&point, "one".into())),
        ("HS256 with the public key's text", hmac(public.to_string().as_bytes(), "one".into())),
        ("HS256 with the client's secret", hmac(b"the secret", Value::Null)),
        ("RS256 with an EC key", {
            let text = unsigned(&json!({ "alg": "RS256", "kid": "one" }), &claims);
            format!("{text}.{signature}")
        }),
        ("something else", "not.a.token".into()),
    ] {
        world.answers(token);
        let answer = world.came(&ticket).await;
        assert!(
            matches!(answer, Err(RelyingError::Doubted(_) | RelyingError::Published(_))),
            "{what}: {answer:?}"
        );
    }
    world.answers(good);
    assert!(world.came(&ticket).await.is_ok());
}

#[tokio::test]
async fn a_new_key_is_fetched_once_and_an_unknown_one_not_for_every_token() {
    let mut world = World::new();
    world.proved().await;
    world.key = Key::new("two");
    world.acme.lock().unwrap().keys.push(world.key.jwk());
    world.proved().await;
    let fetched =
        || world.acme.lock().unwrap().asked.iter().filter(|(url, _)| url.ends_with("/keys")).count();
    assert_eq!(fetched(), 2, "at first, and for the new key");
    let stranger = Key::new("three");
    for _ in 0..5 {
        let ticket = world.go(&Errand::SignIn);
        world.answers(stranger.sign(&world.claims(&ticket)));
        assert!(matches!(world.came(&ticket).await, Err(RelyingError::Doubted(_))));
    }
    assert_eq!(fetched(), 2, "unknown keys have it asked without end");
}

#[tokio::test]
async fn an_answer_of_somebody_else_and_refusals_come_to_nothing() {
    let world = World::new();
    let ticket = world.go(&Errand::SignIn);
    world.answers(world.key.sign(&world.claims(&ticket)));
    let ask = async |answered: Answered| {
        world.relying.who_came(&world.client, &ticket, &answered, world.house.now).await.unwrap_err()
    };
    let iss = |iss: Option<&str>| Answered { iss: iss.map(str::to_owned), ..code() };
    assert_eq!(ask(iss(Some("https://evil.example"))).await, RelyingError::OtherIssuer);
    assert_eq!(ask(iss(None)).await, RelyingError::OtherIssuer, "it always says it (RFC 9207)");
    let said = |error: &str| Answered { code: None, error: Some(error.into()), ..code() };
    assert_eq!(ask(said("access_denied")).await, RelyingError::Denied);
    assert_eq!(ask(said("<script>")).await, RelyingError::Answered("an unknown error".into()));
    assert!(matches!(ask(Answered { code: None, ..code() }).await, RelyingError::Answered(_)));
    world.acme.lock().unwrap().token = Err(json!({ "error": "invalid_client" }));
    assert_eq!(ask(code()).await, RelyingError::Refused("invalid_client".into()));
    // Where it does not say that it names itself, it need not, but what it says must be right.
    let world = World::new();
    world.acme.lock().unwrap().discovery["authorization_response_iss_parameter_supported"] = false.into();
    let ticket = world.go(&Errand::SignIn);
    world.answers(world.key.sign(&world.claims(&ticket)));
    let ask = async |iss: Option<&str>| {
        let answered = Answered { iss: iss.map(str::to_owned), ..code() };
        world.relying.who_came(&world.client, &ticket, &answered, world.house.now).await
    };
    assert!(ask(None).await.is_ok());
    assert_eq!(ask(Some("https://evil.example")).await, Err(RelyingError::OtherIssuer));
}

#[tokio::test]
async fn what_is_published_must_be_that_issuers_and_safe_to_ask() {
    let changes: [Case; 5] = [
        ("another issuer", &|it| it["issuer"] = "https://evil.example".into()),
        ("plain http", &|it| it["token_endpoint"] = "http://sso.example/token".into()),
        ("this machine", &|it| it["jwks_uri"] = "http://127.0.0.1:1/keys".into()),
        ("plain http for people", &|it| it["authorization_endpoint"] = "http://sso.example/auth".into()),
        ("no keys", &|it| drop(it.as_object_mut().unwrap().remove("jwks_uri"))),
    ];
    for (what, change) in changes {
        let world = World::new();
        change(&mut world.acme.lock().unwrap().discovery);
        let ticket = world.go(&Errand::SignIn);
        let asked = world.relying.way_there(&world.client, &ticket, world.house.now).await;
        // The token endpoint is looked at when it is asked.
        let asked =
            if what == "plain http" { world.came(&ticket).await.map(|_| String::new()) } else { asked };
        let refused = matches!(
            asked,
            Err(RelyingError::Published(_) | RelyingError::Fetch(FetchError::Address { .. }))
        );
        assert!(refused, "{what}: {asked:?}");
    }
}

#[tokio::test]
async fn a_provider_that_is_away_is_not_asked_for_everybody() {
    let world = World::new();
    world.acme.lock().unwrap().away = true;
    let ticket = world.go(&Errand::SignIn);
    for _ in 0..10 {
        let answer = world.relying.way_there(&world.client, &ticket, world.house.now).await;
        assert!(matches!(answer, Err(RelyingError::Fetch(_))));
    }
    assert_eq!(world.acme.lock().unwrap().asked.len(), 1);
    world.acme.lock().unwrap().away = false;
    let later = world.house.now + SignedDuration::from_secs(5);
    assert!(world.relying.way_there(&world.client, &ticket, later).await.is_ok());
}

#[tokio::test]
async fn accounts_that_take_no_sign_ins_take_none_of_these_either() {
    let world = World::new();
    let proved = world.proved().await;
    world.link(&proved).unwrap();
    let before = world.sessions().len();
    world.change(|user| user.status.locked_until = Some(world.house.now + SignedDuration::from_secs(1)));
    assert!(world.enter(&proved).is_err(), "a locked account opens");
    world.change(|user| {
        user.status.locked_until = None;
        user.spec.disabled = true;
    });
    assert!(world.enter(&proved).is_err(), "a disabled account opens");
    world.change(|user| {
        user.spec.disabled = false;
        user.spec.second_factor = Some(SecondFactor {
            sealed: "x".into(),
            key: "x".into(),
            since: Some(world.house.now),
            last_step: 0,
            recovery: vec![],
        });
    });
    let Entered::Opened(entered) = world.enter(&proved).unwrap() else { panic!() };
    assert!(entered.1.half, "the second factor is passed by");
    let (txn, ()) = crate::delete_user(&*world.house.view(), &world.house.root(), world.ada).unwrap();
    world.house.store.commit_now(txn).unwrap();
    assert!(matches!(world.enter(&proved).unwrap(), Entered::Stranger), "who is gone comes in");
    assert!(world.sessions().len() <= before);
}

#[tokio::test]
async fn an_identity_is_one_persons_and_the_last_way_in_stays() {
    let world = World::new();
    let proved = world.proved().await;
    world.link(&proved).unwrap();
    assert!(world.link(&proved).is_err(), "it is linked twice");
    let wanted = CreateUser { name: "bob".parse().unwrap(), full_name: None, bindings: vec![] };
    let (txn, bob) = create_user(&*world.house.view(), &world.house.root(), &wanted).unwrap();
    world.house.store.commit_now(txn).unwrap();
    let (view, invite) = (world.house.view(), TokenHash::of(bob.invite.expose()));
    assert!(accept_invite_with(&*view, &proved, &invite, &Origin::default(), world.house.now).is_err());
    let theirs = Proved { subject: "5678".into(), ..proved.clone() };
    let (txn, opened) =
        accept_invite_with(&*view, &theirs, &invite, &Origin::default(), world.house.now).unwrap();
    world.house.store.commit_now(txn).unwrap();
    assert!(!opened.half && opened.summary.by.as_deref() == Some("provider acme"));
    assert!(
        accept_invite_with(&*world.house.view(), &theirs, &invite, &Origin::default(), world.house.now)
            .is_err(),
        "an invite is good twice"
    );
    let key = linked_key(ISSUER, "5678");
    assert!(unlink(&*world.house.view(), bob.user.id, &key, "req").is_err(), "the last way in is given up");
    assert!(unlink(&*world.house.view(), world.ada, &key, "req").is_err(), "another's is given up");
    let root = world.house.root();
    assert!(remove_provider(&*world.house.view(), &root, "acme", false).is_err(), "bob is left outside");
    let moved = SetIdentityProvider { issuer: "https://new.example".into(), ..self::wanted() };
    assert!(set(&world.house, "acme", &moved, sealed()).is_err(), "bob is left outside");
    let mine = linked_key(ISSUER, "1234");
    let txn = unlink(&*world.house.view(), world.ada, &mine, "req").unwrap();
    world.house.store.commit_now(txn).unwrap();
    assert!(matches!(world.enter(&proved).unwrap(), Entered::Stranger), "unlinked, it still opens");
    world.go(&Errand::SignIn);
    let (txn, ()) = remove_provider(&*world.house.view(), &root, "acme", true).unwrap();
    world.house.store.commit_now(txn).unwrap();
    assert!(world.sessions().iter().all(|it| it.spec.waits.is_none()), "errands outlive their provider");
}

#[tokio::test]
async fn another_invite_gives_up_every_older_way_in() {
    let world = World::new();
    let proved = world.proved().await;
    world.link(&proved).unwrap();
    let invited = |world: &World| {
        let (txn, invited) =
            crate::invite_user(&*world.house.view(), &world.house.root(), world.ada).unwrap();
        world.house.store.commit_now(txn).unwrap();
        TokenHash::of(invited.invite.expose())
    };
    // The same identity again, and no password any more.
    let invite = invited(&world);
    let (txn, _) =
        accept_invite_with(&*world.house.view(), &proved, &invite, &Origin::default(), world.house.now)
            .unwrap();
    world.house.store.commit_now(txn).unwrap();
    assert!(world.user().spec.password.is_none() && world.user().spec.linked.len() == 1);
    assert!(matches!(world.enter(&proved).unwrap(), Entered::Opened(_)));
    let (invite, hashed) = (invited(&world), hash_password("four other words"));
    let (txn, _) =
        session::accept_invite(&*world.house.view(), &invite, &hashed, &Origin::default(), world.house.now)
            .unwrap();
    world.house.store.commit_now(txn).unwrap();
    assert!(matches!(world.enter(&proved).unwrap(), Entered::Stranger), "a link survives a new start");
}

#[test]
fn providers_are_checked_and_an_old_secret_goes_to_no_new_issuer() {
    let house = House::new();
    assert!(set(&house, "acme", &wanted(), None).is_err(), "without a secret");
    set(&house, "acme", &wanted(), sealed()).unwrap();
    let kept = set(&house, "acme", &SetIdentityProvider { title: None, ..wanted() }, None).unwrap();
    assert_eq!(kept.spec.secret, sealed());
    assert_eq!(title(&kept), "acme");
    assert!(set(&house, "other", &wanted(), sealed()).is_err(), "one issuer is set twice");
    let moved = |issuer: &str| SetIdentityProvider { issuer: issuer.into(), ..wanted() };
    assert!(set(&house, "acme", &moved("https://new.example"), None).is_err(), "the secret goes elsewhere");
    assert!(set(&house, "acme", &moved("http://new.example"), sealed()).is_err());
    set(&house, "acme", &moved("https://new.example"), sealed()).unwrap();
    set(&house, "other", &wanted(), sealed()).unwrap();
    let asker = Asker { now: house.now, ..house.root() };
    let (txn, ()) = remove_provider(&*house.view(), &asker, "acme", false).unwrap();
    house.store.commit_now(txn).unwrap();
    let names: Vec<_> = providers(&*house.view()).unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["other"]);
}

#[test]
fn what_strangers_begin_is_bounded_and_does_not_stay() {
    let world = World::new();
    let begin = |now| {
        let view = world.house.view();
        go(&*view, &world.client.provider, &Errand::SignIn, "/", &Origin::default(), now)
    };
    while let Ok((txn, _)) = begin(world.house.now) {
        world.house.store.commit_now(txn).unwrap();
        assert!(world.sessions().len() <= 600, "without end");
    }
    let (txn, _) = begin(world.house.now + ERRAND).expect("old ones make room");
    world.house.store.commit_now(txn).unwrap();
    assert!(world.sessions().iter().filter(|it| it.spec.waits.is_some()).count() == 1);
}

#[tokio::test]
async fn a_check_says_what_is_wrong() {
    let world = World::new();
    let house: PublicUrl = "https://home.example".parse().unwrap();
    let check = async |house: Option<&PublicUrl>| {
        world.relying.check(&world.client.provider, Hidden::new("the secret".into()), house).await
    };
    let found = check(Some(&house)).await;
    assert!(found.good && found.keys == 1, "{found:?}");
    assert!(check(None).await.problems[0].contains("--public-url"));
    world.acme.lock().unwrap().token = Err(json!({ "error": "invalid_client" }));
    assert!(check(Some(&house)).await.problems[0].contains("secret is another"));
    world.acme.lock().unwrap().discovery["id_token_signing_alg_values_supported"] = json!(["HS256"]);
    world.acme.lock().unwrap().discovery["code_challenge_methods_supported"] = json!(["plain"]);
    let problems = check(Some(&house)).await.problems.join("\n");
    assert!(problems.contains("no algorithm") && problems.contains("S256"), "{problems}");
    world.acme.lock().unwrap().away = true;
    assert!(check(Some(&house)).await.problems[0].contains("cannot be reached"));
}
