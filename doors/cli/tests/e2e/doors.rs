//! Several control planes with the door for nodes at once: a node is heard by each, reached through each, and
//! lost only when none of them hears it.

use crate::{
    control::Plane,
    far::{Far, node, ready},
    world::{Ended, World, eventually, wait_for},
};
use freehold_store::testing::Database;
use rustix::process::Signal;
use serde_json::Value;
use std::{fs, time::Duration};

const DOOR: &str = "10.77.0.1:7412";
const OTHER: &str = "10.77.0.1:7422";

const MANIFEST: &str = r#"
schema = 1
app = "away"

[process.web]
image = "away:1"
command = ["/bin/sh", "-c", "echo it runs; exec /bin/httpd -f -p 8080 -h /www"]
memory = "32MiB"
stop_timeout = "1s"
affinity = { require = { place = "far" } }
check = { http = "/", port = 8080, every = "200ms", timeout = "2s", grace = "20s" }
"#;

/// A house with two doors and one far node that joined through the first.
struct House {
    world: World,
    database: Database,
    other: Plane,
    far: Far,
}

impl House {
    fn new() -> Option<House> {
        let mut world = World::new()?;
        let mut far = Far::joined(&world);
        let database = Database::new();
        world.up(&["--store", &database.url(), "--node-listen", DOOR]);
        let other = Plane::start_with(&world, &database, "other", 7421, &["--node-listen", OTHER]);
        let token = world.freehold(&["node", "token", "create"]).ok().out.trim().to_owned();
        world.plant_value(token.split('_').nth(2).expect("a secret"));
        // The first URL leads nowhere.
        far.join(&token, &format!("https://10.77.0.1:9,https://{DOOR}"));
        far.run();
        let house = House { world, database, other, far };
        wait_for("both to hear it", || heard_by(&house.world), |all| all.len() == 2);
        house.world.freehold(&["node", "label", "far", "place=far"]).ok();
        Some(house)
    }

