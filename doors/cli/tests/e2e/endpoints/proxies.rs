//! Endpoints behind a real HAProxy: the client's address comes through it, to the access log and on to nginx.

use super::{TELLING, deploy, log, manifest, tcp, world};
use crate::world::{World, wait_for};
use std::process::{Child, Stdio};

const TRUSTING: &str = "proxy_protocol = \"v2\"\ntrusted_proxies = [\"127.0.0.1\", \"::1\"]";

/// HAProxy with a way through for each version of the header; it asks after the endpoint's health, in the
/// same words, ten times a second.
const HAPROXY: &str = "
global
    log stderr format raw local0
defaults
    mode tcp
    log global
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen one
    bind 127.0.0.1:8101
    server edge 127.0.0.1:8000 send-proxy check inter 100ms
listen two
    bind 127.0.0.1:8102
    server edge 127.0.0.1:8000 send-proxy-v2 check inter 100ms
listen six
    bind [::1]:8103
    server edge [::1]:8000 send-proxy-v2-ssl check inter 100ms
listen none
    bind 127.0.0.1:8104
    server edge 127.0.0.1:8000
";

struct HaProxy(Child);

impl HaProxy {
    fn start(world: &World) -> HaProxy {
        let file = world.write("haproxy.cfg", HAPROXY);
        let log = std::fs::File::create(world.path("haproxy.log")).unwrap();
        let mut command = world.command("haproxy");
        // Debug mode (-db): in the foreground, one process.
        command.args(["-db", "-f", &file]).stdout(Stdio::null()).stderr(log);
        HaProxy(command.spawn().expect("haproxy is installed"))
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_client_behind_haproxy_keeps_its_address() {
    let Some(world) = world() else { return };
    deploy(&world, &manifest(TELLING, &tcp(TRUSTING)));
    let _haproxy = HaProxy::start(&world);
    let through = |port: u16| {
        let (from, to) = if port == 8103 { ("::1", "[::1]") } else { ("127.0.0.5", "127.0.0.1") };
        world.sh(&format!("curl -sS --max-time 5 --interface {from} http://{to}:{port}/")).out
    };
    for (port, says) in [(8101, "127.0.0.5 to 8101"), (8102, "127.0.0.5 to 8102"), (8103, "::1 to 8103")] {
        let told = wait_for("an answer through HAProxy", || through(port), |answer| !answer.is_empty());
        assert_eq!(told, says);
    }
    let clients = || {
        let lines = log(&world, "tcp/8000");
        let answered = lines.iter().filter(|line| line["end"] == "done" && line["bytes_in"] != 0);
        answered.map(|line| line["client"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let behind = |from: &'static str| move |client: &String| client.starts_with(from);
    let clients = wait_for("the access log", clients, |all| all.iter().any(behind("[::1]:")));
    let v4 = clients.iter().filter(|client| behind("127.0.0.5:")(client)).count();
    assert!(v4 >= 2 && !clients.iter().any(behind("127.0.0.1:")), "{clients:?}");

    // HAProxy's own questions are well understood.
    let traffic = || world.json(&["endpoint", "list"])[0]["traffic"].clone();
    let asked = traffic()["connections"].as_u64().unwrap();
    let after = wait_for("ten more questions", traffic, |it| it["connections"].as_u64() > Some(asked + 10));
    assert_eq!(after["bad_headers"], 0, "{after:#}");
    assert!(!std::fs::read_to_string(world.path("haproxy.log")).unwrap().contains("DOWN"));

    // A proxy that is trusted and says nothing is told so; who is not trusted needs no header.
    assert_eq!(through(8104), "");
    let line = wait_for(
        "the log",
        || log(&world, "tcp/8000"),
        |all| all.iter().any(|line| line["end"] == "bad_header"),
    );
    assert!(line.iter().filter(|line| line["end"] == "bad_header").all(|line| line["instance"].is_null()));
    assert!(world.up_log().contains("does not begin with a PROXY header"), "{}", world.up_log());
    world
        .freehold(&["endpoint", "describe", "tcp/8000"])
        .ok()
        .says("without a PROXY header that can be read: 1");
    let direct = world.sh("curl -sS --max-time 5 --interface 127.0.0.5 http://127.0.0.1:8000/").ok();
    assert_eq!(direct.out, "127.0.0.5 to 8000");
    let spoof = "curl -sS --max-time 5 --interface 127.0.0.5 --haproxy-protocol --haproxy-clientip 9.9.9.9 http://127.0.0.1:8000/";
    assert!(!world.sh(spoof).out.contains("9.9.9.9"), "a stranger is believed");
}
