//! Endpoints: who the client is, datagrams, addresses of their own, the access log, and connections that
//! outlive a redeploy. The instances are nginx and perl of distribution packages.

mod ports;
mod proxies;

use crate::world::{Ended, FREEHOLD, World, eventually, nginx_layout, wait_for};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::Duration,
};

/// An app of one process `web` that runs a line of shell in nginx's image, with these endpoints.
fn manifest(line: &str, endpoints: &str) -> String {
    format!(
        "schema = 1\napp = \"site\"\n\n[process.web]\nimage = \"nginx:1\"\nmemory = \"128MiB\"\nstop_timeout = \"1s\"\n\
         command = [\"/bin/sh\", \"-c\", '''{line}''']\n\n{endpoints}\n"
    )
}

fn tcp(more: &str) -> String {
    format!("[[endpoint]]\nprocess = \"web\"\nlisten = 8000\ntarget = 9000\n{more}\n")
}

fn deploy(world: &World, text: &str) -> Ended {
    let file = world.write("freehold.toml", text);
    world.freehold(&["deploy", "-f", &file, "--wait-timeout", "60s"]).ok()
}

fn world() -> Option<World> {
    let world = World::start()?;
    world.skopeo_push(&nginx_layout(), "1", "nginx:1");
    Some(world)
}

/// nginx that reads the PROXY protocol's header, and answers with what it says of the client.
const TELLING: &str = r#"printf "events {} http { access_log off; server { listen 9000 proxy_protocol; \
 location / { return 200 \"\$proxy_protocol_addr to \$proxy_protocol_server_port\"; } } }" > /tmp/n.conf; \
 exec nginx -g "daemon off; error_log /dev/stderr; pid /tmp/pid;" -c /tmp/n.conf"#;

/// A server of lines that names itself; it holds any number of connections in one process.
const LINES: &str = r#"exec perl -MIO::Socket::INET -MIO::Select -e '
 my $l = IO::Socket::INET->new(LocalPort => 9000, Listen => 4096, ReuseAddr => 1) or die $!;
 my $s = IO::Select->new($l);
 while (my @r = $s->can_read) { for my $c (@r) {
   if ($c == $l) { my $n = $l->accept; $s->add($n) if $n; next }
   if (sysread $c, my $line, 1000) { syswrite $c, "NAME $line" } else { $s->remove($c); close $c }
 } }'"#;

/// A server of datagrams that echoes.
const DATAGRAMS: &str = r#"exec perl -MIO::Socket::INET -e '
 my $s = IO::Socket::INET->new(LocalPort => 9000, Proto => "udp") or die $!;
 while (1) { my $from = recv $s, my $text, 65535, 0; send $s, "got $text", 0, $from if defined $from }'"#;

#[test]
fn instances_are_told_the_clients_address() {
    let Some(world) = world() else { return };
    for version in ["v1", "v2"] {
        deploy(&world, &manifest(TELLING, &tcp(&format!("proxy_protocol = \"{version}\""))));
        let asked = world.sh("curl -sS --max-time 5 --interface 127.0.0.5 http://127.0.0.1:8000/").ok();
        assert_eq!(asked.out, "127.0.0.5 to 8000", "by {version}");
        assert_eq!(world.get("http://[::1]:8000/"), "::1 to 8000", "by {version}");
    }
}

#[test]
fn datagrams_reach_an_instance_and_come_back_from_where_they_were_sent() {
    let Some(world) = world() else { return };
    let udp = "[[endpoint]]\nprocess = \"web\"\nlisten = 5300\ntarget = 9000\nprotocol = \"udp\"\nidle_timeout = \"1s\"\n";
    deploy(&world, &manifest(DATAGRAMS, udp));
    world.freehold(&["endpoint", "list"]).ok().says("udp/5300");
    for to in ["127.0.0.1", "127.0.0.8"] {
        // A connected socket hears nobody else.
        let line = format!(
            "perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(PeerAddr => \"{to}:5300\", Proto => \"udp\"); \
             for (1..20) {{ $s->send(\"hello\"); my $r; vec($r = \"\", fileno $s, 1) = 1; \
             if (select $r, undef, undef, 0.3) {{ recv $s, my $t, 100, 0; print $t; exit }} }}'"
        );
        assert_eq!(world.sh(&line).ok().out, "got hello", "to {to}");
    }
    let ended = || log(&world, "udp/5300");
    let lines = wait_for("both sessions to end", ended, |lines| lines.len() >= 2);
    assert!(lines.iter().all(|line| line["end"] == "idle" && line["bytes_out"] == 9), "{lines:#?}");
}

#[test]
fn an_endpoint_has_an_address_of_its_own_as_long_as_it_exists() {
    let Some(mut world) = world() else { return };
    deploy(&world, &manifest(&LINES.replace("NAME", "one"), &tcp("")));
    let own = own_address(&world).expect("root may make routes here");
    let ask = |world: &World| world.sh(&format!("perl -MSocket=:all -e '{}' '{own}'", ask_v6())).out;
    assert_eq!(ask(&world), "one hello");
    let routes = |world: &World| world.sh("ip -6 route show table local | grep -c ' *fd.*::/64'").out;
    assert_eq!(routes(&world).trim(), "1");
    // A crash leaves the route, and the next start finds its own again.
    world.kill();
    world.up(&[]);
    wait_for("the endpoint", || own_address(&world), |found| found.as_ref() == Some(&own));
    assert_eq!(ask(&world), "one hello");
    assert_eq!(routes(&world).trim(), "1");
    world.freehold(&["app", "delete", "site", "-y"]).ok();
    assert!(eventually(Duration::from_secs(10), || ask(&world).is_empty()), "it still answers");
    assert_eq!(world.terminate(), Some(0));
    assert_eq!(routes(&world).trim(), "0");
}

/// The address as `status` shows it, without the port.
fn own_address(world: &World) -> Option<String> {
    let endpoints = world.json(&["endpoint", "list"]);
    let addresses = endpoints[0]["addresses"].as_array()?;
    let own = addresses
        .iter()
        .find_map(|one| one.as_str()?.strip_prefix('[').filter(|one| one.starts_with("fd")))?;
    Some(own.strip_suffix("]:8000")?.to_owned())
}

fn ask_v6() -> &'static str {
    r#"socket(my $s, AF_INET6, SOCK_STREAM, 0); connect($s, pack_sockaddr_in6(8000, inet_pton(AF_INET6, $ARGV[0]))) or exit 1;
       syswrite $s, "hello"; sysread $s, my $t, 100; print $t;"#
}