    fn first(&self) -> String {
        let text = fs::read_to_string(self.world.data().join("control.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["name"].as_str().unwrap().to_owned()
    }
}

fn heard_by(world: &World) -> Vec<String> {
    names(&node(world))
}

fn names(node: &Value) -> Vec<String> {
    let all = node["status"]["heard_by"].as_array().cloned().unwrap_or_default();
    all.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect()
}

/// A far node, as another control plane shows it.
fn node_by(plane: &Plane, world: &World) -> Value {
    let out = plane.freehold(world, &["node", "list", "--json"]).ok().out;
    let nodes: Value = serde_json::from_str(&out).unwrap();
    nodes.as_array().unwrap().iter().find(|it| it["name"] == "far").unwrap().clone()
}

fn happened(plane: &Plane, world: &World, what: &str) -> usize {
    let out = plane.freehold(world, &["events", "--last", "1000", "--json"]).ok().out;
    let all: Vec<Value> = serde_json::from_str(&out).unwrap();
    all.iter().filter(|event| event["what"] == what).count()
}

/// `exec` and `logs` through a control plane, soon: the node may be about to find out who is gone.
fn reaches(ask: impl Fn(&[&str]) -> Ended) {
    let answered = eventually(Duration::from_secs(20), || {
        let ended = ask(&["exec", "-a", "away", "-p", "web", "--", "/bin/sh", "-c", "echo through; exit 3"]);
        (ended.code, ended.out.as_str()) == (3, "through\n")
    });
    assert!(answered, "{:?}", ask(&["exec", "-a", "away", "-p", "web", "--", "/bin/true"]));
    ask(&["logs", "-a", "away"]).ok().says("it runs");
}

/// The control plane through which a node joined stands still, then the other dies, then the node.
#[test]
fn a_node_goes_on_through_whichever_control_plane_is_left() {
    let Some(mut house) = House::new() else { return };
    let (first, second) = (house.first(), house.other.name());
    let about = || -> Value {
        serde_json::from_str(&fs::read_to_string(house.far.data.join("identity/node.json")).unwrap()).unwrap()
    };
    let kept =
        wait_for("what it keeps", about, |it| it["announced"].as_array().is_some_and(|it| !it.is_empty()));
    assert_eq!(kept["announced"], serde_json::json!([format!("https://{OTHER}")]), "{kept:#}");
    assert_eq!(kept["urls"], serde_json::json!(["https://10.77.0.1:9", format!("https://{DOOR}")]));
    let list = house.world.json(&["control", "list"]);
    assert!(list["items"].as_array().unwrap().iter().any(|it| it["node_url"] == format!("https://{OTHER}")));

    house.world.push_busybox("away:1");
    // Through the one that does not have the image.
    let file = house.world.write("freehold.toml", MANIFEST);
    house.other.freehold(&house.world, &["deploy", "-f", &file]).ok();
    let before = house.world.json(&["instance", "list"])[0].clone();
    reaches(|args| house.world.freehold(args));
    reaches(|args| house.other.freehold(&house.world, args));
    // One without a door hands it on; the far node's and the first machine's.
    let third = Plane::start_with(&house.world, &house.database, "third", 7431, &[]);
    reaches(|args| third.freehold(&house.world, args));
    third.freehold(&house.world, &["drill", "egress", "-a", "away"]).ok();
    drop(third);

    // The first stands still: the other hears the node, nothing moves, and everything goes through it.
    house.world.signal(Signal::STOP);
    reaches(|args| house.other.freehold(&house.world, args));
    let by = || node_by(&house.other, &house.world);
    wait_for("the first to be taken out", by, |node| names(node) == [second.as_str()]);
    assert_eq!(happened(&house.other, &house.world, "node.lost"), 0);
    house.world.signal(Signal::CONT);
    let both = wait_for("it to hear the node again", || heard_by(&house.world), |all| all.len() == 2);
    assert!(both.contains(&first) && both.contains(&second));

    // The other dies.
    house.other.signal(Signal::KILL);
    reaches(|args| house.world.freehold(args));
    let after = house.world.json(&["instance", "list"])[0].clone();
    assert_eq!((&before["id"], &before["status"]["started"]), (&after["id"], &after["status"]["started"]));
    assert_eq!(house.world.json(&["instance", "list"]).as_array().unwrap().len(), 1, "nothing is doubled");

    // It comes back, and the node finds it by itself; the node dies, and is lost, once.
    house.other = Plane::start_with(&house.world, &house.database, "other", 7421, &["--node-listen", OTHER]);
    reaches(|args| house.other.freehold(&house.world, args));
    house.far.kill();
    wait_for("the node to be lost", || node(&house.world), |node| ready(node) == Some(false));
    assert!(heard_by(&house.world).is_empty());
    assert_eq!(happened(&house.other, &house.world, "node.lost"), 1);
}

/// What an image is called means the same at each control plane, wherever it was pushed.
#[test]
fn an_image_is_the_same_wherever_it_was_pushed() {
    let Some(mut world) = World::new() else { return };
    let database = Database::new();
    world.up(&["--store", &database.url(), "--node-listen", "127.0.0.1:7412"]);
    let mut other = Plane::start_with(&world, &database, "other", 7421, &["--node-listen", "127.0.0.1:7422"]);
    let digest = |out: &str| -> String {
        let image: Value = serde_json::from_str(out).unwrap();
        image["digest"].as_str().unwrap().to_owned()
    };
    let here = |name: &str| digest(&world.freehold(&["image", "inspect", name, "--json"]).ok().out);
    let build = |plane: &Plane, text: &str, name: &str| {
        let folder = world.path("built");
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::copy("/bin/busybox", folder.join("bin/busybox")).expect("busybox-static is installed");
        fs::write(folder.join("text"), text).unwrap();
        plane.freehold(&world, &["image", "build", folder.to_str().unwrap(), "-t", name]).ok();
    };
    let there = |plane: &Plane, name: &str| {
        digest(&plane.freehold(&world, &["image", "inspect", name, "--json"]).ok().out)
    };

    // Pushed to the first, shown and deployed by the other; then pushed to the other, and the first follows.
    world.push_busybox("one:1");
    let first = here("one:1");
    assert_eq!(there(&other, "one:1"), first);
    build(&other, "second", "one:1");
    let second = here("one:1");
    assert!(second != first && second == there(&other, "one:1"));
    build(&other, "only", "only:1");
    for list in [world.freehold(&["image", "list"]), other.freehold(&world, &["image", "list"])] {
        list.ok().says("one:1").says("only:1");
    }
    // The first machine's node runs what only the other has, deployed by the one and by the other.
    let manifest = "schema = 1\napp = \"lent\"\n\n[process.web]\nimage = \"one:1\"\ncommand = [\"/bin/busybox\", \"sleep\", \
                    \"3600\"]\nmemory = \"32MiB\"\nstop_timeout = \"100ms\"\n";
    let file = world.write("freehold.toml", manifest);
    other.freehold(&world, &["deploy", "-f", &file]).ok();
    let text = ["exec", "-a", "lent", "--", "/bin/busybox", "cat", "/text"];
    assert_eq!(other.freehold(&world, &text).ok().out, "second", "its node is the first's");

    // Removed at one, it is gone at each; what runs is not collected anywhere, what nobody needs is.
    world.freehold(&["image", "rm", "one:1"]).ok();
    other.freehold(&world, &["image", "inspect", "one:1"]).exits(4);
    for gc in [world.freehold(&["image", "gc"]), other.freehold(&world, &["image", "gc"])] {
        gc.ok();
    }
    world.freehold(&["image", "inspect", &format!("one@{second}")]).ok();

    // Whoever alone has it is dead: that is said, and nothing is deployed.
    other.signal(Signal::KILL);
    let lost = world.write("freehold.toml", &manifest.replace("one:1", "only:1"));
    let refused = || world.freehold(&["deploy", "-f", &lost]).code == 4;
    assert!(eventually(Duration::from_secs(20), refused), "{:?}", world.freehold(&["deploy", "-f", &lost]));
    other = Plane::start_with(&world, &database, "other", 7421, &["--node-listen", "127.0.0.1:7422"]);
    let deployed = || world.freehold(&["deploy", "-f", &lost]).code == 0;
    assert!(eventually(Duration::from_secs(20), deployed), "{:?}", world.freehold(&["deploy", "-f", &lost]));
    drop(other);
}
