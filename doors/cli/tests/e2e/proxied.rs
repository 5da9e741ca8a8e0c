//! The API behind an endpoint of the edge that speaks the PROXY protocol: nothing is smuggled between the two, and
//! only the trusted proxy says who the client is.

use crate::{
    hostile::{SECOND, ambiguous, answers, is_refused, raw_to},
    world::{Ended, World, nginx_layout, wait_for},
};
use std::fmt::Write as _;

/// Carries bytes as they are from 127.0.0.1:9000 to the API, as 127.0.0.2, which the API trusts.
const RELAY: &str = r#"
schema = 1
app = "front"

[process.relay]
image = "nginx:1"
driver = "process"
memory = "256MiB"
pids = 1000
stop_timeout = "1s"
command = ["perl", "-MIO::Socket::INET", "-MIO::Select", "-e", '''
 $SIG{CHLD} = "IGNORE"; $SIG{PIPE} = "IGNORE";
 my $l = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 9000, Listen => 512, ReuseAddr => 1) or die $!;
 while (my $c = $l->accept) { next if fork;
   my $a = IO::Socket::INET->new(LocalAddr => "127.0.0.2", PeerAddr => "127.0.0.1:7411") or exit;
   my $s = IO::Select->new($c, $a);
   while (1) { for my $r ($s->can_read) { my $o = $r == $c ? $a : $c;
     if (sysread $r, my $b, 65536) { my $at = 0; while ($at < length $b) { $at += syswrite($o, $b, length($b) - $at, $at) || exit } }
     else { exit if $r == $a; $s->remove($r); shutdown $o, 1 } } } }''']

[[endpoint]]
process = "relay"
listen = 8001
target = 9000
proxy_protocol = "v1"

[[endpoint]]
process = "relay"
listen = 8002
target = 9000
proxy_protocol = "v2"
"#;

const EDGES: [&str; 2] = ["127.0.0.1:8001", "127.0.0.1:8002"];
const API: &str = "127.0.0.1:7411";
const PROXY: &str = "127.0.0.2";
const GOOD: &str = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
const LINE: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n";

fn behind(flags: &[&str]) -> Option<World> {
    let mut world = World::new()?;
    world.up(&[&["--trusted-proxy", PROXY], flags].concat());
    Some(world)
}

fn with_front() -> Option<World> {
    let world = behind(&[])?;
    world.skopeo_push(&nginx_layout(), "1", "nginx:1");
    let file = world.write("freehold.toml", RELAY);
    world.freehold(&["deploy", "-f", &file, "--wait-timeout", "60s"]).ok();
    let asked = format!("{GOOD}{SECOND}");
    for edge in EDGES {
        let said = || answers(&raw_to(&world, "127.0.0.5", edge, &asked));
        wait_for("the API through the edge", said, |found| *found == [200, 200]);
    }
    Some(world)
}

