//! Requests that mean harm, byte for byte on raw sockets, to the built binary: none smuggles a second request,
//! and who is slow or sends too much is not waited for.

use crate::world::{Ended, World};
use std::fmt::Write as _;

/// What is sent behind the bad request: it must never be answered.
pub(crate) const SECOND: &str = "GET /openapi.json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// Sends bytes to the API and says everything that came back until the server closed.
fn raw(world: &World, bytes: &str) -> String {
    raw_to(world, "127.0.0.1", "127.0.0.1:7411", bytes)
}

/// The same from an address of the machine to another.
pub(crate) fn raw_to(world: &World, from: &str, to: &str, bytes: &str) -> String {
    let line = r#"alarm 40; my $s = IO::Socket::INET->new(PeerAddr => $ARGV[1], LocalAddr => $ARGV[0]) or die $!;
        local $/; my $all = <STDIN>; $SIG{PIPE} = "IGNORE"; print $s $all; $s->flush; print <$s>"#;
    let args = ["-MIO::Socket::INET", "-e", line, from, to];
    Ended::of_fed(world.command("perl").args(args), bytes).out
}

pub(crate) fn answers(text: &str) -> Vec<u16> {
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|line| line.get(..3)?.parse().ok()).collect()
}

/// Requests in which two servers in a row could see different ends, each with [`SECOND`] behind it.
pub(crate) fn ambiguous() -> Vec<(&'static str, String)> {
    // One length twice is missing: hyper takes equal ones for one (RFC 9112, 6.3), and so does everybody.
    let body = SECOND.len();
    vec![
        (
            "both lengths",
            format!(
                "POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-Length: {body}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SECOND}"
            ),
        ),
        (
            "both lengths, the other way",
            format!(
                "POST /v1/session HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n{SECOND}"
            ),
        ),
        (
            "two lengths",
            format!(
                "POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: {body}\r\n\r\n{SECOND}"
            ),
        ),
        (
            "a list of lengths",
            format!("POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-Length: 0, {body}\r\n\r\n{SECOND}"),
        ),
        (
            "a signed length",
            format!("POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-Length: +0\r\n\r\n{SECOND}"),
        ),
        (
            "a negative length",
            format!("POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n{SECOND}"),
        ),
        (
            "an endless length",
            format!(
                "POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n{SECOND}"
            ),
        ),
        (
            "an unknown coding",
            format!(
                "POST /v1/session HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{SECOND}"
            ),
        ),
        (
            "a coding behind another",
            format!(
                "POST /v1/session HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{SECOND}"
            ),
        ),
        (
            "a coding of HTTP/1.0",
            format!(
                "POST /v1/session HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SECOND}"
            ),
        ),
        (
            "a wrong chunk",
            format!(
                "POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n{SECOND}"
            ),
        ),
        (
            "a chunk beyond all numbers",
            format!(
                "POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n{SECOND}"
            ),
        ),
        (
            "a folded line",
            format!(
                "GET /healthz HTTP/1.1\r\nHost: h\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n{SECOND}"
            ),
        ),
        (
            "a space before the colon",
            format!("POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-Length : {body}\r\n\r\n{SECOND}"),
        ),
        ("a zero byte", format!("GET /healthz HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n{SECOND}")),
        (
            "a lone carriage return",
            format!("GET /healthz HTTP/1.1\r\nHost: h\r\nX: a\rContent-Length: 5\r\n\r\n{SECOND}"),
        ),
        ("a zero byte in the target", format!("GET /healthz\0 HTTP/1.1\r\nHost: h\r\n\r\n{SECOND}")),
        ("no host", format!("GET /healthz HTTP/1.1\r\n\r\n{SECOND}")),
        ("two hosts", format!("GET /healthz HTTP/1.1\r\nHost: h\r\nHost: evil\r\n\r\n{SECOND}")),
        (
            "another host in the target",
            format!("GET http://evil/healthz HTTP/1.1\r\nHost: h\r\n\r\n{SECOND}"),
        ),
        ("a user in the host", format!("GET /healthz HTTP/1.1\r\nHost: me@h\r\n\r\n{SECOND}")),
        ("no HTTP at all", format!("\u{16}\u{3}\u{1}\u{2}\r\n\r\n{SECOND}")),
    ]
}

