//! A node that is removed: its key is worth nothing from then on, at any door, though its agent runs on.

use crate::{
    far::{Far, house},
    world::{Ended, World, eventually, wait_for},
};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
    time::Duration,
};

/// An agent sends its heartbeat so often.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What a door answers to the key of the far machine.
fn asks(world: &World, far: &Far, method: &str, path: &str) -> String {
    let file = |name: &str| far.data.join("identity").join(name);
    let mut curl = world.command("curl");
    curl.args(["-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", "-X", method]);
    curl.args(["-H", "content-type: application/json", "-H", "freehold-protocol: 1"]);
    curl.args(["--resolve", "control.freehold.internal:7412:10.77.0.1", "--cacert"]).arg(file("root.pem"));
    curl.arg("--cert").arg(file("node.pem")).arg("--key").arg(file("node.key"));
    Ended::of(curl.arg(format!("https://control.freehold.internal:7412{path}"))).out
}

#[test]
fn a_removed_node_is_refused_at_every_door_within_a_heartbeat() {
    let Some((world, far)) = house() else { return };
    assert_eq!(asks(&world, &far, "GET", "/v1/node/certificate"), "200");
    // A connection of its key that is open since before.
    let file = |name: &str| far.data.join("identity").join(name);
    let mut open = world.command("openssl");
    open.args(["s_client", "-quiet", "-connect", "10.77.0.1:7412", "-cert"]).arg(file("node.pem"));
    open.arg("-cert_chain").arg(file("node.pem")).arg("-key").arg(file("node.key"));
    let mut open = open.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let ask = b"GET /v1/node/certificate HTTP/1.1\r\nhost: h\r\n\r\n";
    open.stdin.as_mut().unwrap().write_all(ask).unwrap();
    let mut line = String::new();
    BufReader::new(open.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("200"), "{line}");

    let id = crate::far::node(&world)["id"].as_str().unwrap().to_owned();
    world.freehold(&["node", "cordon", "far"]).ok();
    world.freehold(&["node", "remove", "far", "-y"]).ok();

    let cut = eventually(HEARTBEAT, || open.try_wait().unwrap().is_some());
    let _ = open.kill();
    open.wait().unwrap();
    assert!(cut, "the connection of a removed node stays open");
    let doors = [
        ("GET", "/v1/node/certificate"),
        ("POST", "/v1/node/certificate"),
        ("GET", "/v1/node/assignments"),
        ("POST", "/v1/node/heartbeat"),
        ("GET", "/v1/node/images/busybox"),
        ("GET", "/v1/resources"),
        ("GET", "/"),
    ];
    for (method, path) in doors {
        let refused = || asks(&world, &far, method, path) == "403";
        assert!(eventually(HEARTBEAT, refused), "{method} {path}: {}", asks(&world, &far, method, path));
    }
    let renewed = world.freehold(&["node", "renew", "--data", far.data.to_str().unwrap()]);
    renewed.exits(3).says("revoked");

    // Its agent, which runs on, is told so with every beat, and the node does not come back by them.
    let log = || std::fs::read_to_string(world.path("far.log")).unwrap();
    wait_for("the agent's refusal", log, |text| text.contains("revoked"));
    let nodes = world.json(&["node", "list"]);
    assert!(nodes.as_array().unwrap().iter().all(|it| it["name"] != "far"), "{nodes}");
    // One transaction: the node and its key went together.
    let events = world.json(&["audit", "list", "--last", "100"]);
    let of = |what: &str| events.as_array().unwrap().iter().find(|it| it["what"] == what).cloned();
    let (removed, revoked) = (of("node.remove"), of("identity.revoked"));
    let request = |event: &Option<serde_json::Value>| event.as_ref().map(|it| it["request"].clone());
    assert!(removed.is_some() && request(&removed) == request(&revoked), "{events:#}");
    assert_eq!(removed.unwrap()["subject"], id.as_str());
}
