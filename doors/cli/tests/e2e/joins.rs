//! Machines that join: tokens, certificates that a foreign client verifies, renewal, rotation, revocation.

use crate::world::{Ended, FREEHOLD, World, eventually, wait_for, workspace};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

const DOOR: &str = "127.0.0.1:7412";
const URL: &str = "https://127.0.0.1:7412";

/// Another machine: a data folder that the first one's is not searched with.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        Machine { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("identity").join(name)
    }

    fn data(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn join_at(&self, world: &World, url: &str, token: &str, name: &str) -> Ended {
        let mut command = world.command(FREEHOLD);
        command.args(["node", "join", url, "--enrol-only", "--name", name, "--data", self.data()]);
        let ended = Ended::of(command.env("FREEHOLD_TOKEN", token));
        world.assert_says_no_secret(&["node", "join"], &ended);
        ended
    }

    fn join(&self, world: &World, token: &str, name: &str) -> Ended {
        self.join_at(world, URL, token, name)
    }

    fn renew(&self, world: &World) -> Ended {
        world.freehold(&["node", "renew", "--data", self.data()])
    }

    /// Asks a node route as curl does it; the status that it answered with.
    fn asks(&self, world: &World, path: &str) -> String {
        self.asks_with(world, path, &self.file("node.pem"))
    }

    fn asks_with(&self, world: &World, path: &str, certificate: &Path) -> String {
        let mut curl = world.command("curl");
        curl.args(["-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}"]);
        curl.args(["--resolve", "control.freehold.internal:7412:127.0.0.1", "--cacert"]);
        curl.arg(self.file("root.pem"))
            .arg("--cert")
            .arg(certificate)
            .arg("--key")
            .arg(self.file("node.key"));
        Ended::of(curl.arg(format!("https://control.freehold.internal:7412{path}"))).out
    }
}

fn house() -> Option<World> {
    let mut world = World::new()?;
    world.up(&["--node-listen", DOOR]);
    Some(world)
}

/// A join token; from here on it may be seen nowhere.
fn token(world: &World, more: &[&str]) -> String {
    let ended = world.freehold(&[&["node", "token", "create"], more].concat()).ok();
    let token = ended.out.trim().to_owned();
    world.plant_value(token.split('_').nth(2).expect("a secret"));
    token
}

fn events(world: &World, what: &str) -> Vec<serde_json::Value> {
    let all = world.json(&["events", "--last", "1000"]);
    let all = all.as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|event| event["what"] == what).collect()
}

#[test]
fn a_machine_joins_once_and_a_foreign_client_believes_its_certificate() {
    let Some(world) = house() else { return };
    let (token, machine) = (token(&world, &[]), Machine::new());
    machine.join(&world, &token, "nas").ok().says("node nas");
    let key = fs::read_to_string(machine.file("node.key")).unwrap();
    world.plant_value(key.lines().nth(1).expect("base64"));
    let nodes = world.json(&["node", "list"]);
    assert!(nodes.as_array().unwrap().iter().any(|node| node["name"] == "nas"), "{nodes:#}");
    assert_eq!(events(&world, "node.joined").len(), 1);
    machine.join(&world, &token, "nas").exits(5).says("joined already");

    // The token lets nobody else in, nor does one for gateways, and both are audited.
    let other = Machine::new();
    other.join(&world, &token, "second").exits(3).says("was used already");
    let gateway = self::token(&world, &["--kind", "gateway", "--ttl", "10m"]);
    other.join(&world, &gateway, "second").exits(3).says("for a gateway");
    let reasons = events(&world, "jointoken.refused");
    let reasons: Vec<&str> = reasons.iter().filter_map(|event| event["data"]["reason"].as_str()).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons.contains(&"used") && reasons.contains(&"wrong_kind"), "{reasons:?}");

    let roots = world.write("roots.pem", &world.freehold(&["ca", "roots"]).ok().out);
    let chain = machine.file("node.pem");
    let chain = chain.to_str().unwrap();
    world
        .sh(&format!("openssl verify -x509_strict -CAfile {roots} -untrusted {chain} {chain}"))
        .ok()
        .says("OK");
    world.sh(&format!("openssl x509 -in {chain} -noout -text")).ok().says("URI:spiffe://").says("/node/nod_");
    let shake = |more: &str| {
        world.sh(&format!(
            "openssl s_client -connect {DOOR} -CAfile {roots} -verify_return_error \
             -verify_hostname control.freehold.internal {more} </dev/null"
        ))
    };
    shake("").ok().says("Verify return code: 0 (ok)").says("TLSv1.3");
    assert_ne!(shake("-tls1_2").code, 0, "nothing older than TLS 1.3");
    assert_eq!(machine.asks(&world, "/v1/node/certificate"), "200");
    // The API of people is not there, and the other way round.
    assert_eq!(machine.asks(&world, "/v1/resources"), "404");
    let machine_route =
        world.sh("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:7411/v1/node/certificate");
    assert_eq!(machine_route.out, "404");
}

