//! Several Freeholds on one machine, and others who use the same addresses.

use crate::world::{Ended, FREEHOLD, World, wait_for};
use serde_json::Value;
use std::process::{Child, Command};

const APP: &str = r#"
schema = 1
app = "APP"

[process.web]
image = "shop:1"
memory = "32MiB"
stop_timeout = "200ms"
check = { http = "/", port = 8080, every = "200ms" }

[[endpoint]]
process = "web"
listen = PORT
target = 8080
"#;

/// Another Freehold, on the machine of a [`World`].
struct Second<'a> {
    world: &'a World,
    up: Child,
}

impl Second<'_> {
    fn command(world: &World) -> Command {
        let mut command = world.command(FREEHOLD);
        command.env("FREEHOLD_HOME", world.path("second-home"));
        command
    }

    fn start(world: &World) -> Second<'_> {
        let log = std::fs::File::create(world.path("second.log")).unwrap();
        let mut command = Second::command(world);
        command.args(["up", "--listen", "127.0.0.1:7412", "--data"]).arg(world.path("second"));
        let up = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let second = Second { world, up };
        wait_for("the second", || second.freehold(&["status"]).code, |code| *code == 0);
        second
    }

    fn freehold(&self, args: &[&str]) -> Ended {
        Ended::of(Second::command(self.world).args(args))
    }
}

impl Drop for Second<'_> {
    fn drop(&mut self) {
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

fn manifest(world: &World, app: &str, port: u16) -> String {
    world.write(&format!("{app}.toml"), &APP.replace("APP", app).replace("PORT", &port.to_string()))
}

fn rest(ended: Ended) -> Value {
    serde_json::from_str(&ended.ok().out).unwrap()
}

fn address(summaries: &Value) -> String {
    summaries[0]["instances"][0]["address"].as_str().unwrap().to_owned()
}

#[test]
fn two_on_one_machine_leave_each_other_alone() {
    let Some(world) = World::start() else { return };
    world.push_busybox("shop:1");
    world.freehold(&["deploy", "-f", &manifest(&world, "first", 8000)]).ok();
    let second = Second::start(&world);
    let folder = world.path("busybox");
    second.freehold(&["image", "build", folder.to_str().unwrap(), "-t", "shop:1"]).ok();
    second.freehold(&["deploy", "-f", &manifest(&world, "second", 8001)]).ok();
    let one = address(&world.json(&["status", "-a", "first"]));
    let two = address(&rest(second.freehold(&["status", "-a", "second", "--json"])));
    assert!(one.starts_with("10.210.") && two.starts_with("10.211."), "{one} {two}");
    for port in [8000, 8001] {
        assert_eq!(world.get(&format!("http://127.0.0.1:{port}/")), "hello\n");
    }
    let tables = || world.sh("nft list tables ip | grep -o 'freehold-.*' | sort").out;
    let both = tables();
    assert_eq!(both.lines().count(), 2, "{both}");
    world.freehold(&["drill", "egress"]).ok();
    second.freehold(&["drill", "egress"]).ok();
    world.freehold(&["doctor"]).ok();

    // What one removes with its last instance is its own.
    second.freehold(&["app", "delete", "second", "-y"]).ok();
    wait_for("its table to go", tables, |left| left.lines().count() == 1);
    assert!(both.contains(tables().trim()));
    drop(second);
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");
    let all = world.json(&["events", "--last", "1000"]);
    let healed = all.as_array().unwrap().iter().filter(|it| it["what"] == "node.healed").count();
    assert_eq!(healed, 0, "one touched what the other had made: {all:#}");
    world.freehold(&["status", "-a", "first"]).ok().says("1 of 1 healthy");
}

#[test]
fn a_range_that_others_use_is_not_begun_with_and_later_it_is_said() {
    let Some(mut world) = World::new() else { return };
    world.sh("ip link add tun0 type veth peer name far0; ip addr add 10.210.3.1/16 dev tun0; ip link set tun0 up").ok();
    let asked = ["up", "--listen", "127.0.0.1:7413", "--instances-range", "10.210.0.0/16", "--data"];
    let mut refused = world.command(FREEHOLD);
    let refused = Ended::of(refused.args(asked).arg(world.path("refused")));
    assert_ne!(refused.code, 0, "{refused:#?}");
    refused.says("the interface tun0 has the address 10.210.3.1/16").says("--instances-range");

    world.up(&[]);
    world.push_busybox("shop:1");
    world.freehold(&["deploy", "-f", &manifest(&world, "first", 8000)]).ok();
    assert!(address(&world.json(&["status", "-a", "first"])).starts_with("10.211.0."));
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");
    // It stays where it has instances, and somebody comes.
    world.sh("ip link add tun1 type veth peer name far1; ip link set far1 up; ip link set tun1 up; ip route add 10.211.128.0/17 dev tun1").ok();
    let said = |world: &World| world.freehold(&["status"]).err;
    wait_for(
        "the warning",
        || said(&world),
        |text| text.contains("used by others: the interface tun1 has a route to 10.211.128.0/17"),
    );
    world.freehold(&["doctor"]).says("range on");
    world.freehold(&["events", "--json"]).ok().says("node.range_used");
    world.terminate();
    world.up(&[]);
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n", "it starts all the same");
    world.sh("ip link del tun1").ok();
    wait_for("it to be taken back", || said(&world), |text| !text.contains("used by others"));
}
