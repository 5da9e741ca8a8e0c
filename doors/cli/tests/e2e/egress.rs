//! Where instances may connect to: what the manifest opens, their own env, and nothing else.

use crate::{
    outside::{API, EVIL, NODE, OUTSIDE},
    world::{World, wait_for},
};

const SHOP: &str = r#"
schema = 1
app = "shop"

[process.web]
image = "shop:1"
after = ["db"]
egress = ["198.18.0.2:80/tcp", "api.example:80", "rebound.example"]
memory = "32MiB"
stop_timeout = "200ms"
check = { http = "/", port = 8080, every = "200ms" }

[process.db]
image = "shop:1"
memory = "32MiB"
stop_timeout = "200ms"
check = { tcp = true, port = 8080, every = "200ms" }
"#;

const OTHER: &str = r#"
schema = 1
app = "other"

[process.web]
image = "shop:1"
egress = ["*"]
memory = "32MiB"
stop_timeout = "200ms"

[[endpoint]]
process = "web"
listen = 8001
target = 8080
"#;

/// What a page, asked for from inside, answered; or why not.
fn fetch(world: &World, app: &str, process: &str, url: &str) -> String {
    let line = format!("/bin/curl -sS -m 5 {url} 2>&1 || true");
    world.freehold(&["exec", "-a", app, "-p", process, "--", "sh", "-c", &line]).ok().out
}

fn address(world: &World, app: &str, process: &str) -> String {
    let instances = world.instances(app);
    let found = instances.iter().find(|it| it["process"] == process).unwrap();
    found["address"].as_str().unwrap().to_owned()
}

fn start() -> Option<(World, crate::outside::Outside)> {
    let mut world = World::new()?;
    let outside = world.outside();
    world.up(&["--dns", OUTSIDE]);
    world.push_busybox_with("curl", "shop:1");
    for (name, text) in [("shop.toml", SHOP), ("other.toml", OTHER)] {
        let file = world.write(name, text);
        world.freehold(&["deploy", "-f", &file]).ok();
    }
    Some((world, outside))
}

#[test]
fn instances_reach_what_their_egress_opens_and_nothing_else() {
    let Some((mut world, outside)) = start() else { return };
    let shop = |process: &str, url: &str| fetch(&world, "shop", process, url);
    assert_eq!(shop("web", &format!("http://{OUTSIDE}/")), "outside\n");
    assert_eq!(shop("web", "http://api.example/"), "outside\n");
    let closed = "Failed to connect";
    for url in [format!("http://{EVIL}/"), format!("http://{API}:81/"), format!("http://{NODE}/")] {
        assert!(shop("web", &url).contains(closed), "{url}");
    }
    let unknown = "Could not resolve host";
    for name in ["evil.example", "rebound.example", "secret-data.api.example"] {
        assert!(shop("web", &format!("http://{name}:7411/")).contains(unknown), "{name}");
    }
    assert!(shop("db", "http://api.example/").contains(unknown));
    assert!(shop("db", &format!("http://{OUTSIDE}/")).contains(closed));
    let questions = outside.questions();
    assert!(questions.contains("query[A] api.example from 198.18.0.1"), "{questions}");
    for name in ["evil.example", "secret-data"] {
        assert!(!questions.contains(name), "the name {name} left the node: {questions}");
    }
    world
        .freehold(&["logs", "-a", "shop"])
        .ok()
        .says("asked for the name evil.example, which the egress of web");

    // By name within the env; not into another, not at the node.
    for url in ["http://db:8080/", "http://db.internal:8080/"] {
        assert_eq!(shop("web", url), "hello\n", "{url}");
    }
    assert_eq!(shop("db", "http://web:8080/"), "hello\n");
    let other = |url: &str| fetch(&world, "other", "web", url);
    assert_eq!(other("http://evil.example/"), "outside\n", "open to everything outside");
    assert!(other("http://db:8080/").contains(unknown));
    let db = format!("http://{}:8080/", address(&world, "shop", "db"));
    assert!(other(&db).contains(closed), "another app's instance");
    for url in
        ["http://node.freehold:7411/healthz", "http://node.freehold:8001/", &format!("http://{NODE}:8001/")]
    {
        assert!(other(url).contains(closed), "{url}");
    }

    // The node's ports are named one by one.
    let file = world.write("shop.toml", &SHOP.replace("\"rebound.example\"", "\"node.freehold:8001\""));
    world.freehold(&["deploy", "-f", &file]).ok();
    let shop = |process: &str, url: &str| fetch(&world, "shop", process, url);
    assert_eq!(shop("web", "http://node.freehold:8001/"), "hello\n", "another app's endpoint");
    assert!(shop("web", "http://node.freehold:7411/healthz").contains(closed));

    // Without Freehold nothing opens; with it again everything is as before.
    world.kill();
    world.up(&["--dns", OUTSIDE]);
    assert_eq!(fetch(&world, "shop", "web", "http://api.example/"), "outside\n");
    assert!(fetch(&world, "shop", "db", &format!("http://{OUTSIDE}/")).contains(closed));
    assert_eq!(fetch(&world, "shop", "db", "http://web:8080/"), "hello\n");
}

