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
    world.sh("test $(cat /proc/sys/net/ipv4/ip_unprivileged_port_start) = 1024").ok();
    world.ordinary_up();
    world.push_busybox("hello:1");
    let file = world.write("freehold.toml", HELLO);
    world.freehold(&["deploy", "-f", &file]).ok();
    assert_eq!(world.get(SITE), "hello\n");

    // What cannot be is said before anything is done.
    let egress = HELLO.replace("stop_timeout", "egress = [\"example.org:443\"]\nstop_timeout");
    let file = world.write("freehold.toml", &egress);
    world.freehold(&["plan", "-f", &file]).exits(7).says("nothing outside").says("remove `egress`");
    let low = world.write("low.toml", &HELLO.replace("8000", "80").replace("hello\"\n", "low\"\n"));
    world.freehold(&["plan", "-f", &low]).exits(7).says("from 1024 on").says("ip_unprivileged_port_start");
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

/// A server of datagrams that gives up being root, and with it the signal that it gets when its shim dies.
const STORE: &str = r#"
schema = 1
app = "kept"

[process.store]
image = "nginx:1"
command = ["perl", "-MPOSIX", "-MIO::Socket::INET", "-e", """
POSIX::setgid(33); POSIX::setuid(33);
my $s = IO::Socket::INET->new(LocalPort => 9000, Proto => "udp") or die $!;
while (1) { my $from = recv $s, my $text, 65535, 0; send $s, "$text $<", 0, $from if defined $from }"""]
memory = "64MiB"
stop_timeout = "1s"
secrets = [{ name = "KEY", file = "/run/secrets/key" }, { name = "WORD", env = "WORD" }]
check = { command = ["true"], every = "200ms", grace = "10s" }

[process.web]
image = "nginx:1"
memory = "64MiB"
stop_timeout = "2s"
check = { http = "/", port = 80, every = "300ms", timeout = "1s", grace = "20s" }

[[volume]]
name = "data"
process = "store"
path = "/data"
size = "64MiB"

[[endpoint]]
process = "store"
listen = 5300
target = 9000
protocol = "udp"
"#;

fn inside(world: &World, line: &str) -> String {
    world.freehold(&["exec", "-a", "kept", "-p", "store", "--", "sh", "-c", line]).ok().out.trim().to_owned()
}

fn echo(world: &World) -> String {
    let line = "perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(PeerAddr => \"127.0.0.1:5300\", Proto => \"udp\"); \
                for (1..20) { $s->send(\"hello\"); my $r; vec($r = \"\", fileno $s, 1) = 1; \
                if (select $r, undef, undef, 0.3) { recv $s, my $t, 100, 0; print $t; exit } }'";
    world.sh(line).ok().out
}

fn started(world: &World) -> Vec<(serde_json::Value, serde_json::Value)> {
    world.instances("kept").iter().map(|it| (it["id"].clone(), it["started"].clone())).collect()
}

#[test]
fn volumes_secrets_names_and_upgrades_work_for_an_ordinary_user_and_a_lost_instance_comes_back() {
    let Some(mut world) = World::ordinary(true) else { return };
    world.ordinary_up();
    world.skopeo_push(&nginx_layout(), "1", "nginx:1");
    let file = world.write("freehold.toml", STORE);
    let (key, word) = (world.plant(), world.plant());
    for (name, value) in [("KEY", &key), ("WORD", &word)] {
        world.freehold_with(&["secret", "set", name, "-a", "kept"], value).ok();
    }
    world.freehold(&["deploy", "-f", &file]).ok();
    assert_eq!(echo(&world), "hello 33");
    assert_eq!(
        inside(&world, "stat -c '%a %u' /run/secrets/key; cat /run/secrets/key"),
        format!("400 0\n{key}")
    );
    assert_eq!(inside(&world, "echo $WORD; echo kept > /data/file; chown 33 /data/file"), word);
    let asked = r#"perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new("web:80") or die $!; print $s "GET / HTTP/1.0\r\n\r\n"; print <$s>'"#;
    assert!(inside(&world, asked).ends_with("release one"));
    let snapshot = ["volume", "snapshot", "kept/prod/data", "one"];
    world.freehold(&snapshot).exits(1).says("count = 0");

    // A new version takes over what runs.
    let (before, data) = (started(&world), world.data().to_str().unwrap().to_owned());
    world.freehold(&["upgrade", crate::world::FREEHOLD, "--data", &data]).ok();
    assert_eq!(started(&world), before);
    assert_eq!(echo(&world), "hello 33");

    // The control plane and the shims are gone, the server is not: it is found and ended before another starts.
    world.kill();
    world.kill_instances();
    let servers =
        |world: &World| world.processes_of_user().iter().filter(|line| line.starts_with("perl")).count();
    assert_eq!(servers(&world), 1, "{:#?}", world.processes_of_user());
    world.ordinary_up();
    wait_for("new runs", || started(&world), |now| now.iter().zip(&before).all(|(now, old)| now.1 != old.1));
    wait_for("health", || world.instances("kept"), |all| all.iter().all(|it| it["healthy"] == true));
    assert_eq!(servers(&world), 1, "{:#?}", world.processes_of_user());
    assert_eq!(echo(&world), "hello 33");
    assert_eq!(inside(&world, "stat -c %u /data/file; cat /data/file"), "33\nkept");

    // What does not run can be copied.
    let file = world.write("freehold.toml", &STORE.replacen("memory", "count = 0\nmemory", 1));
    world.freehold(&["deploy", "-f", &file]).ok();
    world.freehold(&snapshot).ok();

    // Root may not spoil what is there.
    assert_eq!(world.terminate(), Some(0));
    world.up_as_root().exits(1).says("was written by user");
    world.ordinary_up();
    world.freehold(&["app", "delete", "kept", "-y"]).ok();
    wait_for("every trace to vanish", || world.traces(), |traces| traces.is_empty());
    assert_eq!(world.terminate(), Some(0));
    wait_for("every process to end", || world.processes_of_user(), |left| left.is_empty());
}
