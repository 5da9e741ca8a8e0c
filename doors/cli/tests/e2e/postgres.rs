//! The state on PostgreSQL: deploy, redeploy, roll back, restarts on either side, and what is refused.

use crate::world::{World, eventually, wait_for, workspace};
use freehold_store::testing::Database;
use std::time::Duration;

/// The secret part of the URL of [`guarded`].
const PASSWORD: &str = "open-sesame-1795";

/// The URL of a database for an owner with a password.
fn guarded(database: &Database) -> String {
    let (role, password) = ("guarded", PASSWORD);
    database.maintain(&format!(
        "DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
         ALTER ROLE {role} PASSWORD '{password}'; ALTER DATABASE {} OWNER TO {role}",
        database.name()
    ));
    database.url().replace("user=freehold", &format!("user={role}&password={password}"))
}

fn manifest(round: u64) -> String {
    format!(
        r#"
schema = 1
app = "kept"

[process.web]
image = "busy:1"
env = {{ ROUND = "{round}" }}
count = 2
memory = "32MiB"
stop_timeout = "1s"
check = {{ http = "/", port = 8080, every = "200ms", timeout = "1s", grace = "10s" }}

[[endpoint]]
process = "web"
listen = 8000
target = 8080
"#
    )
}

/// The round that an instance was started for, from the environment of its process.
fn round(world: &World) -> String {
    let environ = std::fs::read(format!("/proc/{}/environ", world.pid_of("kept", "web"))).unwrap_or_default();
    let environ = String::from_utf8_lossy(&environ).into_owned();
    environ.split('\0').find_map(|pair| pair.strip_prefix("ROUND=")).unwrap_or("none").to_owned()
}

/// Deploy, redeploy, roll back; the database's connections are cut in the middle, Freehold is killed, and
/// both go on. The password is nowhere to be read.
#[test]
fn an_installation_lives_on_postgres() {
    let Some(mut world) = World::new() else { return };
    let database = Database::new();
    let url = guarded(&database);
    world.up(&["--store", &url]);
    world.push_busybox("busy:1");
    for round_of in 1..=2 {
        let file = world.write("freehold.toml", &manifest(round_of));
        world.freehold(&["deploy", "-f", &file]).ok();
        assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");
        assert_eq!(round(&world), round_of.to_string());
    }
    let before = world.json(&["receipt", "list", "-a", "kept"]);
    assert_eq!(before.as_array().map(Vec::len), Some(2), "{before:#}");

    let cut = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{}'",
        database.name()
    );
    assert_ne!(database.maintain(&cut), "0", "Freehold was connected");
    world.freehold(&["rollback", "-a", "kept", "-y"]).ok();
    assert_eq!(round(&world), "1");

    world.kill();
    world.up(&["--store", &url]);
    assert_eq!(world.json(&["receipt", "list", "-a", "kept"]).as_array().map(Vec::len), Some(3));
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");
    wait_for("two of everything", || world.traces(), |traces| traces.shims.len() == 2);
    assert!(!world.data().join("state.db").exists(), "nothing is kept in SQLite");
    let events = database.edit("SELECT count(*) = max(seq) AND count(*) > 20 FROM freehold.events");
    assert_eq!(events, "t", "the log is in the database, without gaps");

    world.freehold(&["app", "delete", "kept", "-y"]).ok();
    wait_for("every trace to vanish", || world.traces(), |traces| traces.is_empty());
    assert_eq!(world.terminate(), Some(0));
    let mut said = world.up_log();
    for file in ["store.json", "format.json"] {
        said += &std::fs::read_to_string(world.data().join(file)).expect(file);
    }
    assert!(!said.contains(PASSWORD), "{said}");
}

/// From SQLite to PostgreSQL with an app that runs, and by a backup taken there back to SQLite.
#[test]
fn an_installation_moves_between_engines() {
    let Some(mut world) = World::new() else { return };
    let database = Database::new();
    let (url, data) = (database.url(), world.data());
    let home = data.to_str().unwrap().to_owned();
    world.up(&[]);
    world.push_busybox("busy:1");
    let file = world.write("freehold.toml", &manifest(1));
    world.freehold(&["deploy", "-f", &file]).ok();
    let receipts = world.json(&["receipt", "list", "-a", "kept"]);

    world.freehold(&["state", "copy", &home, &url]).exits(2).says("in use");
    assert_eq!(world.terminate(), Some(0));
    let copied = world.freehold(&["--json", "state", "copy", &home, &url]).ok();
    let copied: serde_json::Value = serde_json::from_str(&copied.out).expect("JSON alone");
    assert!(copied["events"].as_u64() > Some(10), "{copied:#}");
    world.freehold(&["state", "copy", &home, &url]).exits(2).says("holds state already");
    std::fs::rename(data.join("state.db"), data.join("state.db.old")).unwrap();

    world.up(&["--store", &url]);
    assert_eq!(world.json(&["receipt", "list", "-a", "kept"]), receipts);
    let file = world.write("freehold.toml", &manifest(2));
    world.freehold(&["deploy", "-f", &file]).ok();
    let backup = world.path("home.db").to_str().unwrap().to_owned();
    world.freehold(&["state", "backup", &backup, "--store", &url]).ok();
    let receipts = world.json(&["receipt", "list", "-a", "kept"]);
    assert_eq!(world.terminate(), Some(0));
    std::fs::remove_file(data.join("store.json")).unwrap();
    world.freehold(&["state", "restore", &backup, "--data", &home]).ok();
    world.up(&[]);
    assert_eq!(world.json(&["receipt", "list", "-a", "kept"]), receipts);
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");
    assert_eq!(round(&world), "2");
    world.freehold(&["app", "delete", "kept", "-y"]).ok();
    wait_for("every trace to vanish", || world.traces(), |traces| traces.is_empty());
}

