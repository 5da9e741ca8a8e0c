//! The provider without its routes: what each request may and may not, over a store in memory.

use super::*;
use crate::{Identity, Principal, testing::House};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_model::{
    AppId, AppSpec, Binding, EnvId, EnvSpec, GrantSpec, Manifest, ReleaseId, ReleaseSpec, Resource, Role,
    Session, SessionId, SessionSpec, Spec, User, UserId, UserSpec,
};
use freehold_reconcile::{Clock as _, MemoryStore, ViewExt as _, sim::SimClock};
use freehold_secrets::Vault;
use jiff::SignedDuration;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::Arc};
use ulid::Ulid;

const ISSUER: &str = "https://home.example";
const VERIFIER: &str = "a-verifier-of-enough-letters-0123456789-abcdef";
const CALLBACK: &str = "https://web.example/cb";

struct Provider {
    house: House,
    user: User,
    session: Session,
    env: EnvId,
}

fn put<S: Spec>(
    house: &House,
    id: S::Id,
    name: &str,
    parent: Option<freehold_model::AnyId>,
    spec: S,
) -> Resource<S> {
    let resource = Resource::new(id, name, parent, spec, house.now);
    house.commit(|txn| {
        txn.put(&resource);
    });
    house.view().find::<S>(resource.id).unwrap().unwrap()
}

/// An app of project `default` that people sign in to.
fn app(house: &House, name: &str, number: u128, sign_in: &str) -> EnvId {
    let text = format!("schema = 1\napp = \"{name}\"\n[process.web]\nimage = \"web:1\"\n{sign_in}");
    let mut manifest = Manifest::parse("freehold.toml", &text, &"prod".parse().unwrap()).unwrap();
    manifest.name_issuer(ISSUER, &format!("default.{name}.prod"));
    let (app, env, release) =
        (AppId(Ulid(100 + number)), EnvId(Ulid(200 + number)), ReleaseId(Ulid(300 + number)));
    put(house, app, name, Some(house.project.into()), AppSpec {});
    put(house, env, "prod", Some(app.into()), EnvSpec { release: Some(release), last_number: 1 });
    let hash = manifest.hash();
    let spec = ReleaseSpec { number: 1, manifest, manifest_hash: hash, templates: BTreeMap::new() };
    put(house, release, "v1", Some(env.into()), spec);
    env
}

impl Provider {
    fn new() -> Provider {
        let house = House::new();
        let sign_in = |redirect: &str| {
            format!(
                "[sign_in]\nprocess = \"web\"\nredirect = [\"{redirect}\"]\nafter_sign_out = [\"https://web.example/\"]\n"
            )
        };
        let env = app(&house, "web", 1, &sign_in(CALLBACK));
        app(&house, "other", 2, &sign_in("https://other.example/cb"));
        app(&house, "plain", 3, "");
        let binding = Binding { role: Role::Developer, org: house.org, project: Some(house.project) };
        let spec =
            UserSpec { full_name: Some("Ada L".into()), bindings: vec![binding], ..UserSpec::default() };
        let user = put(&house, UserId(Ulid(11)), "ada", None, spec);
        let expires = house.now + SignedDuration::from_hours(24);
        let spec =
            SessionSpec { hash: "x".into(), expires, address: None, program: None, by: None, waits: None };
        let session = put(&house, SessionId(Ulid(12)), "s", Some(user.id.into()), spec);
        Provider { house, user, session, env }
    }

    fn visitor(&self) -> Visitor {
        let identity = Identity::User { user: self.user.id, session: self.session.id };
        let bindings = self.user.spec.bindings.clone();
        let principal = Principal { name: "ada".into(), identity, bindings, house: Some(self.house.org) };
        Visitor { principal, session: self.session.clone() }
    }

    fn ask(&self, changes: &[(&str, &str)]) -> Asked {
        ask(&*self.house.view(), &request(changes), ISSUER).unwrap()
    }

    fn good(&self, changes: &[(&str, &str)]) -> AuthorizeRequest {
        match self.ask(changes) {
            Asked::Good(request) => *request,
            other => panic!("{other:?}"),
        }
    }

