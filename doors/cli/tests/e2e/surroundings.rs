//! What others take away around running instances: it is put back at once, and said.

use crate::{
    outside::OUTSIDE,
    world::{World, wait_for},
};
use serde_json::Value;

const APP: &str = r#"
schema = 1
app = "APP"

[process.web]
image = "shop:1"
count = 1
egress = EGRESS
memory = "32MiB"
stop_timeout = "200ms"
check = { http = "/", port = 8080, every = "200ms" }
"#;

fn start() -> Option<(World, crate::outside::Outside)> {
    let mut world = World::new()?;
    let outside = world.outside();
    world.up(&["--dns", OUTSIDE]);
    world.push_busybox("shop:1");
    for (app, egress) in [("shop", "[]"), ("other", "[\"*\"]")] {
        let text = APP.replace("APP", app).replace("EGRESS", egress);
        let file = world.write(&format!("{app}.toml"), &text);
        world.freehold(&["deploy", "-f", &file]).ok();
    }
    Some((world, outside))
}

fn address(world: &World) -> String {
    world.instances("shop")[0]["address"].as_str().unwrap().to_owned()
}

/// The node's table, without what its counters have counted.
fn table(world: &World) -> String {
    world.sh("for t in $(nft list tables ip | grep -o 'freehold.*'); do nft list table ip $t; done | sed 's/packets [0-9]* bytes [0-9]*//'").out
}

/// What holds of a link: its addresses, its routes, whether it is up.
fn link(world: &World, name: &str) -> String {
    world.sh(&format!("ip -br addr show dev {name}; ip route show dev {name}; cat /proc/sys/net/ipv4/conf/{name}/{{rp_filter,forwarding}}")).out.replace(&index(world, name), "INDEX")
}

/// The number of the other end of a link, which is another after the link was made again.
fn index(world: &World, name: &str) -> String {
    world.sh(&format!("ip -o link show dev {name} | grep -o '@if[0-9]*'")).out.trim().to_owned()
}

fn healed(world: &World) -> Vec<Value> {
    let all = world.json(&["events", "--last", "1000"]);
    all.as_array().unwrap().iter().filter(|it| it["what"] == "node.healed").cloned().collect()
}

#[test]
fn what_others_take_away_is_put_back() {
    let Some((world, _outside)) = start() else { return };
    let (address, started) = (address(&world), world.instances("shop")[0]["started"].clone());
    let name = world.sh(&format!("ip -o route get {address} | grep -o 'dev [^ ]*' | cut -c5-")).out;
    let name = name.trim();
    let (whole, linked) = (table(&world), link(&world, name));
    assert!(whole.contains("masquerade") && whole.contains("redirect"), "{whole}");
    for line in [
        "nft flush ruleset",
        "nft delete table ip $(nft list tables ip | grep -o 'freehold.*')",
        "t=$(nft list tables ip | grep -o 'freehold.*'); h=$(nft -a list chain ip $t input | grep -o 'handle [0-9]*' | tail -1); nft delete rule ip $t input $h",
        "echo 0 > /proc/sys/net/ipv4/ip_forward",
    ] {
        world.sh(line).ok();
        let forwards = || world.sh("cat /proc/sys/net/ipv4/ip_forward").out;
        wait_for(line, || (table(&world), forwards()), |seen| *seen == (whole.clone(), "1\n".to_owned()));
    }
    for line in [
        format!("ip route del {address}"),
        format!("ip addr flush dev {name}"),
        format!("ip link set {name} down"),
        format!("echo 0 > /proc/sys/net/ipv4/conf/{name}/rp_filter"),
        format!("ip link del {name}"),
    ] {
        world.sh(&line).ok();
        wait_for(&line, || link(&world, name), |seen| *seen == linked);
    }
    wait_for("it to answer", || world.get(&format!("http://{address}:8080/")), |body| body == "hello\n");
    let web = world.instances("shop").remove(0);
    assert_eq!((&web["started"], &web["restarts"]), (&started, &0.into()), "it was restarted: {web:#}");
    let drill = world.json(&["drill", "egress"]);
    assert_eq!(drill["ok"], true, "{drill:#}");

    let parts = ["table", "route", "address", "set down", "rp_filter", "link of", "ip_forward"];
    let told = |part: &str| {
        healed(&world).into_iter().find(|it| it["data"]["message"].as_str().unwrap().contains(part))
    };
    for part in parts {
        let event = wait_for(part, || told(part), Option::is_some).unwrap();
        assert_eq!(event["data"]["noticed"], "notified", "{event:#}");
        assert!(event["data"]["gone_ms"].as_u64().unwrap() < 10_000, "{event:#}");
    }
    world.freehold(&["status"]).ok();
    assert!(!world.freehold(&["status"]).err.contains("kept apart"), "it is whole again");
}

#[test]
fn what_is_fought_over_is_said_until_it_holds() {
    let Some((world, _outside)) = start() else { return };
    let whole = table(&world);
    let mut enemy = world.command("bash");
    let mut enemy = enemy.args(["-c", "while nft flush ruleset; do sleep 0.05; done"]).spawn().unwrap();
    let isolation = || {
        let nodes = world.json(&["node", "list"]);
        let conditions = nodes[0]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|it| it["type"] == "Isolation")
    };
    let broken = |seen: &Option<Value>| seen.as_ref().is_some_and(|it| it["state"] == false);
    wait_for("the condition", isolation, broken);
    world.freehold(&["status"]).ok().says("instances are not kept apart: the packet filter's table");
    world.freehold(&["doctor"]).says("isolation on").says("nft monitor");
    enemy.kill().unwrap();
    enemy.wait().unwrap();
    wait_for("the rules", || table(&world), |seen| *seen == whole);
    wait_for("the condition to go", isolation, |seen| !broken(seen));
    assert!(healed(&world).len() <= 3, "a flood: {:#?}", healed(&world));
}