#[test]
fn nothing_is_smuggled_between_the_edge_and_the_api() {
    let Some(world) = with_front() else { return };
    let mut rows = ambiguous();
    // A client behind the edge that sends a header itself: the edge has sent its own, so it is a bad request.
    rows.push(("a header of its own", format!("{LINE}{SECOND}")));
    rows.push(("two of its own", format!("{LINE}{LINE}{SECOND}")));
    rows.push(("a binary one of its own", format!("\r\n\r\n\0\r\nQUIT\n {}{SECOND}", "\0\0\0")));
    rows.push(("one behind a good request", format!("{GOOD}{LINE}{SECOND}")));
    let mut wrong = String::new();
    for edge in EDGES {
        std::thread::scope(|scope| {
            let world = &world;
            let ask = |bytes| scope.spawn(move || raw_to(world, "127.0.0.5", edge, bytes));
            let asked: Vec<_> = rows.iter().map(|(name, bytes)| (name, ask(bytes))).collect();
            for (name, asked) in asked {
                let said = asked.join().unwrap();
                let found = answers(&said);
                let good = if name.contains("good") { found.first() == Some(&200) } else { true };
                let rest = if name.contains("good") { found.get(1..).unwrap_or_default() } else { &found };
                if !good || !is_refused(rest) {
                    let _ = writeln!(wrong, "{edge}, {name}: {found:?} {said}");
                }
            }
        });
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_client_is_who_the_edge_says_and_not_who_it_says_itself() {
    let Some(world) = with_front() else { return };
    let made = world.json(&["user", "create", "ada", "--role", "viewer", "--org", "home"]);
    // Where there is no password there is nothing to guess, and nothing to note.
    let taken = serde_json::json!({ "invite": made["invite"], "password": "four words of ours" }).to_string();
    let take = format!(
        "POST /v1/invites HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{taken}",
        taken.len()
    );
    assert_eq!(answers(&raw_to(&world, "127.0.0.4", API, &take)), [201]);
    let body = r#"{"user":"ada","password":"not-the-one-it-is"}"#;
    let sign_in = |claims: &str| {
        format!(
            "POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{claims}Content-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let claims = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n";
    // Through the edge, and straight to the API: whose address it is, and nobody's word for it.
    for (from, to) in [("127.0.0.5", EDGES[0]), ("127.0.0.6", EDGES[1]), ("127.0.0.7", API)] {
        assert_eq!(answers(&raw_to(&world, from, to, &sign_in(claims))), [401], "{from}");
    }
    let told = format!("{LINE}{}", sign_in(claims));
    assert_eq!(answers(&raw_to(&world, PROXY, API, &told)), [401]);
    let audit = world.json(&["audit", "list", "--what", "user.sign_in_refused"]).to_string();
    for address in ["127.0.0.5", "127.0.0.6", "127.0.0.7", "192.0.2.7"] {
        assert!(audit.contains(&format!("\"address\":\"{address}\"")), "{address}: {audit}");
    }
    assert!(!audit.contains("6.6.6.6") && !audit.contains(PROXY), "{audit}");

    // Limits are the client's own: what it claims to be gives it no more, and who comes through the same proxy has
    // lost nothing.
    let asks = |from: &str, edge: &str, times: usize| {
        let one = |n| {
            format!(
                "GET /v1/whoami HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 10.{}.{}.1\r\n\r\n",
                n / 250,
                n % 250
            )
        };
        let many: String = (0..times).map(one).collect();
        answers(&raw_to(&world, from, edge, &format!("{many}{SECOND}")))
    };
    let spent = asks("127.0.0.5", EDGES[1], 1_300);
    assert!(spent.contains(&401) && spent.contains(&429), "{} answers", spent.len());
    let other = asks("127.0.0.6", EDGES[0], 100);
    assert!(other.len() == 101 && !other.contains(&429), "{other:?}");
}

#[test]
fn a_header_is_read_from_the_proxy_alone_and_only_whole() {
    let Some(world) = behind(&[]) else { return };
    // Strangers are not believed: to them it is a bad request.
    assert!(is_refused(&answers(&raw_to(&world, "127.0.0.5", API, &format!("{LINE}{SECOND}")))));
    let v2 = |command: u8, family: u8, length: u16, rest: &[u8]| {
        let mut all = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        all.extend([command, family]);
        all.extend(length.to_be_bytes());
        [all.as_slice(), rest].concat()
    };
    let ip = [192, 0, 2, 7, 192, 0, 2, 1, 0x10, 0, 0, 80];
    let second = SECOND.as_bytes();
    let behind = |head: &[u8]| [head, second].concat();
    let rows: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("version 1", behind(LINE.as_bytes()), &[200]),
        ("version 2", behind(&v2(0x21, 0x11, 12, &ip)), &[200]),
        ("the proxy's own", behind(&v2(0x20, 0, 0, &[])), &[200]),
        ("unknown", behind(b"PROXY UNKNOWN\r\n"), &[200]),
        ("none", second.to_vec(), &[]),
        ("a line too long", behind(format!("PROXY TCP4 {}\r\n", "1".repeat(120)).as_bytes()), &[]),
        ("a line without end", format!("PROXY TCP4 {}", "1".repeat(4096)).into_bytes(), &[]),
        ("a bare line feed", behind(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\n"), &[]),
        ("a port beyond all", behind(b"PROXY TCP4 192.0.2.7 192.0.2.1 70000 443\r\n"), &[]),
        ("an address that is none", behind(b"PROXY TCP4 192.0.2.777 192.0.2.1 5000 443\r\n"), &[]),
        ("another family", behind(b"PROXY TCP6 192.0.2.7 192.0.2.1 5000 443\r\n"), &[]),
        ("no length", behind(&v2(0x21, 0x11, 0, &[])), &[]),
        ("too short a length", behind(&v2(0x21, 0x11, 11, &ip)), &[]),
        ("the longest length", behind(&v2(0x21, 0x11, u16::MAX, &ip)), &[]),
        ("more than there is", v2(0x21, 0x11, 2000, &ip), &[]),
        ("another version", behind(&v2(0x31, 0x11, 12, &ip)), &[]),
        ("another command", behind(&v2(0x2f, 0x11, 12, &ip)), &[]),
        ("half a line", b"PROXY TCP4 192.0.2.7 ".to_vec(), &[]),
        ("half a signature", b"\r\n\r\n\0\r\nQU".to_vec(), &[]),
        ("a length that eats the request", behind(&v2(0x21, 0x11, 12 + 10, &ip)), &[400]),
        ("two in one packet", [LINE.as_bytes(), LINE.as_bytes(), second].concat(), &[400]),
    ];
    std::thread::scope(|scope| {
        let world = &world;
        // Many that say half of one, all at once: each is cut, and others are served meanwhile.
        let line = r#"alarm 60; my @all = map { my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:7411", LocalAddr => "127.0.0.2") or die $!;
            print $s "PROXY TCP4 192.0.2.7"; $s->flush; $s } 1..300;
            for my $s (@all) { local $/; <$s> } print "closed""#;
        let crowd =
            scope.spawn(move || Ended::of(world.command("perl").args(["-MIO::Socket::INET", "-e", line])));
        let ask = |bytes: &[u8]| {
            let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
            scope.spawn(move || from_proxy(world, &octal, "0"))
        };
        let asked: Vec<_> = rows.iter().map(|(name, bytes, wanted)| (name, wanted, ask(bytes))).collect();
        world.freehold(&["whoami"]).ok();
        let mut wrong = String::new();
        for (name, wanted, asked) in asked {
            let found = answers(&asked.join().unwrap());
            if found != **wanted {
                let _ = writeln!(wrong, "{name}: {found:?} and not {wanted:?}");
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
        assert_eq!(crowd.join().unwrap().out, "closed");
    });
    // One byte at a time is a header all the same.
    let octal: String = format!("{LINE}{SECOND}").bytes().map(|byte| format!("\\{byte:03o}")).collect();
    assert_eq!(answers(&from_proxy(&world, &octal, "0.002")), [200]);
}

/// Sends bytes, written in octal, from the proxy's address: all at once, or one after another.
fn from_proxy(world: &World, octal: &str, pause: &str) -> String {
    let line = r#"alarm 40; my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:7411", LocalAddr => "127.0.0.2") or die $!;
        $SIG{PIPE} = "IGNORE"; local $/; my $all = <STDIN>; $all =~ s/\\(\d{3})/chr oct $1/ge;
        if ($ARGV[0] == 0) { syswrite $s, $all } else { for (split //, $all) { syswrite $s, $_; select undef, undef, undef, $ARGV[0] } }
        while (sysread $s, my $b, 65536) { print $b }"#;
    Ended::of_fed(world.command("perl").args(["-MIO::Socket::INET", "-e", line, pause]), octal).out
}

#[test]
fn the_machines_own_commands_cannot_be_shut_out_by_mistake() {
    let Some(world) = World::new() else { return };
    for network in ["127.0.0.1", "127.0.0.0/8", "::1"] {
        let ended = world.freehold(&["up", "--data", "x", "--trusted-proxy", network]);
        ended.exits(2).says("this machine's own commands").says("source 127.0.0.2");
    }
    world
        .freehold(&["up", "--data", "x", "--trusted-proxy", "proxy.local"])
        .exits(2)
        .says("neither an address nor a network");
}
