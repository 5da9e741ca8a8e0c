//! Users and sessions by HTTP: invites, passwords, cookies, and everything that is refused.

use crate::world::{World, bytes};
use axum::{
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use serde_json::{Value, json};

const PASSWORD: &str = "four words of ours";

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

async fn ask(world: &World, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { body.to_string().into() };
    let response = world.send(request.body(body).unwrap()).await;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = serde_json::from_slice(&bytes(response).await).unwrap_or_default();
    Answer { status, headers, body }
}

/// A user who has taken their invite; their id and their token.
async fn user(world: &World, name: &str, role: &str) -> (String, String) {
    let wanted = json!({ "name": name, "bindings": [{ "role": role }] });
    let (status, made) = world.post("/v1/users", &wanted).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let accept = json!({ "invite": made["invite"], "password": PASSWORD });
    let taken = ask(world, "POST", "/v1/invites", &[], accept).await;
    assert_eq!(taken.status, StatusCode::CREATED, "{}", taken.body);
    let id = made["user"]["id"].as_str().unwrap().to_owned();
    (id, taken.body["token"].as_str().unwrap().to_owned())
}

async fn sign_in(world: &World, name: &str, password: &str, headers: &[(&str, &str)]) -> Answer {
    let wanted = json!({ "user": name, "password": password });
    ask(world, "POST", "/v1/session", headers, wanted).await
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test]
async fn a_person_is_invited_signs_in_and_out_and_no_route_says_what_they_know() {
    let world = World::new();
    world.tree();
    let (id, first) = user(&world, "ada", "developer").await;
    let signed_in = sign_in(&world, "ada", PASSWORD, &[("user-agent", "test/1")]).await;
    assert_eq!(signed_in.status, StatusCode::CREATED, "{}", signed_in.body);
    let token = signed_in.body["token"].as_str().unwrap().to_owned();
    let auth = bearer(&token);
    let me = ask(&world, "GET", "/v1/whoami", &[("authorization", &auth)], Value::Null).await;
    assert_eq!(me.body["actor"], json!({ "type": "user", "name": "ada" }));
    let sessions = ask(&world, "GET", "/v1/sessions", &[("authorization", &auth)], Value::Null).await;
    assert_eq!(sessions.body.as_array().unwrap().len(), 2, "{}", sessions.body);
    assert_eq!(sessions.body[1]["program"], "test/1");
    for path in [
        "/v1/resources?kind=user",
        "/v1/resources?kind=session",
        "/v1/users",
        "/v1/sessions?everybody=true",
        "/v1/events",
        &format!("/v1/resources/{id}/description"),
    ] {
        let (status, said) = world.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let said = said.to_string();
        for secret in ["argon2", "\"hash\":\"", "\"invite\"", &token[3..], &first[3..], PASSWORD] {
            let events = path == "/v1/events" || path.ends_with("/description");
            let chained = events && secret.contains("hash");
            assert!(chained || !said.contains(secret), "{path} says {secret}: {said}");
        }
    }
    let out = ask(&world, "DELETE", "/v1/session", &[("authorization", &auth)], Value::Null).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    let gone = ask(&world, "GET", "/v1/whoami", &[("authorization", &auth)], Value::Null).await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
    // The other one is ended by an admin, and with the user all end.
    let auth = bearer(&first);
    let me = ask(&world, "GET", "/v1/session", &[("authorization", &auth)], Value::Null).await;
    let path = format!("/v1/sessions/{}", me.body["session"]["id"].as_str().unwrap());
    let other = sign_in(&world, "ada", PASSWORD, &[]).await.body["token"].as_str().unwrap().to_owned();
    let delete = |path: String| world.send(world.request("DELETE", &path).body(Body::empty()).unwrap());
    assert_eq!(delete(path).await.status(), StatusCode::NO_CONTENT);
    let gone = ask(&world, "GET", "/v1/whoami", &[("authorization", &auth)], Value::Null).await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
    assert_eq!(delete(format!("/v1/users/{id}")).await.status(), StatusCode::NO_CONTENT);
    let gone = ask(&world, "GET", "/v1/whoami", &[("authorization", &bearer(&other))], Value::Null).await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_wrong_password_an_unknown_name_and_a_locked_account_are_answered_alike_at_one_cost() {
    let world = World::new();
    world.tree();
    let (id, _) = user(&world, "ada", "viewer").await;
    user(&world, "bob", "viewer").await;
    let cost = async |name: &str, password: &str| {
        let before = freehold_identity::verified();
        let answer = sign_in(&world, name, password, &[]).await;
        (answer.status, answer.body, freehold_identity::verified() - before)
    };
    let wrong = cost("ada", "wrong wrong wrong").await;
    let unknown = cost("nobody", "wrong wrong wrong").await;
    assert_eq!(wrong, unknown);
    assert_eq!((wrong.0, wrong.2), (StatusCode::UNAUTHORIZED, 1));
    for _ in 0..4 {
        cost("ada", "wrong wrong wrong").await;
    }
    assert_eq!(cost("ada", PASSWORD).await, wrong, "a locked account tells itself apart");
    let (_, users) = world.get("/v1/users").await;
    assert_eq!(users[0]["state"], "locked");
    // Further tries write nothing.
    let head = world.head();
    cost("ada", "wrong wrong wrong").await;
    cost("nobody", "wrong wrong wrong").await;
    assert_eq!(world.head(), head);
    let (_, events) = world.get(&format!("/v1/events?subject={id}")).await;
    let whats = events.to_string();
    assert_eq!(whats.matches("user.sign_in_refused").count(), 5, "{whats}");
    assert!(whats.contains("user.locked"));
    let (status, _) = world.post(&format!("/v1/users/{id}/unlock"), &json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(cost("ada", PASSWORD).await.0, StatusCode::CREATED);
    // An address that goes on is not even listened to; nothing is verified for it.
    for _ in 0..20 {
        cost("nobody", "x").await;
    }
    let (status, problem, cost) = cost("bob", PASSWORD).await;
    assert_eq!((status, cost), (StatusCode::TOO_MANY_REQUESTS, 0), "{problem}");
}

/// Behind TLS no other site of the domain, and nobody on a plain connection, plants a session: only this very host
/// sets a cookie of such a name, and no other name counts.
#[tokio::test]
async fn behind_tls_a_cookie_is_this_hosts_alone() {
    let world = World::new();
    world.tree();
    user(&world, "ada", "developer").await;
    let wanted = json!({ "user": "ada", "password": PASSWORD, "cookie": true });
    let tls = ("x-forwarded-proto", "https");
    let signed_in = ask(&world, "POST", "/v1/session", &[tls], wanted).await;
    let set = signed_in.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.starts_with("__Host-freehold_session="), "{set}");
    assert!(set.contains("; Path=/;") && !set.contains("Domain"), "{set}");
    assert_eq!(set.matches("; Secure").count(), 1, "{set}");
    let cookie = set.split(';').next().unwrap().to_owned();
    let whoami =
        async |headers: &[(&str, &str)]| ask(&world, "GET", "/v1/whoami", headers, Value::Null).await.status;
    assert_eq!(whoami(&[("cookie", &cookie), tls]).await, StatusCode::OK);
    let planted = cookie.trim_start_matches("__Host-");
    assert_eq!(whoami(&[("cookie", planted), tls]).await, StatusCode::UNAUTHORIZED);
    let both = format!("{planted}; {cookie}");
    assert_eq!(
        whoami(&[("cookie", &both), tls]).await,
        StatusCode::OK,
        "a planted one shuts out the real one"
    );
    let csrf = signed_in.body["csrf"].as_str().unwrap().to_owned();
    let out = [("cookie", cookie.as_str()), ("x-csrf-token", &csrf), tls];
    let ended = ask(&world, "DELETE", "/v1/session", &out, Value::Null).await;
    let over = ended.headers["set-cookie"].to_str().unwrap();
    assert!(
        over.starts_with("__Host-freehold_session=;")
            && over.contains("Max-Age=0; ")
            && over.contains("; Secure"),
        "{over}"
    );
}

/// What a wrong password costs does not tell whether there is such an account: only for one is there something to
/// write down, and the answer waits for longer than that takes.
#[tokio::test]
async fn the_answer_to_a_wrong_password_waits_whoever_it_is() {
    let world = World::new();
    world.tree();
    user(&world, "ada", "developer").await;
    for name in ["ada", "nobody"] {
        let wanted = json!({ "user": name, "password": "wrong wrong wrong" });
        let begun = std::time::Instant::now();
        let answer = ask(&world, "POST", "/v1/session", &[], wanted).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}: {}", answer.body);
        // A lower bound holds however busy the machine is.
        assert!(begun.elapsed() >= std::time::Duration::from_millis(30), "{name}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_cookie_is_hidden_from_scripts_and_does_nothing_without_the_csrf_token() {
    let world = World::new();
    world.tree();
    user(&world, "ada", "developer").await;
    let wanted = json!({ "user": "ada", "password": PASSWORD, "cookie": true });
    let signed_in = ask(&world, "POST", "/v1/session", &[], wanted.clone()).await;
    assert!(signed_in.body.get("token").is_none(), "{}", signed_in.body);
    let set = signed_in.headers["set-cookie"].to_str().unwrap().to_owned();
    for part in ["freehold_session=", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(set.contains(part), "{part}: {set}");
    }
    // Browsers take neither from plain http.
    assert!(!set.contains("Secure") && !set.contains("__Host-"), "{set}");
    let cookie = set.split(';').next().unwrap().to_owned();
    let csrf = signed_in.body["csrf"].as_str().unwrap().to_owned();
    let me = ask(&world, "GET", "/v1/whoami", &[("cookie", &cookie)], Value::Null).await;
    assert_eq!(me.status, StatusCode::OK);
    let body = json!({ "app": "web", "name": "KEY", "value": "eA==" });
    let set_secret = async |headers: &[(&str, &str)]| {
        ask(&world, "POST", "/v1/secrets", headers, body.clone()).await.status
    };
    assert_eq!(set_secret(&[("cookie", &cookie)]).await, StatusCode::FORBIDDEN);
    assert_eq!(set_secret(&[("cookie", &cookie), ("x-csrf-token", "0")]).await, StatusCode::FORBIDDEN);
    assert_eq!(set_secret(&[("cookie", &cookie), ("x-csrf-token", &csrf)]).await, StatusCode::OK);
    let foreign = [
        ("cookie", cookie.as_str()),
        ("x-csrf-token", &csrf),
        ("origin", "http://evil.example"),
        ("host", "h"),
    ];
    assert_eq!(set_secret(&foreign).await, StatusCode::FORBIDDEN);
    // Two of them, or two authorizations, are nobody's.
    let twice = format!("{cookie}; {cookie}");
    assert_eq!(
        ask(&world, "GET", "/v1/whoami", &[("cookie", &twice)], Value::Null).await.status,
        StatusCode::UNAUTHORIZED
    );
    let root = bearer(world.token.reveal());
    let two = [("authorization", root.as_str()), ("authorization", &root)];
    assert_eq!(ask(&world, "GET", "/v1/whoami", &two, Value::Null).await.status, StatusCode::UNAUTHORIZED);
    // A token is no cookie.
    let planted = format!("freehold_session={}", world.token.reveal());
    assert_eq!(
        ask(&world, "GET", "/v1/whoami", &[("cookie", &planted)], Value::Null).await.status,
        StatusCode::UNAUTHORIZED
    );
    // Signing in again makes another session and ends this one.
    let again =
        ask(&world, "POST", "/v1/session", &[("cookie", &cookie), ("x-csrf-token", &csrf)], wanted).await;
    assert_eq!(again.status, StatusCode::CREATED);
    assert_ne!(again.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap(), cookie);
    assert_eq!(
        ask(&world, "GET", "/v1/whoami", &[("cookie", &cookie)], Value::Null).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn an_invite_is_good_once_and_a_password_is_no_word_of_the_name() {
    let world = World::new();
    world.tree();
    let (_, made) = world.post("/v1/users", &json!({ "name": "ada" })).await;
    let accept = |password: &str| json!({ "invite": made["invite"], "password": password });
    for bad in ["short", "ada ada ada ada"] {
        let refused = ask(&world, "POST", "/v1/invites", &[], accept(bad)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(!refused.body.to_string().contains(bad));
    }
    // An invite is no token.
    let auth = bearer(made["invite"].as_str().unwrap());
    let refused = ask(&world, "GET", "/v1/whoami", &[("authorization", &auth)], Value::Null).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&world, "POST", "/v1/invites", &[], accept(PASSWORD)).await.status, StatusCode::CREATED);
    assert_eq!(ask(&world, "POST", "/v1/invites", &[], accept(PASSWORD)).await.status, StatusCode::NOT_FOUND);
    let wrong = ask(
        &world,
        "POST",
        "/v1/session",
        &[],
        json!({ "user": "ada", "password": PASSWORD, "more": PASSWORD }),
    )
    .await;
    assert!(!wrong.body.to_string().contains(PASSWORD), "{}", wrong.body);
    let large = json!({ "user": "ada", "password": "x".repeat(3 << 20) });
    assert_eq!(ask(&world, "POST", "/v1/session", &[], large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}
