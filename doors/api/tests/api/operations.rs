//! Planning and doing: what is refused and why, staleness, repetition, and callers who race.

use crate::{images, world::World};
use axum::{body::Body, http::StatusCode};
use freehold_model::{
    Bytes, Capacity, Millicores, NodeId, NodeSpec, NodeStatus, Receipt, ReceiptSpec, ReceiptStatus, Rollout,
    RolloutSpec, Txn, Verdict, manifest::Driver,
};
use freehold_reconcile::{Store as _, ViewExt as _};
use serde_json::{Value, json};

const MANIFEST: &str = r#"
schema = 1
app = "shop"
[process.web]
image = "web:1"
count = 2
cpu = "100m"
memory = "16MiB"
[[endpoint]]
process = "web"
listen = 8000
target = 80
"#;

/// A machine with room, an image, and no app yet.
pub(crate) async fn world() -> World {
    let world = World::new();
    world.tree();
    let mut node = world.put("here", None, NodeSpec::default());
    node.status = NodeStatus {
        capacity: Capacity { cpu: Millicores(4000), memory: Bytes(4 << 30) },
        drivers: vec![Driver::Container, Driver::Process],
        started: Some(node.created),
        ..NodeStatus::default()
    };
    let mut txn = Txn::new(freehold_model::Actor::Node(node.id.to_string()), "test", "req_test");
    txn.observe::<NodeSpec>(NodeId::from(node.id.0), &node.status);
    world.store.commit_now(txn).unwrap();
    images::push(&world).await;
    world
}

pub(crate) fn deploy(manifest: &str) -> Value {
    json!({"operation": "deploy", "manifest": manifest, "file": "freehold.toml"})
}

/// Posts an operation with an idempotency key.
async fn keyed(world: &World, key: &str, body: &Value) -> (StatusCode, Value) {
    let request = world.request("POST", "/v1/operations").header("content-type", "application/json");
    let request = request.header("idempotency-key", key).body(Body::from(body.to_string())).unwrap();
    crate::world::json(world.send(request).await).await
}

/// Ends every rollout well, as the reconciler would.
pub(crate) fn finish(world: &World) {
    let view = world.store.view_now();
    let rollouts: Vec<Rollout> = view.all::<RolloutSpec>(None).unwrap();
    for rollout in rollouts {
        let mut txn = Txn::new(freehold_model::Actor::System, "test", "req_test");
        let env = rollout.parent.unwrap();
        let mut stored = view.find::<freehold_model::EnvSpec>(env.try_into().unwrap()).unwrap().unwrap();
        stored.spec.release = Some(rollout.spec.release);
        let status = ReceiptStatus { verdict: Some(Verdict::Succeeded), ..ReceiptStatus::default() };
        txn.put_spec(&stored).release("rollout", env).delete(rollout.id);
        txn.observe::<ReceiptSpec>(rollout.spec.receipt, &status);
        world.store.commit_now(txn).unwrap();
    }
}

fn receipts(world: &World) -> Vec<Receipt> {
    world.store.view_now().all::<ReceiptSpec>(None).unwrap()
}

#[tokio::test]
async fn a_port_that_another_program_has_stops_the_plan() {
    let world = world().await;
    let endpoint = "\n[[endpoint]]\nprocess = \"web\"\nlisten = 9\ntarget = 8080\n";
    let wanted = deploy(&format!("{MANIFEST}{endpoint}"));
    let (_, plan) = world.post("/v1/plans", &wanted).await;
    let title = "endpoint tcp/9 cannot be opened: port 9 is taken by python3 (pid 7)";
    assert_eq!(plan["blockers"][0]["title"], title, "{plan}");
    let (status, problem) = world.post("/v1/operations", &json!({"change": wanted})).await;
    assert_eq!((status, &problem["title"]), (StatusCode::CONFLICT, &json!(title)), "{problem}");
    assert!(receipts(&world).is_empty());
}

