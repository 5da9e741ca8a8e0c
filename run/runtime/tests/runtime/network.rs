//! A container's network: reached from the node, and no further.

use crate::world::{self, world};
use freehold_runtime::Runtime;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
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
async fn it_reaches_its_node() {
    let world = world!();
    let mut launch = world.launch("");
    // Exists on the node as soon as the link does, so the node can listen on all addresses before.
    let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    launch.args[2] = format!("nc -w 5 {} {port}", launch.gateway);
    let handle = world.runtime.start(&launch).await.unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        stream.write_all(b"from the node\n").unwrap();
        peer.ip()
    });
    world::over(&*handle).await;
    assert_eq!(world::log(&launch)[0].text, "from the node");
    assert_eq!(server.join().unwrap(), launch.address);
}

#[tokio::test]
async fn it_reaches_nothing_else() {
    let world = world!();
    let other = world.launch("echo hello | nc -l -p 8080; sleep 100");
    let neighbour = world.runtime.start(&other).await.unwrap();
    world::running(&*neighbour).await;
    let text = world
        .output(&format!(
            "nc -w 2 192.0.2.1 80 2>&1; nc -w 2 {} 8080 2>&1; ip route add default via 10.127.255.1 2>&1; ip route; true",
            other.address
        ))
        .await;
    assert_eq!(text.matches("unreachable").count(), 2, "{text}");
    assert!(text.contains("Operation not permitted"), "{text}");
    assert!(!text.contains("default") && !text.contains("hello"), "{text}");
    world::end(&world.runtime, &neighbour).await;
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