    fn way(&self, changes: &[(&str, &str)], visitor: Option<&Visitor>, after: i64) -> Way {
        let now = self.house.now + SignedDuration::from_secs(after);
        way(&*self.house.view(), &self.good(changes), visitor, now).unwrap()
    }

    fn code(&self) -> String {
        let (view, request) = (self.house.view(), self.good(&[]));
        let (txn, code) =
            issue_code(&*view, &request, &self.visitor(), "req", self.house.now).unwrap().unwrap();
        self.house.store.commit_now(txn).unwrap();
        code.expose().to_owned()
    }

    /// What the token endpoint answers, committed.
    fn exchange(&self, client: &str, pairs: &[(&str, &str)], after: i64) -> Result<Tokens, OidcError> {
        let view = self.house.view();
        let client = find_client(&*view, &format!("default.{client}.prod")).unwrap().unwrap();
        let now = self.house.now + SignedDuration::from_secs(after);
        match exchange(&*view, &client, &params(pairs), "req", now) {
            Ok(done) => {
                if !done.txn.is_empty() {
                    self.house.store.commit_now(done.txn).unwrap();
                }
                done.answer
            }
            Err(Undecided::Refused(why)) => Err(why),
            Err(other) => panic!("{other}"),
        }
    }

    fn by_code(&self, code: &str, changes: &[(&'static str, &str)]) -> Result<Tokens, OidcError> {
        let mut all = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        for (name, value) in changes {
            all.retain(|(it, _)| it != name);
            all.push((name, value));
        }
        self.exchange("web", &all, 1)
    }

    fn refresh(&self, token: &str) -> Result<Tokens, OidcError> {
        self.exchange("web", &[("grant_type", "refresh_token"), ("refresh_token", token)], 2)
    }

    fn knows(&self, tokens: &Tokens) -> bool {
        userinfo(&*self.house.view(), tokens.access.expose(), self.house.now).is_ok()
    }

    fn grants(&self) -> usize {
        self.house.view().all::<GrantSpec>(None).unwrap().len()
    }
}

fn params(pairs: &[(&str, &str)]) -> OidcParams {
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(pairs);
    OidcParams::read(text.finish().as_bytes()).unwrap()
}

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

fn request(changes: &[(&str, &str)]) -> OidcParams {
    let challenge = challenge();
    let mut all = vec![
        ("response_type", "code"),
        ("client_id", "default.web.prod"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile groups offline_access"),
        ("state", "s&t"),
        ("nonce", "n"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        all.retain(|(it, _)| it != name);
        if !value.is_empty() {
            all.push((name, value));
        }
    }
    params(&all)
}

#[test]
fn a_code_becomes_tokens_once_and_its_theft_ends_everything() {
    let provider = Provider::new();
    let code = provider.code();
    let tokens = provider.by_code(&code, &[]).unwrap();
    assert_eq!(tokens.person.sub, provider.user.id.to_string());
    assert_eq!(tokens.person.name.as_deref(), Some("Ada L"));
    assert_eq!(tokens.person.groups.as_deref(), Some(&["developer".to_owned()][..]));
    assert_eq!(tokens.nonce.as_deref(), Some("n"));
    assert!(provider.knows(&tokens));
    let again = provider.by_code(&code, &[]).unwrap_err();
    assert_eq!(again.code, "invalid_grant");
    assert!(!provider.knows(&tokens), "the access token outlives the theft of its code");
    let refresh = tokens.refresh.unwrap();
    assert_eq!(provider.refresh(refresh.expose()).unwrap_err().code, "invalid_grant");
}

#[test]
fn a_refresh_token_is_good_once_and_what_comes_of_its_reuse_ends() {
    let provider = Provider::new();
    let first = provider.by_code(&provider.code(), &[]).unwrap();
    let old = first.refresh.clone().unwrap();
    let second = provider.refresh(old.expose()).unwrap();
    assert!(second.nonce.is_none() && !provider.knows(&first) && provider.knows(&second));
    let third = provider.refresh(second.refresh.as_ref().unwrap().expose()).unwrap();
    assert_eq!(provider.refresh(old.expose()).unwrap_err().code, "invalid_grant");
    assert!(!provider.knows(&third), "the thief's or the owner's token outlives the reuse");
    assert_eq!(provider.refresh(third.refresh.unwrap().expose()).unwrap_err().code, "invalid_grant");
    assert_eq!(provider.grants(), 0);
}

#[test]
fn a_code_is_bound_to_client_redirect_verifier_and_time() {
    let provider = Provider::new();
    let code = provider.code();
    let refused = |answer: Result<Tokens, OidcError>| assert_eq!(answer.unwrap_err().code, "invalid_grant");
    refused(provider.by_code(&code, &[("redirect_uri", "https://web.example/cb2")]));
    refused(provider.by_code(&code, &[("code_verifier", &VERIFIER.to_uppercase())]));
    refused(provider.by_code(&code, &[("code_verifier", "short")]));
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    refused(provider.exchange("other", &pairs, 1));
    refused(provider.exchange("web", &pairs, CODE.as_secs()));
    let mut wrong = code.clone();
    wrong.pop();
    wrong.push(if code.ends_with('0') { '1' } else { '0' });
    refused(provider.by_code(&wrong, &[]));
    for missing in ["code", "redirect_uri", "code_verifier"] {
        let pairs: Vec<_> = pairs.iter().copied().filter(|(name, _)| *name != missing).collect();
        assert_eq!(provider.exchange("web", &pairs, 1).unwrap_err().code, "invalid_request", "{missing}");
    }
    let other = provider.exchange("web", &[("grant_type", "password")], 1).unwrap_err();
    assert_eq!(other.code, "unsupported_grant_type");
    assert!(provider.by_code(&code, &[]).is_ok(), "a wrong try spends the code");
}

/// Ends something that a sign-in depends on.
type End<'a> = &'a dyn Fn(&Provider);

#[test]
fn nothing_outlives_session_user_role_or_app() {
    let ends: [(&str, End); 5] = [
        ("session", &|it| {
            it.house.commit(|txn| {
                txn.delete(it.session.id);
            })
        }),
        ("disabled", &|it| {
            let mut user = it.house.view().find::<UserSpec>(it.user.id).unwrap().unwrap();
            user.spec.disabled = true;
            it.house.commit(|txn| {
                txn.put_spec(&user);
            });
        }),
        ("role", &|it| {
            let mut user = it.house.view().find::<UserSpec>(it.user.id).unwrap().unwrap();
            user.spec.bindings.clear();
            it.house.commit(|txn| {
                txn.put_spec(&user);
            });
        }),
        ("user", &|it| {
            it.house.commit(|txn| {
                txn.delete(it.user.id);
            })
        }),
        ("release", &|it| {
            let mut env = it.house.view().find::<EnvSpec>(it.env).unwrap().unwrap();
            env.spec.release = None;
            it.house.commit(|txn| {
                txn.put_spec(&env);
            });
        }),
    ];
    for (what, end) in ends {
        let provider = Provider::new();
        let tokens = provider.by_code(&provider.code(), &[]).unwrap();
        assert!(provider.knows(&tokens));
        end(&provider);
        assert!(!provider.knows(&tokens), "{what}");
        if what != "release" {
            assert!(provider.refresh(tokens.refresh.unwrap().expose()).is_err(), "{what}");
        } else {
            assert!(find_client(&*provider.house.view(), "default.web.prod").unwrap().is_none());
        }
    }
}

#[test]
fn what_is_not_the_clients_own_address_is_sent_nowhere() {
    let provider = Provider::new();
    for changes in [
        [("redirect_uri", "https://web.example/cb/")],
        [("redirect_uri", "https://WEB.example/cb")],
        [("redirect_uri", "https://web.example/cb?x=1")],
        [("redirect_uri", "https://other.example/cb")],
        [("redirect_uri", "")],
        [("client_id", "default.plain.prod")],
        [("client_id", "default.nobody.prod")],
        [("client_id", "../x")],
        [("client_id", "")],
    ] {
        assert!(matches!(provider.ask(&changes), Asked::Wrong(_)), "{changes:?}");
    }
    let twice = OidcParams::read(b"client_id=default.web.prod&client_id=default.web.prod").unwrap();
    assert!(matches!(ask(&*provider.house.view(), &twice, ISSUER).unwrap(), Asked::Wrong(_)));
}

#[test]
fn what_is_wrong_otherwise_is_told_to_the_client() {
    let provider = Provider::new();
    let long = "x".repeat(3000);
    for (name, value, code) in [
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "code id_token", "unsupported_response_type"),
        ("response_type", "", "invalid_request"),
        ("response_mode", "fragment", "invalid_request"),
        ("scope", "profile", "invalid_scope"),
        ("request", "x", "request_not_supported"),
        ("request_uri", "https://a/", "request_uri_not_supported"),
        ("prompt", "none login", "invalid_request"),
        ("max_age", "-1", "invalid_request"),
        ("nonce", &long, "invalid_request"),
    ] {
        let Asked::Returned(address) = provider.ask(&[(name, value)]) else { panic!("{name}={value}") };
        assert!(address.starts_with(&format!("{CALLBACK}?error={code}&")), "{name}={value}: {address}");
        assert!(address.contains("&state=s%26t&iss=https%3A%2F%2Fhome.example"), "{address}");
    }
}

#[test]
fn who_is_asked_what() {
    let provider = Provider::new();
    let visitor = provider.visitor();
    assert_eq!(provider.way(&[], None, 0), Way::SignIn);
    assert_eq!(provider.way(&[], Some(&visitor), 0), Way::Ask);
    let refused = |way: Way| match way {
        Way::Refused(why) => why.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(provider.way(&[("prompt", "none")], None, 0)), "login_required");
    assert_eq!(refused(provider.way(&[("prompt", "none")], Some(&visitor), 0)), "consent_required");
    provider.code();
    assert_eq!(provider.way(&[], Some(&visitor), 0), Way::On, "they are asked twice");
    assert_eq!(provider.way(&[("prompt", "none")], Some(&visitor), 0), Way::On);
    assert_eq!(provider.way(&[("prompt", "consent")], Some(&visitor), 0), Way::Ask);
    assert_eq!(provider.way(&[("scope", "openid email")], Some(&visitor), 0), Way::Ask, "more is asked for");
    assert_eq!(provider.way(&[("prompt", "login")], Some(&visitor), 10), Way::On);
    assert_eq!(provider.way(&[("prompt", "login")], Some(&visitor), 100), Way::SignIn);
    assert_eq!(provider.way(&[("max_age", "90")], Some(&visitor), 100), Way::SignIn);
    assert_eq!(provider.way(&[("max_age", "110")], Some(&visitor), 100), Way::On);
    let mut stranger = visitor.clone();
    stranger.principal.bindings.clear();
    assert_eq!(refused(provider.way(&[], Some(&stranger), 0)), "access_denied");
}

#[test]
fn who_signed_out_meanwhile_gets_no_code() {
    let provider = Provider::new();
    let request = provider.good(&[]);
    provider.house.commit(|txn| {
        txn.delete(provider.session.id);
    });
    let made = issue_code(&*provider.house.view(), &request, &provider.visitor(), "req", provider.house.now);
    assert!(made.unwrap().is_none());
}

#[test]
fn a_sign_out_goes_nowhere_else() {
    let provider = Provider::new();
    let tokens = provider.by_code(&provider.code(), &[]).unwrap();
    let client = find_client(&*provider.house.view(), "default.web.prod").unwrap().unwrap();
    let hint = TokenClaims::of(ISSUER, &client, &tokens, provider.house.now);
    let go = |pairs: &[(&str, &str)], hint: Option<&TokenClaims>| {
        ask_sign_out(&*provider.house.view(), &params(pairs), hint, ISSUER)
    };
    let home = ("post_logout_redirect_uri", "https://web.example/");
    let told = go(&[("id_token_hint", "x"), home, ("state", "a b")], Some(&hint)).unwrap();
    assert_eq!(told.then.as_deref(), Some("https://web.example/?state=a+b"));
    assert_eq!(told.session.as_deref(), Some(&*provider.session.id.to_string()));
    assert!(go(&[("client_id", "default.web.prod"), home], None).unwrap().session.is_none());
    assert!(go(&[home], None).is_err(), "whose address it is, nobody said");
    assert!(
        go(&[("client_id", "default.other.prod"), ("post_logout_redirect_uri", CALLBACK)], None).is_err()
    );
    assert!(go(&[("id_token_hint", "forged"), home], None).is_err());
    assert!(go(&[("id_token_hint", "x"), ("client_id", "default.other.prod")], Some(&hint)).is_err());
    let foreign = TokenClaims { iss: "https://elsewhere.example".into(), ..hint.clone() };
    assert!(go(&[("id_token_hint", "x")], Some(&foreign)).is_err());
}

#[tokio::test]
async fn keys_rotate_by_time_and_by_command_with_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SimClock::default());
    let store = Arc::new(MemoryStore::new(clock.clone()));
    let vault = Arc::new(Vault::open(&folder.path().join("k"), store.clone(), clock.clone()).unwrap());
    let signer = Signer::new(store.clone(), clock.clone(), vault.clone());
    let provider = Provider::new();
    let tokens = provider.by_code(&provider.code(), &[]).unwrap();
    let client = find_client(&*provider.house.view(), "default.web.prod").unwrap().unwrap();
    let claims = TokenClaims::of(ISSUER, &client, &tokens, provider.house.now);
    let actor = freehold_model::Actor::System;
    let signed = signer.sign(&claims).await.unwrap();
    assert_eq!(signer.verify(&signed).await.unwrap().as_ref(), Some(&claims));
    signer.rotate(&actor, "req", false).await.unwrap();
    assert_eq!(signer.summaries().await.unwrap().len(), 2);
    assert!(signer.verify(&signed).await.unwrap().is_some(), "no overlap");
    let newer = signer.sign(&claims).await.unwrap();
    // Another control plane, and another root key.
    vault.rotate_key(&actor, "req").await.unwrap();
    let other = Signer::new(store.clone(), clock.clone(), vault.clone());
    assert!(other.verify(&newer).await.unwrap().is_some());
    other.sign(&claims).await.unwrap();
    clock.set(clock.now() + OVERLAP);
    assert!(signer.verify(&signed).await.unwrap().is_none(), "it is published for ever");
    assert!(signer.verify(&newer).await.unwrap().is_some());
    let before = signer.summaries().await.unwrap();
    clock.set(clock.now() + KEY);
    let after = signer.summaries().await.unwrap();
    assert_ne!(before[0].kid, after[0].kid, "time rotates nothing");
    signer.rotate(&actor, "req", true).await.unwrap();
    assert_eq!(signer.summaries().await.unwrap().len(), 1);
    let forged = |head: &str| {
        let parts: Vec<&str> = newer.split('.').collect();
        format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(head), parts[1], parts[2])
    };
    let kid = signer.summaries().await.unwrap()[0].kid.clone();
    for head in [
        r#"{"alg":"none"}"#.to_owned(),
        format!(r#"{{"alg":"none","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#),
    ] {
        assert!(signer.verify(&forged(&head)).await.unwrap().is_none(), "{head}");
        assert!(
            signer
                .verify(&format!("{}.", forged(&head).rsplit_once('.').unwrap().0))
                .await
                .unwrap()
                .is_none()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_sent_is_answered(pairs in proptest::collection::vec((
        prop::sample::select(vec!["client_id", "redirect_uri", "scope", "state", "prompt", "code_challenge", "response_type", "max_age", "nonce"]),
        any::<String>(),
    ), 0..6)) {
        let provider = Provider::new();
        let changes: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if let Asked::Returned(address) = provider.ask(&changes) {
            prop_assert!(address.starts_with("https://web.example/cb?"), "{address}");
            prop_assert!(address.bytes().all(|c| c.is_ascii_graphic()), "{address}");
        }
        let _ = provider.exchange("web", &changes, 0);
        let _ = ask_sign_out(&*provider.house.view(), &request(&changes), None, ISSUER);
    }
}