/// A document of another system begins a store, Freehold starts over it, and it comes out again.
#[test]
fn what_another_system_knew_is_brought_along() {
    let Some(mut world) = World::new() else { return };
    let fixture = workspace().join("base/store/tests/fixtures/inventory.json");
    let text = std::fs::read_to_string(&fixture).unwrap();
    let home = world.data().to_str().unwrap().to_owned();
    let broken = world.write("broken.json", &text.replace("node/nas", "node/gone"));
    world
        .freehold(&["state", "import", &broken, "--data", &home])
        .exits(2)
        .says("addresses[0].owner: there is no node/gone");
    assert!(!world.data().exists(), "nothing was made");
    let fixture = fixture.to_str().unwrap();
    world.freehold(&["state", "import", fixture, "--data", &home]).ok().says("2 nodes, 2 devices");
    world.freehold(&["state", "import", fixture, "--data", &home]).exits(2).says("6 events already");
    let exported = world.json(&["state", "export", "--data", &home]);
    assert_eq!(exported, serde_json::from_str::<serde_json::Value>(&text).unwrap());

    world.up(&[]);
    let nodes = world.json(&["node", "list"]);
    let nodes: Vec<&str> =
        nodes.as_array().unwrap().iter().filter_map(|node| node["name"].as_str()).collect();
    assert!(nodes.contains(&"nas") && nodes.contains(&"tower") && nodes.len() == 3, "{nodes:?}");
    world.push_busybox("busy:1");
    let file = world.write("freehold.toml", &manifest(1));
    world.freehold(&["deploy", "-f", &file]).ok();
}

/// A data directory stays with its store, and what cannot be used says why and what to do.
#[test]
fn a_store_that_cannot_be_used_is_refused_with_the_way_out() {
    let Some(mut world) = World::new() else { return };
    let (database, other) = (Database::new(), Database::new());
    let secret = guarded(&database);
    refused(&world, &secret.replace("postgres:", "mysql:"), &["postgres://"]);
    refused(&world, &secret.replace("guarded", "nobody"), &["refuses this user", "pg_hba.conf"]);
    refused(&world, &secret.replace(database.name(), "absent"), &["`absent`", "createdb"]);
    refused(
        &world,
        "postgres:///x?user=u&password=open-sesame-1795&host=/nowhere",
        &["/nowhere", "start PostgreSQL"],
    );
    other.edit("CREATE TABLE photos (id int)");
    refused(&world, &other.url(), &["public.photos", "another program"]);
    assert!(!world.data().join("store.json").exists(), "nothing was begun");

    world.up(&["--store", &database.url()]);
    let mut second = World::new().expect("a machine");
    second.up_without_waiting(&["--store", &database.url()]);
    let told = || second.up_log().contains("in use by another Freehold");
    assert!(eventually(Duration::from_secs(30), told), "{}", second.up_log());
    assert_eq!(world.terminate(), Some(0));

    refused(&world, "", &["--store", database.name()]);
    other.edit("DROP TABLE photos");
    refused(&world, &other.url(), &["another Freehold", database.name()]);
    database.edit("UPDATE freehold.meta SET schema = 99");
    refused(&world, &database.url(), &["schema 99", "newer"]);
}

/// `freehold up` ends at once and says `words`, but not the password.
fn refused(world: &World, url: &str, words: &[&str]) {
    let data = world.data();
    let mut args = vec!["up", "--listen", "127.0.0.1:7411", "--data", data.to_str().expect("text")];
    if !url.is_empty() {
        args.extend(["--store", url]);
    }
    let ended = world.freehold(&args);
    assert_ne!(ended.code, 0, "{ended:?}");
    for word in words {
        assert!(ended.err.contains(word), "`{word}` is not in {}", ended.err);
    }
    assert!(!ended.err.contains(PASSWORD), "{}", ended.err);
}
