//! Datagrams: sessions, their end, and what must not be carried.

use crate::house::{House, free_port};
use freehold_model::{InstanceId, Millis, manifest::Protocol, traffic::AccessEnd};
use std::{net::SocketAddr, time::Duration};
use tokio::{net::UdpSocket, time::timeout};

async fn house(change: impl FnOnce(&mut freehold_model::EndpointSpec)) -> House {
    House::with(free_port(), |spec| {
        spec.protocol = Protocol::Udp;
        change(spec);
    })
    .await
}

/// An instance at 127.0.0.`n` that answers with its number and what it got.
async fn echo(house: &House, n: u8) -> (InstanceId, tokio::task::JoinHandle<()>) {
    let (id, address) = house.instance(n).await;
    let socket = UdpSocket::bind(address).await.unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let answer = [&[b'0' + n, b' '], &buffer[..length]].concat();
            let _ = socket.send_to(&answer[..answer.len().min(65_000)], from).await;
        }
    });
    (id, task)
}

async fn client(house: &House, host: &str) -> UdpSocket {
    let any: SocketAddr = if host.contains(':') { "[::1]:0" } else { "127.0.0.1:0" }.parse().unwrap();
    let socket = UdpSocket::bind(any).await.unwrap();
    // Connected: an answer from any other address is not received.
    socket.connect((host, house.port)).await.unwrap();
    socket
}

/// Asks once: the first datagram of a session is carried as any other is.
async fn ask(client: &UdpSocket, text: &str) -> String {
    client.send(text.as_bytes()).await.unwrap();
    answer(client).await.unwrap_or_else(|| panic!("no answer to {text}"))
}