#[tokio::test]
async fn a_plan_changes_nothing_and_can_be_applied() {
    let world = world().await;
    let head = *world.store.head().borrow();
    let (status, plan) = world.post("/v1/plans", &deploy(MANIFEST)).await;
    assert_eq!(status, StatusCode::OK, "{plan}");
    assert_eq!(plan["blockers"], json!([]));
    assert_eq!(*world.store.head().borrow(), head);

    let apply = json!({"change": deploy(MANIFEST), "plan_hash": plan["hash"]});
    let (status, receipt) = world.post("/v1/operations", &apply).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{receipt}");
    assert_eq!(receipt["kind"], "receipt");
    assert_eq!(receipt["spec"]["plan_hash"], plan["hash"]);
    assert_eq!(receipt["spec"]["actor"], json!({"type": "user", "name": "admin"}));
    let (_, summaries) = world.get("/v1/summaries?app=shop").await;
    assert_eq!(summaries[0]["receipt"], receipt["id"]);
    assert!(summaries[0]["rollout"].is_string());
}

#[tokio::test]
async fn a_plan_that_no_longer_holds_is_refused_and_told_as_it_is_now() {
    let world = world().await;
    let (_, plan) = world.post("/v1/plans", &deploy(MANIFEST)).await;
    let wider = MANIFEST.replace("count = 2", "count = 3");
    let apply = json!({"change": deploy(&wider), "plan_hash": plan["hash"]});
    let (status, problem) = world.post("/v1/operations", &apply).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("stale_plan")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("start 3"), "{problem}");
    assert!(receipts(&world).is_empty());
}

#[tokio::test]
async fn a_second_operation_waits_for_the_first() {
    let world = world().await;
    assert_eq!(
        world.post("/v1/operations", &json!({"change": deploy(MANIFEST)})).await.0,
        StatusCode::ACCEPTED
    );
    let wider = json!({"change": deploy(&MANIFEST.replace("count = 2", "count = 3"))});
    let front = receipts(&world)[0].id.to_string();
    let (_, plan) = world.post("/v1/plans", &wider["change"]).await;
    assert_eq!(plan["behind"], json!(front), "{plan}");
    let (status, second) = world.post("/v1/operations", &wider).await;
    assert_eq!((status, &second["status"]["behind"]), (StatusCode::ACCEPTED, &json!(front)), "{second}");
    let (_, third) = world.post("/v1/operations", &wider).await;
    assert_eq!(third["status"]["supersedes"], second["id"]);
    let path = |receipt: &Value| format!("/v1/receipts/{}", receipt["id"].as_str().unwrap());
    let (_, second) = world.get(&path(&second)).await;
    assert_eq!(second["status"]["verdict"], "superseded");
    let (_, why) = world.get(&format!("{}/description", path(&third).replace("receipts", "resources"))).await;
    assert!(why["reason"].as_str().unwrap().contains(&front), "{why}");
}

#[tokio::test]
async fn releases_are_compared_with_each_other_and_with_what_is_observed() {
    let world = world().await;
    world.post("/v1/operations", &json!({"change": deploy(MANIFEST)})).await;
    let (status, problem) = world.get("/v1/diffs?app=shop&to=observed").await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("not_found")), "{problem}");
    finish(&world);
    let wider = MANIFEST.replace("count = 2", "count = 3");
    world.post("/v1/operations", &json!({"change": deploy(&wider)})).await;
    finish(&world);
    let (status, diff) = world.get("/v1/diffs?app=shop&from=v1&to=2").await;
    assert_eq!(status, StatusCode::OK, "{diff}");
    assert_eq!((&diff["from"], &diff["to"]), (&json!("v1"), &json!("v2")));
    let count = json!([{"path": "count", "before": "2", "after": "3"}]);
    assert_eq!((&diff["changes"][0]["action"], &diff["changes"][0]["fields"]), (&json!("change"), &count));
    // No agent and no edge runs here: nothing of what is wanted is there.
    let (_, drift) = world.get("/v1/diffs?app=shop&to=observed").await;
    let actions: Vec<_> = drift["changes"].as_array().unwrap().iter().map(|it| &it["action"]).collect();
    assert_eq!(actions, ["remove", "remove"], "{drift}");
    for bad in ["app=shop&from=observed", "app=shop&from=v1&to=observed", "to=v1", "app=shop&from=newest"] {
        let (status, problem) = world.get(&format!("/v1/diffs?{bad}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}: {problem}");
    }
    let (_, lines) = world.get("/v1/receipts/export?app=nothing").await;
    assert_eq!(lines, Value::Null, "nothing fits");
}