#[test]
fn a_machine_says_nothing_to_a_server_of_another_house() {
    let Some(world) = house() else { return };
    let token = token(&world, &[]);
    world
        .sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -addext \
              subjectAltName=DNS:control.freehold.internal -keyout k.pem -out c.pem")
        .ok();
    let mut foreign = Foreign::start(&world);
    let machine = Machine::new();
    machine.join_at(&world, "https://127.0.0.1:7413", &token, "nas").exits(3).says("nothing was sent");
    let heard = foreign.stop();
    assert!(!heard.contains("fhj_") && !heard.contains("POST"), "{heard}");
    // The same with a root that the house does not have; the token can be used all the same.
    let root = token.split('_').nth(3).unwrap();
    let forged = token.replace(root, &"0".repeat(64));
    machine.join(&world, &forged, "nas").exits(3).says("nothing was sent");
    machine.join(&world, &token, "nas").ok();
}

/// Another program that speaks TLS, and writes down what it hears.
struct Foreign(Child);

impl Foreign {
    fn start(world: &World) -> Foreign {
        let mut server = world.command("openssl");
        server.args(["s_server", "-accept", "127.0.0.1:7413", "-cert", "c.pem", "-key", "k.pem", "-quiet"]);
        let server =
            server.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let open = || world.sh("exec 3<>/dev/tcp/127.0.0.1/7413").code == 0;
        assert!(eventually(Duration::from_secs(20), open), "openssl s_server does not listen");
        Foreign(server)
    }

    fn stop(&mut self) -> String {
        use std::io::Read as _;
        self.0.kill().unwrap();
        let mut heard = vec![];
        self.0.stdout.take().unwrap().read_to_end(&mut heard).unwrap();
        self.0.wait().unwrap();
        String::from_utf8_lossy(&heard).into_owned()
    }
}

#[test]
fn a_revoked_node_is_refused_and_its_open_connections_are_cut() {
    let Some(mut world) = house() else { return };
    let machine = Machine::new();
    machine.join(&world, &token(&world, &[]), "nas").ok();
    assert_eq!(machine.asks(&world, "/v1/node/certificate"), "200");
    let mut open = world.command("openssl");
    open.args(["s_client", "-quiet", "-connect", DOOR, "-cert"]).arg(machine.file("node.pem"));
    open.arg("-cert_chain").arg(machine.file("node.pem")).arg("-key").arg(machine.file("node.key"));
    let mut open = open.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    {
        use std::io::{BufRead as _, BufReader, Write as _};
        let ask = b"GET /v1/node/certificate HTTP/1.1\r\nhost: h\r\n\r\n";
        open.stdin.as_mut().unwrap().write_all(ask).unwrap();
        let mut line = String::new();
        BufReader::new(open.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("200"), "{line}");
    }
    world.freehold(&["node", "revoke", "nas", "-y"]).ok().says("refused everywhere");
    let cut = eventually(Duration::from_secs(5), || open.try_wait().unwrap().is_some());
    let _ = open.kill();
    open.wait().unwrap();
    assert!(cut, "the connection of a revoked node stays open");
    assert_eq!(machine.asks(&world, "/v1/node/certificate"), "403");
    machine.renew(&world).exits(3).says("revoked");
    assert_eq!(events(&world, "identity.revoked").len(), 1);
    // Not for this life alone.
    world.kill();
    world.up(&["--node-listen", DOOR]);
    assert_eq!(machine.asks(&world, "/v1/node/certificate"), "403");
}

