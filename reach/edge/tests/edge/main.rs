//! The edge with real sockets and a store in memory.

mod far;
mod house;
mod limits;
mod proxied;
mod trusted;
mod udp;

use freehold_model::EndpointStatus;
use house::{House, ask};
use std::{
    net::TcpListener as StdListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

#[tokio::test]
async fn no_request_fails_while_backends_are_swapped_under_load() {
    let house = House::new().await;
    let (one, two) = (house.backend(2).await, house.backend(3).await);
    house.serve(&[one.id]).await;
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let client = || {
        let (over, answered, port) = (Arc::clone(&over), Arc::clone(&answered), house.port);
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                ask(port, "hello").await.expect("a request failed");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let clients: Vec<_> = (0..8).map(|_| client()).collect();
    for round in 0..40 {
        let (up, down) = if round % 2 == 0 { (&two, &one) } else { (&one, &two) };
        let version = house.serve(&[up.id]).await;
        house.status(|status| status.applied >= version && status.draining.is_empty()).await;
        // Nobody is left: the old one may die without anybody noticing.
        down.refuse().await;
        assert_eq!(ask(house.port, "who").await.unwrap(), format!("{} who", up.name));
        down.accept().await;
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(answered.load(Ordering::Relaxed) > 100, "hardly any load: {answered:?}");
}

#[tokio::test]
async fn both_families_are_carried_and_said() {
    let house = House::new().await;
    let one = house.backend(2).await;
    house.serve(&[one.id]).await;
    let status = house.status(|status| status.listening && status.backends == 1).await;
    assert_eq!(status.addresses, [format!("127.0.0.1:{}", house.port), format!("[::1]:{}", house.port)]);
    for address in status.addresses {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "127.0.0.2 x", "over {address}");
    }
}

#[tokio::test]
async fn a_half_close_is_passed_on_and_the_answer_still_comes() {
    let house = House::new().await;
    let one = house.backend(2).await;
    house.serve(&[one.id]).await;
    // The backend answers only once it has read to the end.
    let text = "a".repeat(1 << 20);
    assert_eq!(ask(house.port, &text).await.unwrap(), format!("127.0.0.2 {text}"));
}

#[tokio::test]
async fn a_withdrawn_backend_keeps_its_connections_and_gets_no_new_ones() {
    let house = House::new().await;
    let (one, two) = (house.backend(2).await, house.backend(3).await);
    house.serve(&[one.id]).await;
    let mut open = TcpStream::connect(("127.0.0.1", house.port)).await.unwrap();
    open.write_all(b"still ").await.unwrap();
    one.wait_for_connection().await;
    let version = house.serve(&[two.id]).await;
    let status = house.status(|status| status.applied >= version).await;
    assert_eq!(status.draining, [(one.id, 1)].into());
    assert_eq!(ask(house.port, "x").await.unwrap(), "127.0.0.3 x");
    open.write_all(b"here").await.unwrap();
    open.shutdown().await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "127.0.0.2 still here");
    house.status(|status| status.draining.is_empty()).await;
}

#[tokio::test]
async fn a_taken_port_is_said_and_had_once_it_is_free() {
    let taken = StdListener::bind("127.0.0.1:0").unwrap();
    let house = House::on(taken.local_addr().unwrap().port()).await;
    let status = house.status(|status| status.message.is_some()).await;
    let message = status.message.unwrap();
    assert!(!status.listening && message.contains(&format!("port {}", house.port)), "{message}");
    assert!(message.contains(&format!("(pid {})", std::process::id())), "{message}");
    drop(taken);
    let status = house.status(|status| status.listening).await;
    assert_eq!(status.message, None);
}

#[tokio::test]
async fn a_connection_waits_for_a_backend_to_appear() {
    let house = House::new().await;
    let one = house.backend(2).await;
    house.status(|status| status.listening).await;
    let waiting = tokio::spawn(ask(house.port, "early"));
    sleep(Duration::from_millis(200)).await;
    house.serve(&[one.id]).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "127.0.0.2 early");
    house.serve(&[]).await;
    house.status(|status| status.backends == 0).await;
    let asked = Instant::now();
    assert!(ask(house.port, "late").await.is_none_or(|answer| answer.is_empty()));
    assert!(asked.elapsed() >= Duration::from_secs(2), "it was not waited for: {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_backend_that_does_not_answer_is_passed_over() {
    let house = House::new().await;
    let (one, two) = (house.backend(2).await, house.backend(3).await);
    house.serve(&[one.id, two.id]).await;
    house.status(|status| status.backends == 2).await;
    one.refuse().await;
    for _ in 0..10 {
        assert_eq!(ask(house.port, "x").await.unwrap(), "127.0.0.3 x");
    }
}

#[tokio::test]
async fn an_endpoint_may_move_and_go() {
    let house = House::new().await;
    let one = house.backend(2).await;
    house.serve(&[one.id]).await;
    house.status(|status| status.listening).await;
    let elsewhere = house::free_port();
    house.listen_on(elsewhere).await;
    house.status(|status| status.addresses.iter().any(|a| a.ends_with(&format!(":{elsewhere}")))).await;
    assert!(TcpStream::connect(("127.0.0.1", house.port)).await.is_err(), "the old port is closed");
    assert_eq!(ask(elsewhere, "x").await.unwrap(), "127.0.0.2 x");
    house.delete_endpoint().await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(("127.0.0.1", elsewhere)).await.is_ok() {
        assert!(Instant::now() < deadline, "the port of a deleted endpoint stays open");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn shutdown_refuses_at_once_and_lets_open_connections_finish() {
    let mut house = House::new().await;
    let one = house.backend(2).await;
    house.serve(&[one.id]).await;
    let mut open = TcpStream::connect(("127.0.0.1", house.port)).await.unwrap();
    open.write_all(b"last").await.unwrap();
    one.wait_for_connection().await;
    let port = house.port;
    let edge = house.shut_down();
    let stopped = tokio::spawn(edge.stopped(Duration::from_secs(5)));
    let deadline = Instant::now() + Duration::from_secs(2);
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        assert!(Instant::now() < deadline, "still accepting");
        sleep(Duration::from_millis(10)).await;
    }
    assert!(!stopped.is_finished(), "a connection is open");
    open.shutdown().await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "127.0.0.2 last");
    stopped.await.unwrap();
}

#[tokio::test]
async fn the_edge_comes_to_rest() {
    let house = House::new().await;
    let one = house.backend(2).await;
    house.serve(&[one.id]).await;
    let quiet: EndpointStatus = house.status(|status| status.backends == 1).await;
    sleep(Duration::from_millis(300)).await;
    let version = house.version();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(house.version(), version, "its own writes cause more: {quiet:?}");
}
