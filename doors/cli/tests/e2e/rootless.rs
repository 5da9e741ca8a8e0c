//! Freehold without root: an ordinary user starts it, and it does what it does for root, or says why not.

use crate::world::{World, nginx_layout, wait_for};

const SITE: &str = "http://127.0.0.1:8000/";

fn site(tag: u32) -> String {
    format!(
        r#"
schema = 1
app = "site"

[process.web]
image = "nginx:{tag}"
memory = "64MiB"
stop_timeout = "2s"
check = {{ http = "/", port = 80, every = "300ms", timeout = "1s", grace = "20s" }}

[[endpoint]]
process = "web"
listen = 8000
target = 80
"#
    )
}

#[test]
fn an_ordinary_user_runs_a_strangers_image_through_its_whole_life() {
    let Some(mut world) = World::ordinary(true) else { return };
    world.ordinary_up();
    for tag in ["1", "2"] {
        world.skopeo_push(&nginx_layout(), tag, &format!("nginx:{tag}"));
    }
    let file = world.write("freehold.toml", &site(1));
    world.freehold(&["deploy", "-f", &file]).ok();
    assert_eq!(world.get(SITE), "release one\n");

    // Inside there are root and others, and none of them is root outside.
    world.freehold(&["exec", "-a", "site", "--", "id", "-u"]).ok().says("0");
    world.freehold(&["exec", "-a", "site", "--", "sh", "-c", "exit 42"]).exits(42);
    world.freehold(&["exec", "-a", "site", "-u", "www-data", "--", "id", "-un"]).ok().says("www-data");
    wait_for(
        "nginx's access log",
        || world.freehold(&["logs", "-a", "site"]).ok().out,
        |logs| logs.contains("GET / HTTP"),
    );

    let file = world.write("freehold.toml", &site(2));
    world.freehold(&["deploy", "-f", &file]).ok();
    assert_eq!(world.get(SITE), "release two\n");

    // kill -9: what runs goes on, and the next Freehold finds it and has it in its hand.
    let before = world.instances("site");
    world.kill();
    world.ordinary_up();
    let after = world.instances("site");
    assert_eq!(after[0]["id"], before[0]["id"]);
    assert_eq!(after[0]["restarts"], 0, "{after:#?}");
    assert_eq!(world.get(SITE), "release two\n");
    world.freehold(&["exec", "-a", "site", "--", "true"]).ok();
    world.freehold(&["rollback", "-a", "site"]).ok();
    assert_eq!(world.get(SITE), "release one\n");

    world.freehold(&["app", "delete", "site", "-y"]).ok();
    wait_for("every trace to vanish", || world.traces(), |traces| traces.is_empty());
    assert_eq!(world.terminate(), Some(0));
    wait_for("every process to end", || world.processes_of_user(), |left| left.is_empty());
}

const HELLO: &str = r#"
schema = 1
app = "hello"

[process.web]
image = "hello:1"
memory = "32MiB"
stop_timeout = "1s"
check = { http = "/", port = 8080, every = "200ms", timeout = "1s", grace = "10s" }

[[endpoint]]
process = "web"
listen = 8000
target = 8080
"#;

#[test]
fn without_ids_of_its_own_a_user_runs_what_needs_root_alone_and_is_told_what_is_missing() {
    let Some(mut world) = World::ordinary(false) else { return };
    world.ordinary_up();
    world.push_busybox("hello:1");
    let file = world.write("freehold.toml", HELLO);
    world.freehold(&["deploy", "-f", &file]).ok();
    assert_eq!(world.get(SITE), "hello\n");

    // What cannot be is said before anything is done.
    let egress = HELLO.replace("stop_timeout", "egress = [\"example.org:443\"]\nstop_timeout");
    let file = world.write("freehold.toml", &egress);
    world.freehold(&["plan", "-f", &file]).exits(7).says("nothing outside").says("remove `egress`");
    let bare = HELLO.replace("stop_timeout", "driver = \"process\"\nstop_timeout");
    let file = world.write("freehold.toml", &bare);
    world.freehold(&["plan", "-f", &file]).exits(7).says("does not run processes without isolation");

    let doctor = world.freehold(&["doctor"]).ok();
    doctor.says("usermod --add-subuids").says("limits of cpu, memory and processes are not enforced");
    world.skopeo_push(&nginx_layout(), "1", "nginx:1");
    let site = site(1).replace("8000", "8001");
    let file = world.write("site.toml", &site);
    world.freehold(&["deploy", "-f", &file]).exits(8).says("/etc/subuid");
    assert_eq!(world.get(SITE), "hello\n");
    assert_eq!(world.terminate(), Some(0));
}