/// The lines of an endpoint's access log.
fn log(world: &World, name: &str) -> Vec<Value> {
    let out = world.freehold(&["endpoint", "log", name, "--json"]).ok().out;
    out.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

#[test]
fn who_connected_is_logged_and_counted() {
    let Some(world) = world() else { return };
    deploy(
        &world,
        &manifest(&LINES.replace("NAME", "one"), &tcp("max_connections = 1\nidle_timeout = \"2s\"")),
    );
    let mut first = Talk::open(&world);
    assert_eq!(first.say("x"), "one x");
    let listed = world.json(&["endpoint", "list"]);
    assert_eq!((&listed[0]["traffic"]["active"], &listed[0]["traffic"]["refused"]), (&1.into(), &0.into()));
    let refused = world.sh("perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(\"127.0.0.1:8000\"); \
                            defined(sysread $s, my $t, 1) or print $!'");
    assert_eq!(refused.out, "Connection reset by peer");
    drop(first);
    let lines = wait_for("both lines", || log(&world, "tcp/8000"), |lines| lines.len() == 2);
    let of = |end: &str| {
        lines.iter().find(|line| line["end"] == end).unwrap_or_else(|| panic!("{lines:#?}")).clone()
    };
    assert!(of("refused")["instance"].is_null());
    let done = of("done");
    assert!(done["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{done}");
    assert_eq!((&done["bytes_in"], &done["bytes_out"]), (&2.into(), &6.into()), "{done}");
    let instance = world.instances("site")[0]["id"].clone();
    assert_eq!(done["instance"], instance);
    let tail = world.freehold(&["endpoint", "log", "tcp/8000", "--tail", "1"]).ok();
    assert_eq!(tail.out.lines().count(), 1, "{tail:#?}");
    world
        .freehold(&["endpoint", "describe", "tcp/8000"])
        .ok()
        .says("carried")
        .says("refused, being too many: 1");
    world.freehold(&["endpoint", "log", "tcp/8001"]).exits(4);
    // Silence ends what nobody ends.
    let mut silent = Talk::open(&world);
    assert_eq!(silent.say("x"), "one x");
    wait_for(
        "silence to end it",
        || log(&world, "tcp/8000"),
        |lines| lines.iter().any(|line| line["end"] == "idle"),
    );
}

/// A client that stays: what is said to it goes to the endpoint, line by line, and what comes back is read.
struct Talk {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Talk {
    fn open(world: &World) -> Talk {
        let line = "use IO::Socket::INET; $| = 1; my $s = IO::Socket::INET->new(\"127.0.0.1:8000\") or die; \
                    while (<STDIN>) { syswrite $s, $_; my $t = <$s>; defined $t or exit 1; print $t }";
        let mut command = world.command("perl");
        let mut child =
            command.args(["-e", line]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Talk { child, to, from }
    }

    /// Says a line; the answer, empty when the connection is gone.
    fn say(&mut self, text: &str) -> String {
        let mut answer = String::new();
        if writeln!(self.to, "{text}").is_ok() {
            let _ = self.from.read_line(&mut answer);
        }
        answer.trim_end().to_owned()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_redeploy_leaves_long_connections_with_whom_they_are() {
    let Some(world) = world() else { return };
    deploy(&world, &manifest(&LINES.replace("NAME", "one"), &tcp("")));
    let mut long: Vec<Talk> = (0..8).map(|_| Talk::open(&world)).collect();
    for one in &mut long {
        assert_eq!(one.say("before"), "one before");
    }
    let file = world.write("freehold.toml", &manifest(&LINES.replace("NAME", "two"), &tcp("")));
    let mut deploy =
        world.command(FREEHOLD).args(["deploy", "-f", &file]).stdout(Stdio::null()).spawn().unwrap();
    // Until new connections are with the new release, and then some more, the old ones go on.
    let mut moved = 0;
    for round in 0..2000 {
        for one in &mut long {
            assert_eq!(one.say(&format!("during {round}")), format!("one during {round}"));
        }
        let answer = Talk::open(&world).say("who");
        assert!(answer == "one who" || answer == "two who", "a connection failed: {answer:?}");
        moved += usize::from(answer == "two who");
        if moved >= 5 {
            break;
        }
    }
    assert!(moved >= 5, "the new release never served");
    let draining = &world.json(&["endpoint", "list"])[0]["traffic"]["backends"];
    let leaving = draining.as_array().unwrap().iter().find(|backend| backend["serves"] == false);
    assert_eq!(leaving.map(|backend| &backend["active"]), Some(&8.into()), "{draining:#}");
    drop(long);
    assert!(deploy.wait().unwrap().success());
    assert_eq!(Talk::open(&world).say("after"), "two after");
}

#[test]
fn ten_thousand_connections_leave_the_api_its_files() {
    let Some(world) = world() else { return };
    deploy(&world, &manifest(&LINES.replace("NAME", "one"), &tcp("")));
    let storm = "use IO::Socket::INET; my @all; for (1..10000) { my $s = IO::Socket::INET->new(\"127.0.0.1:8000\"); \
                 push @all, $s if $s } $| = 1; print scalar(@all), \"\\n\"; <STDIN>";
    let mut command = world.command("bash");
    let line = format!("ulimit -n $(ulimit -Hn); exec perl -e '{storm}'");
    let mut storm = command.args(["-c", &line]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut opened = String::new();
    BufReader::new(storm.stdout.take().unwrap()).read_line(&mut opened).unwrap();
    assert!(opened.trim().parse::<u32>().unwrap() > 9000, "{opened}");
    let active = || world.json(&["endpoint", "list"])[0]["traffic"]["active"].as_u64().unwrap();
    wait_for("the edge to be full", active, |active| *active > 400);
    world.freehold(&["exec", "-a", "site", "--", "true"]).ok();
    assert!(!world.up_log().contains("Too many open files"), "{}", world.up_log());
    storm.kill().unwrap();
    storm.wait().unwrap();
    wait_for("the storm to pass", active, |active| *active == 0);
    assert_eq!(Talk::open(&world).say("still"), "one still");
}