async fn answer(client: &UdpSocket) -> Option<String> {
    let mut buffer = vec![0; 65_536];
    let received = timeout(Duration::from_secs(10), client.recv(&mut buffer)).await;
    received.ok()?.ok().map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[tokio::test]
async fn a_client_keeps_its_instance_and_is_answered_from_where_it_asked() {
    let house = house(|_| {}).await;
    let ((one, _a), (two, _b)) = (echo(&house, 2).await, echo(&house, 3).await);
    house.serve(&[one, two]).await;
    house.status(|status| status.backends == 2 && status.listening).await;
    let mut seen = vec![];
    // 127.0.0.9 is this machine as well; a reply from 127.0.0.1 would not be heard.
    for host in ["127.0.0.1", "::1", "127.0.0.9", "127.0.0.1"] {
        let client = client(&house, host).await;
        let first = ask(&client, "hello").await;
        for n in 0..5 {
            let text = format!("again {n}");
            assert_eq!(ask(&client, &text).await, format!("{} {text}", &first[..1]), "by {host}");
        }
        seen.push(first);
    }
    seen.sort();
    assert_eq!(seen, ["2 hello", "2 hello", "3 hello", "3 hello"], "least sessions");
    let traffic = house.traffic();
    assert_eq!((traffic.active, traffic.connections), (4, 4));
    // A large one comes through whole.
    let client = client(&house, "::1").await;
    let large = "x".repeat(50_000);
    assert_eq!(ask(&client, &large).await.len(), 50_002);
    assert_eq!(house.traffic().dropped, 0);
}

#[tokio::test]
async fn a_silent_session_ends_and_the_longest_silent_makes_room() {
    let house = house(|spec| {
        spec.max_connections = Some(2);
        spec.idle_timeout = Some(Millis(700));
    })
    .await;
    let (one, _a) = echo(&house, 2).await;
    house.serve(&[one]).await;
    house.status(|status| status.backends == 1).await;
    let (first, second, third) =
        (client(&house, "127.0.0.1").await, client(&house, "127.0.0.1").await, client(&house, "::1").await);
    ask(&first, "x").await;
    ask(&second, "x").await;
    ask(&first, "x").await;
    ask(&third, "x").await;
    let line = house.access(1).await.remove(0);
    assert_eq!((line.end, line.client), (AccessEnd::Refused, second.local_addr().unwrap()));
    let lines = house.access(3).await;
    assert!(
        lines[1..].iter().all(|line| line.end == AccessEnd::Idle && line.duration_ms >= 700),
        "{lines:#?}"
    );
    let traffic = house.traffic();
    assert_eq!((traffic.active, traffic.refused, traffic.idled), (0, 1, 2));
    // And the next datagram opens one again.
    assert_eq!(ask(&first, "back").await, "2 back");
}

#[tokio::test]
async fn an_instance_that_leaves_or_dies_is_followed_by_another() {
    let house = house(|_| {}).await;
    let ((one, _a), (two, b)) = (echo(&house, 2).await, echo(&house, 3).await);
    house.serve(&[one]).await;
    house.status(|status| status.backends == 1).await;
    let client = client(&house, "127.0.0.1").await;
    assert_eq!(ask(&client, "x").await, "2 x");
    let version = house.serve(&[two]).await;
    house.status(|status| status.applied >= version).await;
    assert_eq!(ask(&client, "y").await, "3 y");
    house.status(|status| status.draining.is_empty()).await;
    // Its port closes. What is sent there meanwhile is lost; told so by the kernel, the edge ends the session,
    // and the next datagram goes to another.
    house.serve(&[one, two]).await;
    house.status(|status| status.backends == 2).await;
    b.abort();
    let _ = b.await;
    client.send(b"lost").await.unwrap();
    let lines = house.access(2).await;
    assert_eq!((lines[1].instance, lines[1].end), (Some(two), AccessEnd::InstanceReset), "{lines:#?}");
    assert_eq!(ask(&client, "z").await, "2 z");
}

#[tokio::test]
async fn the_first_datagrams_of_every_session_arrive_in_order() {
    let house = house(|_| {}).await;
    let ((one, _a), (two, _b)) = (echo(&house, 2).await, echo(&house, 3).await);
    house.serve(&[one, two]).await;
    house.status(|status| status.backends == 2 && status.listening).await;
    for round in 0..20 {
        let client = client(&house, "127.0.0.1").await;
        let sent: Vec<_> = (0..8).map(|n| format!("{round}/{n}")).collect();
        for text in &sent {
            client.send(text.as_bytes()).await.unwrap();
        }
        let mut heard = vec![];
        while heard.len() < sent.len() {
            let text = answer(&client).await.unwrap_or_else(|| panic!("{heard:?} of {sent:?}"));
            heard.push(text[2..].to_owned());
        }
        assert_eq!(heard, sent);
    }
    assert_eq!((house.traffic().connections, house.traffic().dropped), (20, 0));
}

#[tokio::test]
async fn a_first_datagram_that_one_instance_refuses_is_given_to_another() {
    let house = house(|_| {}).await;
    // It is healthy, and does not listen yet.
    let (deaf, _) = house.instance(3).await;
    house.serve(&[deaf]).await;
    house.status(|status| status.backends == 1 && status.listening).await;
    let first = client(&house, "127.0.0.1").await;
    first.send(b"to nobody").await.unwrap();
    let line = house.access(1).await.remove(0);
    assert_eq!((line.instance, line.end, line.bytes_in), (Some(deaf), AccessEnd::InstanceReset, 0));
    assert_eq!(house.traffic().dropped, 1, "what nobody took is counted");
    let ((one, _a), (other, _)) = (echo(&house, 2).await, house.instance(4).await);
    house.serve(&[other, one]).await;
    house.status(|status| status.backends == 2).await;
    for n in 0..6 {
        let text = format!("hello {n}");
        assert_eq!(ask(&client(&house, "127.0.0.1").await, &text).await, format!("2 {text}"));
    }
    let traffic = house.traffic();
    assert_eq!((traffic.dropped, traffic.broken), (1, 2), "one was tried at the other that does not listen");
}

#[tokio::test]
async fn endpoints_cannot_be_made_to_talk_to_each_other() {
    let house = house(|_| {}).await;
    let (one, _a) = echo(&house, 2).await;
    house.serve(&[one]).await;
    house.status(|status| status.backends == 1 && status.listening).await;
    // As if the endpoint itself had sent: the same port of another of this machine's addresses. The
    // endpoint has the port on all of them, so the sender must share it.
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None).unwrap();
    rustix::net::sockopt::set_socket_reuseport(&socket, true).unwrap();
    rustix::net::bind(&socket, &format!("127.0.0.7:{}", house.port).parse::<SocketAddr>().unwrap()).unwrap();
    let forged = std::net::UdpSocket::from(socket);
    forged.send_to(b"loop", ("127.0.0.1", house.port)).unwrap();
    let dropped = async {
        while house.traffic().dropped == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), dropped).await.expect("it was carried");
    assert_eq!(house.traffic().connections, 0);
}
