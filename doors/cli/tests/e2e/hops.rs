//! Instances on another node, reached through the first machine: they see the client, once, as instances of the
//! first machine do.

use crate::{
    far::{Far, house},
    world::{World, nginx_layout, wait_for},
};
use std::{collections::BTreeSet, fs};

/// A server that answers with its own address and all that it got, and one of datagrams that does the same.
const MANIFEST: &str = r#"
schema = 1
app = "hops"

[process.web]
image = "nginx:1"
count = 2
memory = "64MiB"
stop_timeout = "1s"
affinity = { apart = ["web"] }
command = ["perl", "-MIO::Socket::INET", "-e", '''
 if (!fork) { my $u = IO::Socket::INET->new(LocalPort => 9001, Proto => "udp") or die $!;
   while (1) { my $from = recv $u, my $t, 65535, 0; send $u, "udp|$t", 0, $from if defined $from } }
 my $l = IO::Socket::INET->new(LocalPort => 9000, Listen => 64, ReuseAddr => 1) or die $!;
 while (my $c = $l->accept) { local $/; my $all = <$c>; print $c $c->sockhost, "|", $all; close $c }''']

[[endpoint]]
process = "web"
listen = 8000
target = 9000
proxy_protocol = "v1"

[[endpoint]]
process = "web"
listen = 8001
target = 9000

[[endpoint]]
process = "web"
listen = 5300
target = 9001
protocol = "udp"
idle_timeout = "1s"
"#;

#[test]
fn an_instance_on_any_node_sees_one_header_with_the_clients_address() {
    let Some((world, far)) = house() else { return };
    world.skopeo_push(&nginx_layout(), "1", "nginx:1");
    let file = world.write("freehold.toml", MANIFEST);
    world.freehold(&["deploy", "-f", &file, "--wait-timeout", "60s"]).ok();
    // Both are backends of the first machine's edge, the other one by its port for hops.
    let status = |world: &World| world.json(&["endpoint", "list"]).to_string();
    wait_for(
        "the way to the far edge",
        || status(&world),
        |text| text.matches("\"backends\":2").count() >= 3,
    );

    let answers = |port: u16| -> Vec<(String, String)> {
        let ask = || {
            let line = format!(
                "perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(LocalAddr => \"127.0.0.5\", \
                 PeerAddr => \"127.0.0.1:{port}\") or die $!; print $s \"hello\"; shutdown $s, 1; local $/; print <$s>'"
            );
            let out = world.sh(&line).ok().out;
            let (instance, got) = out.split_once('|').unwrap_or_else(|| panic!("{out}"));
            (instance.to_owned(), got.to_owned())
        };
        (0..4).map(|_| ask()).collect()
    };
    let told = answers(8000);
    for (instance, got) in &told {
        let (header, payload) = got.split_once("\r\n").unwrap_or_else(|| panic!("{instance}: {got}"));
        assert!(header.starts_with("PROXY TCP4 127.0.0.5 127.0.0.1 "), "{instance}: {got}");
        assert_eq!((header.ends_with(" 8000"), payload), (true, "hello"), "{instance}: {got}");
    }
    let instances: BTreeSet<_> = told.iter().map(|(instance, _)| instance).collect();
    assert_eq!(instances.len(), 2, "{told:?}");
    let plain = answers(8001);
    assert!(plain.iter().all(|(_, got)| got == "hello"), "{plain:?}");

    for n in 0..4 {
        let line = format!(
            "perl -MIO::Socket::INET -e 'alarm 10; my $s = IO::Socket::INET->new(LocalAddr => \"127.0.0.5\", \
             PeerAddr => \"127.0.0.1:5300\", Proto => \"udp\"); $s->send(\"hello {n}\"); recv $s, my $t, 100, 0; print $t'"
        );
        assert_eq!(world.sh(&line).ok().out, format!("udp|hello {n}"));
    }
    // The far edge knows the client as well: of streams and of datagrams.
    for endpoint in ["tcp/8000", "tcp/8001", "udp/5300"] {
        let clients = || clients_there(&world, &far, endpoint);
        let found = wait_for("the far access log", clients, |clients| clients.len() >= 2);
        assert!(found.iter().all(|it| it == "127.0.0.5"), "{endpoint}: {found:?}");
    }
}

/// The clients in an endpoint's access log on the far node.
fn clients_there(world: &World, far: &Far, endpoint: &str) -> Vec<String> {
    let all = world.json(&["endpoint", "list"]);
    let named = all.as_array().unwrap().iter().find(|it| it["name"] == endpoint).unwrap();
    let path = far.data.join("access").join(format!("{}.log", named["id"].as_str().unwrap()));
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter_map(|line| Some(line["client"].as_str()?.rsplit_once(':')?.0.to_owned())).collect()
}
