//! What endpoints carry: counters where endpoints are shown, and the access log.

use crate::world::{World, bytes};
use axum::{body::Body, http::StatusCode};
use freehold_model::{
    EndpointId, EndpointSpec, Resource,
    manifest::{Protocol, ProxyProtocol},
    traffic::{AccessEnd, AccessLine, EndpointTraffic},
};
use jiff::Timestamp;

fn endpoint(world: &World) -> Resource<EndpointSpec> {
    let (_, _, _, env) = world.tree();
    let spec = EndpointSpec {
        process: "web".parse().unwrap(),
        listen: 8000,
        target: 80,
        protocol: Protocol::Tcp,
        proxy_protocol: ProxyProtocol::Off,
        trusted_proxies: vec![],
        idle_timeout: None,
        max_connections: None,
    };
    world.put("tcp/8000", Some(env.any_id()), spec)
}

fn carried(endpoint: EndpointId) -> EndpointTraffic {
    EndpointTraffic {
        endpoint,
        since: Timestamp::UNIX_EPOCH,
        active: 3,
        connections: 9,
        refused: 0,
        failed: 0,
        broken: 0,
        idled: 0,
        bytes_in: 10,
        bytes_out: 20,
        bad_headers: 0,
        dropped: 0,
        unlogged: 0,
        backends: vec![],
    }
}

#[tokio::test]
async fn counters_are_read_from_the_edge_and_not_from_the_store() {
    let world = World::new();
    let id = endpoint(&world).id;
    let path = format!("/v1/endpoints/{id}/traffic");
    let (status, problem) = world.get(&path).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::NOT_FOUND, Some("not_found")));
    let head = world.head();
    *world.edge.traffic.lock().unwrap() = Some(carried(id));
    let (status, traffic) = world.get(&path).await;
    assert_eq!((status, &traffic["active"]), (StatusCode::OK, &3.into()));
    let (_, summaries) = world.get("/v1/summaries?app=web").await;
    assert_eq!(summaries[0]["endpoints"][0]["traffic"]["connections"], 9);
    let (_, described) = world.get(&format!("/v1/resources/{id}/description")).await;
    assert_eq!(described["traffic"]["bytes_out"], 20);
    assert_eq!(world.head(), head, "reading counters wrote something");
}

#[tokio::test]
async fn an_access_log_comes_as_lines_of_json() {
    let world = World::new();
    let id = endpoint(&world).id;
    let line = AccessLine {
        time: Timestamp::UNIX_EPOCH,
        endpoint: id,
        client: "192.0.2.1:5000".parse().unwrap(),
        instance: None,
        bytes_in: 1,
        bytes_out: 2,
        duration_ms: 3,
        end: AccessEnd::NoInstance,
    };
    *world.edge.lines.lock().unwrap() = vec![Ok(vec![line.clone(), line.clone()]), Ok(vec![line.clone()])];
    let path = format!("/v1/endpoints/{id}/access?tail=5&follow=true");
    let response = world.send(world.request("GET", &path).body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = String::from_utf8(bytes(response).await).unwrap();
    let lines: Vec<AccessLine> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [line.clone(), line.clone(), line]);
    assert!(
        text.contains("\"client\":\"192.0.2.1:5000\"") && text.contains("\"end\":\"no_instance\""),
        "{text}"
    );
    let asked = world.edge.asked.lock().unwrap().take().unwrap();
    assert_eq!((asked.tail, asked.follow, asked.since), (Some(5), true, None));
    let (status, _) = world.get("/v1/endpoints/end_00000000000000000000000009/access").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