/// Whether nothing but a refusal came back; a closed connection is as good as one.
pub(crate) fn is_refused(found: &[u16]) -> bool {
    found.is_empty() || found.len() == 1 && (400..500).contains(&found[0])
}

#[test]
fn no_second_request_is_smuggled_in_a_first() {
    let Some(world) = World::start() else { return };
    let mut wrong = String::new();
    for (name, bytes) in ambiguous() {
        let said = raw(&world, &bytes);
        let found = answers(&said);
        if !is_refused(&found) {
            let _ = writeln!(wrong, "{name}: {found:?} {said}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    // And what is right goes through, twice on one connection.
    let good = format!("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n{SECOND}");
    assert_eq!(answers(&raw(&world, &good)), [200, 200]);
}

#[test]
fn what_a_request_claims_of_its_way_is_not_believed() {
    let Some(world) = World::start() else { return };
    let token = world.token();
    // A header that names another as one of this hop alone takes no right away, and gives none.
    let named = format!(
        "GET /v1/whoami HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nConnection: close, authorization\r\n\r\n"
    );
    assert_eq!(answers(&raw(&world, &named)), [200]);
    for (name, lines) in [
        ("forwarded", "X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n"),
        ("rewritten", "X-Original-URL: /healthz\r\nX-Rewrite-URL: /healthz\r\n"),
        ("another method", "X-HTTP-Method-Override: GET\r\n"),
        ("another token", &format!("Authorization: Bearer {token}\r\nAuthorization: Bearer no\r\n")),
    ] {
        let request = format!("GET /v1/whoami HTTP/1.1\r\nHost: h\r\n{lines}Connection: close\r\n\r\n");
        assert_eq!(answers(&raw(&world, &request)), [401], "{name}");
    }
    let query = format!(
        "GET /v1/whoami?token={token}&access_token={token} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(answers(&raw(&world, &query)), [401]);
    assert!(!world.up_log().contains(&token), "a token in an address is in the log");
}

#[test]
fn who_sends_too_much_or_too_slowly_is_not_waited_for() {
    let Some(world) = World::start() else { return };
    let rows = [
        ("a long target", format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(1 << 20))),
        ("a long header", format!("GET /healthz HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(1 << 20))),
        ("many headers", format!("GET /healthz HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(10_000))),
        ("a large body", format!("POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9000000\r\nConnection: close\r\n\r\n{}", " ".repeat(9_000_000))),
        ("half a body", "POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{".into()),
        ("half a form", "POST /signin HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\nu".into()),
        ("half a head", "POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-".into()),
    ];
    // All at once, and many of the slow ones besides: others are served meanwhile.
    std::thread::scope(|scope| {
        let asked: Vec<_> =
            rows.iter().map(|(name, bytes)| (name, scope.spawn(|| raw(&world, bytes)))).collect();
        let line = r#"alarm 60; my @all = map { my $s = IO::Socket::INET->new("127.0.0.1:7411") or die $!;
            print $s "POST /v1/session HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"; $s->flush; $s } 1..300;
            for my $s (@all) { local $/; <$s> } print "closed""#;
        let crowd = scope.spawn(|| Ended::of(world.command("perl").args(["-MIO::Socket::INET", "-e", line])));
        world.freehold(&["whoami"]).ok();
        for (name, asked) in asked {
            let found = answers(&asked.join().unwrap());
            assert!(
                found.is_empty() || found.len() == 1 && (400..500).contains(&found[0]),
                "{name}: {found:?}"
            );
        }
        assert_eq!(crowd.join().unwrap().out, "closed");
    });
}
