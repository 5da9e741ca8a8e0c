//! Listing, paging, selecting and describing.

use crate::world::World;
use axum::http::StatusCode;
use freehold_model::{AppSpec, Resource};
use freehold_reconcile::{Clock as _, SystemClock, SystemIds, ports::Ids as _};

#[tokio::test]
async fn pages_hold_everything_once_and_in_order() {
    let world = World::new();
    let (_, project, app, _) = world.tree();
    let mut all = vec![app.id.to_string()];
    for number in 0..9 {
        all.push(world.put(&format!("app-{number}"), Some(project.any_id()), AppSpec {}).id.to_string());
    }
    all.sort();
    assert_eq!(every_page(&world, "oldest").await, all);
    all.reverse();
    assert_eq!(every_page(&world, "newest").await, all);
}

/// The ids of all apps, three at a time.
async fn every_page(world: &World, order: &str) -> Vec<String> {
    let mut seen = vec![];
    let mut after = String::new();
    loop {
        let (status, page) = world.get(&format!("/v1/resources?kind=app&limit=3&order={order}{after}")).await;
        assert_eq!(status, StatusCode::OK);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return seen,
        }
    }
}

#[tokio::test]
async fn parent_name_and_labels_select() {
    let world = World::new();
    let (_, project, app, env) = world.tree();
    let mut labelled = Resource::new(
        SystemIds.ulid().into(),
        "other",
        Some(project.any_id()),
        AppSpec {},
        SystemClock.now(),
    );
    labelled.labels = [("tier".to_owned(), "front".to_owned()), ("team".to_owned(), "a".to_owned())].into();
    world.put_resource(&labelled);

    let names = async |query: &str| {
        let (_, page) = world.get(&format!("/v1/resources?{query}")).await;
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("kind=app&name=web").await, ["web"]);
    assert_eq!(names("kind=app&label=tier%3Dfront&label=team=a").await, ["other"]);
    assert_eq!(names("kind=app&label=tier=back").await, [""; 0]);
    assert_eq!(names(&format!("kind=env&parent={}", app.id)).await, ["prod"]);
    assert_eq!(names(&format!("kind=env&parent={}", env.id)).await, [""; 0]);
}

#[tokio::test]
async fn a_resource_is_read_and_described() {
    let world = World::new();
    let (org, project, app, env) = world.tree();
    let (status, read) = world.get(&format!("/v1/resources/{}", env.id)).await;
    assert_eq!((status, read["name"].as_str()), (StatusCode::OK, Some("prod")));

    let (_, described) = world.get(&format!("/v1/resources/{}/description", app.id)).await;
    let ids = |key: &str| -> Vec<String> {
        described[key].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("ancestors"), [org.id.to_string(), project.id.to_string()]);
    assert_eq!(ids("children"), [env.id.to_string()]);
    assert_eq!(described["events"][0]["what"], "app.created");
    assert_eq!(described["reason"], "Env prod: No release has rolled out yet.");
}

#[tokio::test]
async fn events_are_read_from_either_end() {
    let world = World::new();
    let (_, _, _, env) = world.tree();
    let seqs = async |query: &str| {
        let (_, events) = world.get(&format!("/v1/events?{query}")).await;
        events.as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(seqs("").await, [1, 2, 3, 4]);
    assert_eq!(seqs("after=1&limit=2").await, [2, 3]);
    assert_eq!(seqs("last=2").await, [4, 3]);
    assert_eq!(seqs(&format!("subject={}", env.id)).await, [4]);
    assert_eq!(seqs("after=9223372036854775807").await, [0; 0]);
}

#[tokio::test]
async fn summaries_narrow_by_name_and_say_which_names_there_are() {
    let world = World::new();
    assert_eq!(world.get("/v1/summaries").await.1.as_array().unwrap().len(), 0);
    let (_, _, _, env) = world.tree();
    let (_, all) = world.get("/v1/summaries").await;
    assert_eq!(all[0]["id"], env.id.to_string());
    assert_eq!((all[0]["project"].as_str(), all[0]["app"].as_str()), (Some("default"), Some("web")));
    assert_eq!(world.get("/v1/summaries?project=default&app=web&env=prod").await.1, all);
    let (status, problem) = world.get("/v1/summaries?app=web&env=staging").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(problem["hint"].as_str().unwrap().contains("prod"), "{problem}");
}

#[tokio::test]
async fn the_doctor_answers() {
    let (status, doctor) = World::new().get("/v1/doctor").await;
    assert_eq!((status, doctor["findings"].as_array().unwrap().len()), (StatusCode::OK, 0));
}
