//! An org that asks its people for a second factor or a passkey: who has neither is kept out and told why, everywhere.

use crate::{
    authenticator::Authenticator,
    browser::{Browser, PASSWORD, house},
    passkeys::add,
    world::{World, json},
};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::{Value, json};

pub(crate) async fn require(world: &World, required: bool) -> (StatusCode, Value) {
    let (_, orgs) = world.get("/v1/resources?kind=org").await;
    let path = format!("/v1/orgs/{}/second-factor", orgs["items"][0]["id"].as_str().unwrap());
    let request = world.request("PUT", &path).header("content-type", "application/json");
    json(world.send(request.body(json!({ "required": required }).to_string().into()).unwrap()).await).await
}

#[tokio::test]
async fn who_has_neither_is_kept_out_told_why_and_let_in_again_with_a_passkey() {
    let world = house().await;
    let mut ada = Browser::new(&world);
    ada.sign_in("ada", PASSWORD, "").await;
    let (_, signed_in) = world.post("/v1/session", &json!({ "user": "ada", "password": PASSWORD })).await;
    let token = format!("Bearer {}", signed_in["token"].as_str().unwrap());
    let read = async |path: &str| {
        let request = Request::builder().uri(path).header("authorization", &token);
        json(world.send(request.body(Body::empty()).unwrap()).await).await
    };
    assert_eq!(read("/v1/summaries?project=default").await.0, StatusCode::OK);
    let (status, policy) = require(&world, true).await;
    assert_eq!((status, policy), (StatusCode::OK, json!({ "required": true, "without": ["ada"] })));
    for (path, status) in [
        ("/v1/summaries?project=default", 403),
        ("/v1/resources?kind=app", 403),
        ("/v1/resources/app_00000000000000000000000000", 404),
        ("/v1/nodes/nod_00000000000000000000000000/drain", 403),
    ] {
        let (given, problem) = read(path).await;
        assert_eq!(given, status, "{path}: {problem}");
        let hint = problem["hint"].as_str().unwrap();
        assert!(hint.contains("`home` asks for a second factor") && hint.contains("/account"), "{hint}");
    }
    let (status, who) = read("/v1/whoami").await;
    assert_eq!((status, &who["withheld"]), (StatusCode::OK, &json!(["home"])));
    let account = ada.get("/account").await;
    assert!(
        account.text.contains("<code>home</code> asks for a second factor")
            && account.text.contains("developer"),
        "{}",
        account.text
    );
    let mut phone = Authenticator::new("https://home.example", "home.example");
    add(&mut ada, &mut phone, "phone").await;
    assert_eq!(read("/v1/summaries?project=default").await.0, StatusCode::OK, "a passkey is not enough");
    assert!(!ada.get("/account").await.text.contains("asks for a second factor"));
    assert_eq!(require(&world, false).await.1["required"], false);
    let events = world.get("/v1/events").await.1.to_string();
    for what in ["org.second_factor_required", "org.second_factor_optional"] {
        assert!(events.contains(what), "{events}");
    }
}
