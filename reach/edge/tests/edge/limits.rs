//! Limits, silence, counters and the access log.

use crate::house::{House, ask, free_port};
use freehold_model::{Millis, traffic::AccessEnd};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

async fn open(house: &House) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", house.port)).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream
}

/// The backend answers what came and where it is.
async fn finish(mut stream: TcpStream) -> String {
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_connection_too_many_is_reset_and_counted() {
    let house = House::with(free_port(), |spec| spec.max_connections = Some(2)).await;
    let one = house.backend(2).await;
    house.serve(&[one.id]).await;
    house.status(|status| status.backends == 1 && status.listening).await;
    let first = open(&house).await;
    one.wait_for_connection().await;
    let second = open(&house).await;
    one.wait_for_connection().await;

    let third = TcpSocket::new_v4().unwrap();
    third.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let client = third.local_addr().unwrap();
    // The reset may come before the client has noticed that it is connected.
    if let Ok(mut third) = third.connect(([127, 0, 0, 1], house.port).into()).await {
        assert!(third.read(&mut [0]).await.is_err(), "it is not reset");
    }
    let refused = house.access(1).await.remove(0);
    assert_eq!((refused.end, refused.instance), (AccessEnd::Refused, None));
    assert_eq!(refused.client, client);
    let traffic = house.traffic();
    assert_eq!((traffic.active, traffic.connections, traffic.refused), (2, 2, 1));
    assert_eq!((traffic.backends[0].active, traffic.backends[0].instance), (2, one.id));

    // Whoever leaves makes room.
    assert_eq!(finish(first).await, "127.0.0.2 x");
    house.access(2).await;
    assert_eq!(ask(house.port, "y").await.unwrap(), "127.0.0.2 y");
    finish(second).await;
    let lines = house.access(4).await;
    let done: Vec<_> = lines.iter().filter(|line| line.end == AccessEnd::Done).collect();
    assert!(done.len() == 3 && done.iter().all(|line| line.instance == Some(one.id)), "{lines:#?}");
    assert!(done.iter().all(|line| (line.bytes_in, line.bytes_out) == (1, 11)), "{lines:#?}");
    let traffic = house.traffic();
    assert_eq!((traffic.active, traffic.bytes_in, traffic.bytes_out), (0, 3, 33));
}

#[tokio::test]
async fn a_silent_connection_is_ended() {
    let house = House::with(free_port(), |spec| spec.idle_timeout = Some(Millis(300))).await;
    let one = house.backend(2).await;
    house.serve(&[one.id]).await;
    house.status(|status| status.backends == 1).await;
    let mut silent = open(&house).await;
    let ended = timeout(Duration::from_secs(10), silent.read(&mut [0])).await.expect("it stays");
    assert!(ended.is_err(), "it was reset: its answer was never whole");
    assert_eq!(house.access(1).await[0].end, AccessEnd::Idle);
    assert_eq!(house.traffic().idled, 1);
}

#[tokio::test]
async fn who_finds_no_instance_is_counted() {
    let house = House::new().await;
    house.status(|status| status.listening).await;
    assert!(ask(house.port, "x").await.is_none_or(|answer| answer.is_empty()));
    let line = house.access(1).await.remove(0);
    assert_eq!((line.end, line.instance), (AccessEnd::NoInstance, None));
    assert_eq!(house.traffic().failed, 1);
}

#[tokio::test]
async fn connections_cut_by_a_stop_are_reset_and_logged() {
    let mut house = House::new().await;
    let one = house.backend(2).await;
    house.serve(&[one.id]).await;
    house.status(|status| status.backends == 1).await;
    let mut stream = open(&house).await;
    one.wait_for_connection().await;
    let edge = house.shut_down();
    let observer = edge.observer();
    edge.stopped(Duration::from_millis(50)).await;
    assert!(stream.read(&mut [0]).await.is_err(), "a connection that was cut looks whole");
    let mut chunks = observer.access(house.endpoint(), Default::default());
    assert_eq!(chunks.recv().await.unwrap().unwrap()[0].end, AccessEnd::Cut);
}

#[tokio::test]
async fn a_backend_that_refuses_is_not_the_clients_trouble() {
    let house = House::new().await;
    let (one, two) = (house.backend(2).await, house.backend(3).await);
    house.serve(&[one.id, two.id]).await;
    house.status(|status| status.backends == 2).await;
    one.refuse().await;
    for _ in 0..10 {
        assert_eq!(ask(house.port, "x").await.unwrap(), "127.0.0.3 x");
    }
    let traffic = house.traffic();
    let of = |id| traffic.backends.iter().find(|backend| backend.instance == id).unwrap();
    assert!(of(one.id).failed > 0 && of(one.id).connections == 0 && of(two.id).connections == 10);
    assert_eq!((traffic.failed, traffic.broken), (0, 0), "{traffic:#?}");
    // With nobody else it is waited for.
    house.serve(&[one.id]).await;
    house.status(|status| status.backends == 1).await;
    let asked = tokio::spawn(ask(house.port, "late"));
    tokio::time::sleep(Duration::from_millis(400)).await;
    one.accept().await;
    assert_eq!(asked.await.unwrap().unwrap(), "127.0.0.2 late");
}
