//! A container's network: reached from the node, and no further.

use crate::{
    machine::Machine,
    world::{self, world},
};
use freehold_model::manifest::Protocol;
use freehold_runtime::{
    Launch, Runtime,
    network::{Attempt, Neighbourhood, Opening},
};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    time::Duration,
};

#[tokio::test]
async fn it_is_reached_at_its_address() {
    let world = world!();
    let launch = world.launch("echo hello | nc -l -p 8080");
    let handle = world.runtime.start(&launch).await.unwrap();
    world::running(&*handle).await;
    assert_eq!(handle.address(), launch.address);
    let mut text = String::new();
    world::eventually("answer on port 8080", || {
        let Ok(mut stream) = TcpStream::connect((launch.address, 8080)) else { return false };
        stream.read_to_string(&mut text).unwrap();
        true
    })
    .await;
    assert_eq!(text, "hello\n");
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn it_reaches_a_port_of_its_node_that_egress_names_and_no_other() {
    let world = world!();
    let (open, closed) = (listener(), listener());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let mut launch = world.launch("");
    launch.egress = vec![format!("{}:{}/tcp", launch.gateway, port(&open)).parse().unwrap()];
    let ask = |listener| format!("nc -w 5 {} {} 2>&1; ", launch.gateway, port(listener));
    launch.args[2] = [ask(&closed), ask(&open)].concat();
    let server = std::thread::spawn(move || {
        let (mut stream, peer) = open.accept().unwrap();
        stream.write_all(b"from the node\n").unwrap();
        peer.ip()
    });
    let handle = world.runtime.start(&launch).await.unwrap();
    world::over(&*handle).await;
    let said: Vec<String> = world::log(&launch).into_iter().map(|line| line.text).collect();
    assert!(said[0].contains("No route to host"), "{said:?}");
    assert_eq!(said[1], "from the node");
    assert_eq!(server.join().unwrap(), launch.address);
    drop(closed);
}

/// Listens on all addresses: an instance's link brings the gateway's address with it.
fn listener() -> TcpListener {
    TcpListener::bind(("0.0.0.0", 0)).unwrap()
}

#[tokio::test]
async fn it_reaches_nothing_else() {
    let world = world!();
    let other = world.launch("echo hello | nc -l -p 8080; sleep 100");
    let neighbour = world.runtime.start(&other).await.unwrap();
    world::running(&*neighbour).await;
    let text = world
        .output(&format!(
            "nc -w 2 192.0.2.1 80 2>&1; nc -w 2 169.254.169.254 80 2>&1; nc -w 2 {} 8080 2>&1; \
             ip route add default via 10.127.255.1 2>&1; ip route; true",
            other.address
        ))
        .await;
    assert_eq!(text.matches("Network is unreachable").count(), 2, "{text}");
    assert!(text.contains("Operation not permitted"), "{text}");
    assert!(!text.contains("default") && !text.contains("hello"), "{text}");
    world::end(&world.runtime, &neighbour).await;
}

#[tokio::test]
async fn networks_ports_and_protocols_are_told_apart() {
    let world = world!();
    let mut launch = world.launch("sleep 100");
    launch.egress = ["192.0.2.0/24:80/tcp", "198.51.100.0/24", "*:53"].map(|it| it.parse().unwrap()).into();
    let handle = world.runtime.start(&launch).await.unwrap();
    let network = handle.network().await.unwrap();
    let tried =
        |address: &str| network.connect(address.parse().unwrap(), Duration::from_millis(100)).unwrap();
    // Nobody answers there: what is open is silent, or unreachable beyond the instance.
    let closed = ["192.0.2.1:81", "203.0.113.1:80", "169.254.169.254:53", "10.127.255.1:7411"];
    let opened = ["192.0.2.1:80", "198.51.100.1:1", "203.0.113.1:53"];
    for address in closed {
        assert_eq!(tried(address), Attempt::Closed, "{address}");
    }
    let counted = |name: &str| world::rules(&launch, name);
    let before = counted("reject");
    for address in opened {
        tried(address);
    }
    assert_eq!(counted("reject"), before, "an open way was refused by the instance's own rules");
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn what_a_name_stands_for_is_open_for_its_time() {
    let world = world!();
    let launch = Launch { egress: vec!["api.example:80".parse().unwrap()], ..world.launch("sleep 100") };
    let handle = world.runtime.start(&launch).await.unwrap();
    let network = handle.network().await.unwrap();
    let address = Ipv4Addr::new(192, 0, 2, 7);
    let opening =
        Opening { address, port: Some(80), protocol: Some(Protocol::Tcp), time: Duration::from_secs(100) };
    let everywhere = Opening { address: Ipv4Addr::new(192, 0, 2, 8), port: None, protocol: None, ..opening };
    for _ in 0..2 {
        network.open(&[opening, everywhere]).unwrap();
    }
    let listed = world::rules(&launch, "192.0.2");
    assert!(listed.contains("192.0.2.7 . tcp . 80") && listed.contains("192.0.2.8"), "{listed}");
    network.open(&[Opening { time: Duration::from_millis(50), ..opening }]).unwrap();
    world::eventually("closed again", || !world::rules(&launch, "192.0.2").contains("192.0.2.7")).await;
    world::end(&world.runtime, &handle).await;
    assert!(handle.network().await.is_err() || network.open(&[opening]).is_ok(), "its network went with it");
}

#[tokio::test]
async fn there_is_no_way_around_by_ipv6() {
    let world = world!();
    let launch = Launch { egress: vec!["*".parse().unwrap()], ..world.launch("sleep 100") };
    let handle = world.runtime.start(&launch).await.unwrap();
    handle.network().await.unwrap();
    let rules = world::rules(&launch, "");
    let six = rules.split("table ip6 freehold").nth(1).expect("rules for IPv6");
    assert!(six.contains("policy drop") && six.matches("accept").count() == 1, "{six}");
    world::end(&world.runtime, &handle).await;
}

#[tokio::test]
async fn it_cannot_change_its_rules() {
    let world = world!();
    let mut launch = world.launch("/nft flush ruleset; echo ended with $?");
    let layer = world::with_program("nft");
    launch.layers.push(layer.path().to_owned());
    let text = world.output_of(&launch).await;
    assert!(text.contains("Operation not permitted") && !text.contains("ended with 0"), "{text}");
}

#[tokio::test]
async fn two_instances_do_not_meet() {
    let world = world!();
    let launches = [world.launch("sleep 100"), world.launch("sleep 100")];
    let mut handles = Vec::new();
    for launch in &launches {
        let handle = world.runtime.start(launch).await.unwrap();
        world::running(&*handle).await;
        handles.push(handle);
    }
    for launch in &launches {
        // Refused, not timed out: the right instance answered that nobody listens.
        let refused =
            TcpStream::connect_timeout(&(launch.address, 1).into(), Duration::from_secs(5)).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    for handle in handles {
        world::end(&world.runtime, &handle).await;
    }
}

/// Envs `a` (two instances) and `b` (one), one of `a` with egress to an address beyond the node.
#[tokio::test]
async fn the_node_lets_envs_meet_and_those_leave_that_may() {
    let world = world!();
    let machine = Machine::new();
    let at = |n: u8| Ipv4Addr::new(10, 210, 0, n);
    let launch = |n: u8, egress: &str| Launch {
        address: at(n),
        gateway: at(1),
        network_bits: 16,
        egress: egress.split_whitespace().map(|it| it.parse().unwrap()).collect(),
        ..world.launch("while :; do echo hello | nc -l -p 8080; done")
    };
    let outside = machine.outside();
    let launches = [launch(2, &format!("{outside}:80/tcp")), launch(3, ""), launch(4, "*")];
    let wanted = Neighbourhood {
        gateway: at(1),
        bits: 16,
        resolver: None,
        envs: [("a".to_owned(), [at(2), at(3)].into()), ("b".to_owned(), [at(4)].into())].into(),
        outbound: [at(2), at(4)].into(),
    };
    let (runtime, handles) = machine.run(&world, &wanted, &launches).await;
    let mut tries = vec![];
    for handle in &handles {
        tries.push(handle.network().await.unwrap());
    }
    let tried = |from: usize, to: Ipv4Addr, port: u16| {
        tries[from].connect(SocketAddrV4::new(to, port), Duration::from_secs(2)).unwrap()
    };
    for (from, to) in [(0, 3), (1, 2)] {
        world::eventually("a meeting within env a", || tried(from, at(to), 8080) == Attempt::Connected).await;
    }
    for (from, to) in [(0, 4), (1, 4), (2, 2), (2, 3)] {
        assert_eq!(tried(from, at(to), 8080), Attempt::Closed, "{from} to {to}, of another env");
    }
    assert_eq!(tried(0, outside, 80), Attempt::Connected);
    assert_eq!(tried(0, outside, 81), Attempt::Closed);
    assert_eq!(tried(1, outside, 80), Attempt::Closed);
    assert_eq!(tried(2, outside, 80), Attempt::Connected);
    assert_eq!(tried(2, machine.own(), 7411), Attempt::Closed, "the node's other addresses");
    assert_eq!(machine.connect_from_outside(at(2), 8080), Attempt::Closed, "nobody comes in");
    assert_eq!(machine.sysctl("net/ipv4/ip_forward"), "1");

    machine.settle(&runtime, Some(&Neighbourhood { outbound: [].into(), ..wanted })).await;
    assert_eq!(tried(0, outside, 80), Attempt::Closed, "no longer outbound");
    for handle in &handles {
        world::end(&world.runtime, handle).await;
    }
    machine.settle(&runtime, None).await;
    assert_eq!(machine.sysctl("net/ipv4/ip_forward"), "0", "as it was before");
    assert_eq!(machine.tables(), "table ip theirs\n");
}