#[tokio::test]
async fn a_rollback_to_an_image_that_is_gone_is_blocked_before_anything_starts() {
    let world = world().await;
    for count in [2, 3] {
        let manifest = MANIFEST.replace("count = 2", &format!("count = {count}"));
        world.post("/v1/operations", &json!({"change": deploy(&manifest)})).await;
        finish(&world);
    }
    let back = json!({"operation": "rollback", "app": "shop"});
    let (_, plan) = world.post("/v1/plans", &back).await;
    assert_eq!((&plan["release"], &plan["blockers"]), (&json!(1), &json!([])), "{plan}");
    let digest = plan["images"]["web"]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let mut files = walk(world.folder.path());
    files.retain(|path| path.file_name().is_some_and(|name| *name == *digest));
    assert!(!files.is_empty());
    files.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let (_, blocked) = world.post("/v1/plans", &back).await;
    let title = blocked["blockers"][0]["title"].as_str().unwrap();
    assert!(title.starts_with("image web:1 (") && title.ends_with("is not there any more"), "{blocked}");
    assert_ne!(blocked["hash"], plan["hash"]);
    let (status, problem) = world.post("/v1/operations", &json!({"change": back})).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
    assert_eq!(receipts(&world).len(), 2);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn what_waits_or_starts_can_be_called_off() {
    let world = world().await;
    let (_, first) = world.post("/v1/operations", &json!({"change": deploy(MANIFEST)})).await;
    let wider = json!({"change": deploy(&MANIFEST.replace("count = 2", "count = 3"))});
    let (_, second) = world.post("/v1/operations", &wider).await;
    let cancel = |receipt: &Value| format!("/v1/receipts/{}/cancel", receipt["id"].as_str().unwrap());
    let (status, second) = world.post(&cancel(&second), &json!({})).await;
    assert_eq!((status, &second["status"]["verdict"]), (StatusCode::OK, &json!("cancelled")), "{second}");
    let (status, problem) = world.post(&cancel(&second), &json!({})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("conflict")), "{problem}");
    let (status, first) = world.post(&cancel(&first), &json!({})).await;
    assert_eq!((status, &first["status"]["verdict"]), (StatusCode::ACCEPTED, &json!(null)), "{first}");
    let rollouts = world.store.view_now().all::<RolloutSpec>(None).unwrap();
    assert_eq!(rollouts[0].spec.cancelled_by, Some(freehold_model::Actor::User("admin".into())));
    let (status, _) = world.post("/v1/receipts/rcp_00000000000000000000000001/cancel", &json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

/// A key is its owner's for as long as they may do what they did with it: neither a name that is taken again nor
/// a role that is gone reads what was answered.
#[tokio::test]
async fn a_key_replays_for_its_owner_while_they_may_and_for_nobody_else() {
    let world = world().await;
    let rival = world.put("rival", None, freehold_model::OrgSpec::default());
    world.put("pb", Some(rival.any_id()), freehold_model::ProjectSpec::default());
    let token = async |name: &str, project: &str, role: &str| {
        let bindings = json!([{ "role": role, "project": project }]);
        let (status, made) = world.post("/v1/tokens", &json!({ "name": name, "bindings": bindings })).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let text = |at: &str| made.pointer(at).unwrap().as_str().unwrap().to_owned();
        (text("/token"), text("/summary/id"))
    };
    let body = json!({"change": deploy(MANIFEST)});
    let ask = async |token: &str, key: &str, body: &Value| {
        let request = axum::http::Request::post("/v1/operations").header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.header("idempotency-key", key).body(Body::from(body.to_string())).unwrap();
        crate::world::json(world.send(request).await).await
    };
    let (own, id) = token("ci", "default", "developer").await;
    let (status, receipt) = ask(&own, "deploy-42", &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{receipt}");
    assert_eq!(ask(&own, "deploy-42", &body).await.1["id"], receipt["id"]);
    let revoke = world.request("DELETE", &format!("/v1/tokens/{id}")).body(Body::empty()).unwrap();
    assert_eq!(world.send(revoke).await.status(), StatusCode::NO_CONTENT);

    // Another's, of the same name: in another org, in the same project as a viewer, and as a developer.
    let other = json!({"change": deploy(&MANIFEST.replace("count = 2", "count = 3"))});
    let (foreign, foreign_id) = token("ci", "pb", "admin").await;
    for body in [&body, &other] {
        let (status, problem) = ask(&foreign, "deploy-42", body).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
        assert!(!problem.to_string().contains("rcp_"), "{problem}");
        let (_, fresh) = ask(&foreign, "never-used", body).await;
        assert_eq!(problem, fresh, "a key that somebody used is answered otherwise");
    }
    let revoke = world.request("DELETE", &format!("/v1/tokens/{foreign_id}")).body(Body::empty()).unwrap();
    world.send(revoke).await;
    let (viewer, viewer_id) = token("ci", "default", "viewer").await;
    assert_eq!(ask(&viewer, "deploy-42", &body).await.0, StatusCode::FORBIDDEN);
    let revoke = world.request("DELETE", &format!("/v1/tokens/{viewer_id}")).body(Body::empty()).unwrap();
    world.send(revoke).await;
    let (again, _) = token("ci", "default", "developer").await;
    let (status, second) = ask(&again, "deploy-42", &other).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{second}");
    assert_ne!(second["id"], receipt["id"]);
}

#[tokio::test]
async fn the_same_key_makes_one_operation_even_when_the_world_moved_on() {
    let world = world().await;
    let body = json!({"change": deploy(MANIFEST)});
    let (status, first) = keyed(&world, "k-1", &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    // A rollout is under way: the same request under another key waits for it.
    let (status, again) = keyed(&world, "k-1", &body).await;
    assert_eq!((status, &again["id"]), (StatusCode::ACCEPTED, &first["id"]));
    let (status, second) = keyed(&world, "k-2", &body).await;
    assert_eq!((status, &second["status"]["behind"]), (StatusCode::ACCEPTED, &first["id"]));
    finish(&world);
    let (status, decided) = keyed(&world, "k-1", &body).await;
    assert_eq!((status, &decided["id"]), (StatusCode::OK, &first["id"]));
    assert_eq!(decided["status"]["verdict"], "succeeded");

    let other = json!({"change": deploy(&MANIFEST.replace("count = 2", "count = 3"))});
    let (status, problem) = keyed(&world, "k-1", &other).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(problem["title"].as_str().unwrap().contains("another request"), "{problem}");
    assert_eq!(receipts(&world).len(), 2);
}

#[tokio::test]
async fn keys_that_cannot_be_keys_are_refused() {
    let world = world().await;
    for bad in ["", "a b", &"k".repeat(256)] {
        let (status, problem) = keyed(&world, bad, &json!({"change": deploy(MANIFEST)})).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}: {problem}");
    }
    assert!(receipts(&world).is_empty());
}

#[tokio::test]
async fn of_many_callers_at_once_one_begins_one_waits_and_the_same_request_is_one() {
    let world = world().await;
    let body = json!({"change": deploy(MANIFEST)});
    let same = futures::future::join_all((0..16).map(|_| keyed(&world, "same", &body))).await;
    for (status, receipt) in &same {
        assert_eq!((*status, &receipt["id"]), (StatusCode::ACCEPTED, &same[0].1["id"]), "{receipt}");
    }
    finish(&world);
    let wider = json!({"change": deploy(&MANIFEST.replace("count = 2", "count = 3"))});
    let race = futures::future::join_all((0..16).map(|_| world.post("/v1/operations", &wider))).await;
    let accepted = race.iter().filter(|(status, _)| *status == StatusCode::ACCEPTED).count();
    let refused = race.iter().filter(|(status, _)| *status == StatusCode::CONFLICT).count();
    assert_eq!(accepted + refused, 16);
    let all = receipts(&world);
    let count = |fits: fn(&Receipt) -> bool| all.iter().filter(|receipt| fits(receipt)).count();
    let begun = count(|it| it.spec.release_number == Some(2));
    let waiting = count(|it| it.status.behind.is_some());
    let superseded = count(|it| it.status.verdict == Some(Verdict::Superseded));
    assert_eq!((begun, waiting, superseded), (1, 1, accepted - 2));
}

#[tokio::test]
async fn what_changes_nothing_is_done_at_once() {
    let world = world().await;
    let body = json!({"change": deploy(&MANIFEST.replace("count = 2", "count = 0"))});
    assert_eq!(world.post("/v1/operations", &body).await.0, StatusCode::ACCEPTED);
    finish(&world);
    // What would listen for the endpoint is put there, as the reconciler would.
    let (_, plan) = world.post("/v1/plans", &body["change"]).await;
    let (status, receipt) = world.post("/v1/operations", &body).await;
    let noop = plan["changes"].as_array().unwrap().iter().all(|change| change["action"] == "keep");
    assert!(noop, "{plan}");
    assert_eq!((status, receipt["status"]["verdict"].as_str()), (StatusCode::OK, Some("succeeded")));
}

#[tokio::test]
async fn what_cannot_be_planned_says_why_and_changes_nothing() {
    let world = world().await;
    let head = *world.store.head().borrow();
    let rows: &[(Value, u16, &str, &[&str])] = &[
        (
            deploy("schema = 1\napp = \"x\"\n[process.web]\nimag = \"web:1\"\n"),
            422,
            "invalid",
            &["freehold.toml:", "imag", "image"],
        ),
        (deploy(&MANIFEST.replace("web:1", "web:9")), 404, "not_found", &["process.web.image", "web:9"]),
        (deploy(&MANIFEST.replace("16MiB", "64GiB")), 422, "unplaceable", &["memory"]),
        (json!({"operation": "rollback", "app": "absent"}), 404, "not_found", &["absent"]),
        (json!({"operation": "remove", "app": "absent"}), 404, "not_found", &["absent"]),
        (json!({"operation": "remove", "app": "web", "project": "absent"}), 404, "not_found", &["absent"]),
        (
            json!({"operation": "remove", "app": "a'; DROP TABLE resource;--"}),
            422,
            "invalid",
            &["is not a name"],
        ),
        (
            json!({"operation": "explode", "app": "x"}),
            422,
            "invalid",
            &["unknown variant `explode`", "deploy"],
        ),
        (json!({"operation": "rollback", "app": "web", "to": -1}), 422, "invalid", &["-1"]),
        (
            json!({"operation": "rollback", "app": "web", "force": true}),
            422,
            "invalid",
            &["unknown field `force`"],
        ),
    ];
    for (change, expected, code, parts) in rows {
        let (status, problem) = world.post("/v1/operations", &json!({"change": change})).await;
        let text = problem.to_string();
        assert_eq!((status.as_u16(), problem["code"].as_str()), (*expected, Some(*code)), "{change}: {text}");
        for part in *parts {
            assert!(text.contains(part), "no `{part}` in {text}");
        }
    }
    assert_eq!(*world.store.head().borrow(), head);
}