#[test]
fn the_node_is_left_as_it_was() {
    let Some((mut world, _outside)) = start() else { return };
    let forwards = |world: &World| world.sh("cat /proc/sys/net/ipv4/ip_forward").out;
    let table = |world: &World| world.sh("nft list tables ip | grep -q freehold").code == 0;
    assert_eq!((forwards(&world).as_str(), table(&world)), ("1\n", true));
    world.freehold(&["app", "delete", "other", "-y"]).ok();
    world.terminate();
    assert!(table(&world), "instances that go on running stay guarded");
    world.up(&["--dns", OUTSIDE]);
    world.freehold(&["app", "delete", "shop", "-y"]).ok();
    wait_for(
        "the rules to go",
        || (forwards(&world), table(&world)),
        |seen| *seen == ("0\n".to_owned(), false),
    );
}

#[test]
fn a_plan_shows_what_opens() {
    let Some((world, _outside)) = start() else { return };
    let wider = world.write("shop.toml", &SHOP.replace("\"rebound.example\"", "\"10.0.0.0/8:53/udp\""));
    world.freehold(&["plan", "-f", &wider]).ok().says("198.18.0.2:80/tcp, api.example:80, 10.0.0.0/8:53/udp");
    let wrong = world.write("shop.toml", &SHOP.replace("\"rebound.example\"", "\"[2001:db8::]/32:53\""));
    world.freehold(&["plan", "-f", &wrong]).exits(2).says("not yet");
}

#[test]
fn the_drill_proves_it_and_sees_what_is_open() {
    let Some((world, _outside)) = start() else { return };
    let drill = world.json(&["drill", "egress"]);
    let tries = drill["tries"].as_array().unwrap();
    assert_eq!(drill["ok"], true, "{drill:#}");
    let found = |what: &str, process: &str| {
        let fits = |one: &&serde_json::Value| one["what"] == what && one["process"] == process;
        tries.iter().find(fits).unwrap_or_else(|| panic!("{what} was not tried: {drill:#}"))["found"].clone()
    };
    for (what, process, way) in [
        ("egress api.example:80", "web", "open"),
        ("egress 198.18.0.2:80/tcp", "web", "open"),
        ("the node's name server", "db", "closed"),
        ("the node's API and registry", "db", "closed"),
        ("the node's endpoint tcp/8001", "db", "closed"),
        ("an instance of another env", "db", "closed"),
        ("an instance of its own env", "db", "open"),
        ("a cloud's metadata", "db", "closed"),
        ("a name that egress does not allow", "db", "closed"),
    ] {
        assert_eq!(found(what, process), way, "{what} of {process}");
    }
    world.freehold(&["drill", "egress", "-a", "shop"]).ok().says("As it should be");
    world.freehold(&["drill", "egress", "-a", "nobody"]).exits(4);

    // A hole, made from outside of Freehold: the drill must see it.
    let db = world.sh(&format!(
        "nft -j list set ip $(nft list tables ip | grep -o 'freehold.*') outbound | grep -c {}",
        address(&world, "shop", "db")
    ));
    assert_eq!(db.out.trim(), "0");
    let pid = world.pid_of("shop", "db");
    let hole = format!("nsenter --net=/proc/{pid}/ns/net nft insert rule ip freehold output accept");
    world.sh(&hole).ok();
    world
        .freehold(&["drill", "egress", "-a", "shop"])
        .exits(8)
        .says("Not as it should be")
        .says("the node's API");
}