#[test]
fn rotations_are_not_noticed_and_what_is_old_goes_when_nobody_needs_it() {
    let Some(world) = house() else { return };
    let (one, two, late) = (Machine::new(), Machine::new(), Machine::new());
    one.join(&world, &token(&world, &[]), "one").ok();
    two.join(&world, &token(&world, &[]), "two").ok();
    let early_token = token(&world, &[]);
    let stop = AtomicBool::new(false);
    let (asked, failed) = (AtomicU32::new(0), AtomicU32::new(0));
    let old = one.folder.path().join("old.pem");
    fs::copy(one.file("node.pem"), &old).unwrap();
    std::thread::scope(|scope| {
        for machine in [&one, &two] {
            let (world, stop, asked, failed) = (&world, &stop, &asked, &failed);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let status = machine.asks(world, "/v1/node/certificate");
                    asked.fetch_add(1, Ordering::Relaxed);
                    if status != "200" {
                        eprintln!("{}: {status:?}", machine.data());
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let numbers = |what: &str| -> Vec<u64> {
            let status = world.json(&["ca", "status"]);
            status[what].as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect()
        };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_eq!((numbers("roots"), numbers("intermediates")), (vec![1], vec![2]));
            world.freehold(&["ca", "rotate-intermediate"]).ok();
            assert_eq!(numbers("intermediates"), [3, 2]);
            one.renew(&world).ok();
            two.renew(&world).ok();
            wait_for("the old intermediate to go", || numbers("intermediates"), |all| all == &[3]);

            world.freehold(&["ca", "rotate-root"]).ok();
            assert_eq!(numbers("roots"), [4, 1]);
            // A token that names the old root leads in, over the new one's certificate by the old.
            late.join(&world, &early_token, "late").ok();
            one.renew(&world).ok();
            late.renew(&world).ok();
            let status = world.json(&["ca", "status"]);
            assert_eq!(status["roots"][1]["needed_by"], serde_json::json!(["two"]), "{status:#}");
            assert_eq!(numbers("roots"), [4, 1]);
            two.renew(&world).ok();
            wait_for("the old root to go", || numbers("roots"), |all| all == &[4]);
            assert_eq!(late.asks(&world, "/v1/node/certificate"), "200");
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
    let (asked, failed) = (asked.into_inner(), failed.into_inner());
    assert!(asked > 10 && failed == 0, "{failed} of {asked} requests failed");
    assert_ne!(one.asks_with(&world, "/v1/node/certificate", &old), "200", "under a root that is gone");
}

#[test]
fn strangers_who_send_too_much_or_nonsense_disturb_nobody() {
    let Some(world) = house() else { return };
    let (token, machine) = (token(&world, &[]), Machine::new());
    let idle = "for i in $(seq 40); do exec {fd}<>/dev/tcp/127.0.0.1/7412; done; sleep 20";
    let mut idle = world.command("bash").args(["-c", idle]).spawn().unwrap();
    world.sh("head -c 100000 /dev/urandom > /dev/tcp/127.0.0.1/7412 || true").ok();
    world.sh("printf 'GET / HTTP/1.1\\r\\n\\r\\n' > /dev/tcp/127.0.0.1/7412").ok();
    let post = |body: &str| {
        let mut curl = world.command("curl");
        curl.args([
            "-sk",
            "-w",
            "%{http_code}",
            "-H",
            "content-type: application/json",
            "--data-binary",
            "@-",
        ]);
        Ended::of_fed(curl.arg(format!("{URL}/v1/join")), body)
    };
    let body = |csr: &str| {
        let csr = serde_json::to_string(csr).unwrap();
        format!(r#"{{"token":"{token}","machine":"node","name":"x","csr":{csr},"protocol":1}}"#)
    };
    assert!(post(&body(&"A".repeat(1 << 20))).out.ends_with("413"));
    let refused = post(&body(&"A".repeat(20 << 10))).ok().out;
    assert!(refused.contains("larger than 8 KiB") && refused.ends_with("422"), "{refused}");
    let malformed =
        post(&body("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----")).out;
    assert!(malformed.contains("PKCS #10") && malformed.ends_with("422"), "{malformed}");
    let secret = token.split('_').nth(2).unwrap();
    let misplaced = post(&format!(r#"{{"machine":"{token}"}}"#)).out;
    assert!(!misplaced.contains(secret) && misplaced.ends_with("422"), "{misplaced}");
    machine.join(&world, &token, "nas").ok();
    idle.kill().unwrap();
    idle.wait().unwrap();
}

/// The runbooks, every command of them, in order: on a control plane, with one node beside it.
#[test]
fn every_command_of_the_runbooks_works() {
    let Some(world) = house() else { return };
    let machine = Machine::new();
    machine.join(&world, &token(&world, &[]), "nas").ok();
    for name in ["rotate-intermediate", "rotate-root", "rotate-node-certificate"] {
        let text = fs::read_to_string(workspace().join(format!("docs/runbooks/{name}.md"))).unwrap();
        let blocks: Vec<&str> =
            text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
        assert!(!blocks.is_empty(), "{name}");
        let script =
            format!("set -euo pipefail\nset -x\nfreehold() {{ {FREEHOLD} \"$@\"; }}\n{}", blocks.concat());
        let mut shell = world.command("bash");
        Ended::of(shell.args(["-c", &script]).env("FREEHOLD_DATA", machine.data())).ok();
        assert_eq!(machine.asks(&world, "/v1/node/certificate"), "200", "after {name}");
    }
    let status = world.json(&["ca", "status"]);
    assert_eq!(status["roots"].as_array().unwrap().len(), 1, "{status:#}");
}

/// Gateways and devices enrol with tokens of their kind, keep an identity that renews, and are shut out; they do
/// nothing that nodes do.
#[test]
fn gateways_and_devices_enrol_renew_and_are_shut_out() {
    let Some(world) = house() else { return };
    for kind in ["gateway", "device"] {
        let machine = Machine::new();
        let join = |token: &str, kind: &str| {
            let mut command = world.command(FREEHOLD);
            command.args([kind, "join", URL, "--enrol-only", "--name", "phone", "--data", machine.data()]);
            Ended::of(command.env("FREEHOLD_TOKEN", token))
        };
        let of_node = token(&world, &[]);
        join(&of_node, kind).exits(3).says("for a node");
        let own = token(&world, &["--kind", kind]);
        join(&own, "node").exits(3).says(&format!("for a {kind}"));
        join(&own, kind).ok().says(&format!("{kind} phone"));
        join(&own, kind).exits(5).says("joined already");
        let whoami = || world.freehold(&[kind, "whoami", "--data", machine.data()]);
        whoami().ok().says(&format!("{kind} phone"));
        let pem = || fs::read_to_string(machine.file("node.pem")).unwrap();
        let before = pem();
        world.freehold(&[kind, "renew", "--data", machine.data()]).ok();
        assert_ne!(pem(), before);
        whoami().ok();
        let chain = machine.file("node.pem");
        let text = world.sh(&format!("openssl x509 -in {} -noout -text", chain.display())).ok();
        text.says(&format!("/{kind}/"));
        // What is of nodes is not theirs.
        assert_eq!(machine.asks(&world, "/v1/node/certificate"), "200");
        assert_ne!(machine.asks(&world, "/v1/node/assignments"), "200");
        assert_ne!(machine.asks(&world, "/v1/control/calls/nod_00000000000000000000000000"), "200");
        world
            .freehold(&["node", "run", "--data", machine.data()])
            .exits(1)
            .says(&format!("joined as a {kind}"));
        let list = world.json(&[kind, "list"]);
        assert_eq!(list[0]["name"], "phone", "{list:#}");
        assert_eq!(events(&world, &format!("{kind}.joined")).len(), 1);

        world.freehold(&[kind, "revoke", "phone", "-y"]).ok().says("refused everywhere");
        let refused = || machine.asks(&world, "/v1/node/certificate");
        wait_for("its refusal", refused, |status| status != "200");
        world.freehold(&[kind, "renew", "--data", machine.data()]).exits(3).says("revoked");
        world.freehold(&[kind, "remove", "phone", "-y"]).ok();
        assert_eq!(world.json(&[kind, "list"]), serde_json::json!([]));
    }
}
