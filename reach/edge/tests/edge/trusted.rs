//! The PROXY header of a proxy in front: who is believed, what is passed on, what is turned away.

use crate::house::{House, free_port};
use freehold_model::{
    InstanceId,
    manifest::ProxyProtocol,
    traffic::{AccessEnd, AccessLine},
};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A house that trusts 127.0.0.1 and ::1, and its one instance.
async fn house(onward: ProxyProtocol) -> (House, InstanceId, TcpListener) {
    let house = House::with(free_port(), |spec| {
        spec.trusted_proxies = ["127.0.0.1", "::1"].map(|one| one.parse().unwrap()).into();
        spec.proxy_protocol = onward;
    })
    .await;
    let (id, address) = house.instance(2).await;
    let listener = TcpListener::bind(address).await.unwrap();
    house.serve(&[id]).await;
    house.status(|status| status.backends == 1).await;
    (house, id, listener)
}

/// What the instance reads of a connection to `host` that says these, one after another, and ends; and
/// the line in the log.
async fn seen(
    (house, _, listener): &(House, InstanceId, TcpListener),
    host: &str,
    said: &[&[u8]],
) -> (Vec<u8>, AccessLine) {
    let mut client = TcpStream::connect((host, house.port)).await.unwrap();
    for part in said {
        client.write_all(part).await.unwrap();
        // Apart, as far as anybody can see to that.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    client.shutdown().await.unwrap();
    let mut bytes = vec![];
    let (mut instance, _) = timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap();
    instance.read_to_end(&mut bytes).await.unwrap();
    drop(instance);
    (bytes, house.access(1).await.pop().unwrap())
}

#[tokio::test]
async fn a_trusted_proxy_tells_who_the_client_is() {
    let house = house(ProxyProtocol::V1).await;
    let client: SocketAddr = "192.0.2.7:5000".parse().unwrap();
    let (bytes, line) = seen(&house, "127.0.0.1", &[&[LINE, b"hello"].concat()]).await;
    // The header goes on as it is, with where the client went, and nothing after it is lost.
    assert_eq!(bytes, [LINE, b"hello"].concat());
    assert_eq!((line.client, line.end, line.bytes_in), (client, AccessEnd::Done, 5));
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte_and_in_binary() {
    let house = house(ProxyProtocol::Off).await;
    let binary =
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0e".as_slice(), &[192, 0, 2, 7, 1, 1, 1, 1, 0, 9, 0, 1, 4, 0]];
    let binary = binary.concat();
    let said: Vec<&[u8]> = binary.chunks(1).chain([b"hello".as_slice()]).collect();
    let (bytes, line) = seen(&house, "::1", &said).await;
    assert_eq!((bytes, line.client), (b"hello".to_vec(), "192.0.2.7:9".parse().unwrap()));
}

#[tokio::test]
async fn the_proxys_own_connections_keep_its_address() {
    for own in [LOCAL, b"PROXY UNKNOWN ffff::f...f 0\r\n"] {
        let house = house(ProxyProtocol::Off).await;
        let (bytes, line) = seen(&house, "127.0.0.1", &[own, b"hello"]).await;
        assert_eq!((bytes.as_slice(), line.client.ip()), (b"hello".as_slice(), [127, 0, 0, 1].into()));
    }
}

#[tokio::test]
async fn who_is_not_trusted_is_not_believed() {
    let house = house(ProxyProtocol::Off).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut client = socket.connect(([127, 0, 0, 1], house.0.port).into()).await.unwrap();
    client.write_all(LINE).await.unwrap();
    client.shutdown().await.unwrap();
    let mut bytes = vec![];
    house.2.accept().await.unwrap().0.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, LINE, "it is a client's bytes like any others");
    let line = house.0.access(1).await.remove(0);
    assert_eq!(line.client.ip(), std::net::IpAddr::from([127, 0, 0, 9]));
}

#[tokio::test]
async fn what_is_no_header_is_turned_away_logged_and_counted() {
    let (house, ..) = house(ProxyProtocol::Off).await;
    let wrong: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 x\r\n",
        &[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat(),
        b"PROXY TC",
    ];
    for (count, said) in wrong.iter().enumerate() {
        let mut client = TcpStream::connect(("127.0.0.1", house.port)).await.unwrap();
        client.write_all(said).await.unwrap();
        if said.len() == 8 {
            client.shutdown().await.unwrap();
        }
        let ended = timeout(Duration::from_secs(4), client.read(&mut [0])).await.expect("it stays open");
        assert!(ended.is_err(), "it is reset");
        let line = house.access(count + 1).await.pop().unwrap();
        assert_eq!(
            (line.end, line.client, line.instance),
            (AccessEnd::BadHeader, client.local_addr().unwrap(), None)
        );
        assert_eq!(house.traffic().bad_headers, count as u64 + 1);
    }
    // Who only looks whether the port is open does nothing wrong.
    drop(TcpStream::connect(("127.0.0.1", house.port)).await.unwrap());
    let line = house.access(wrong.len() + 1).await.pop().unwrap();
    assert_eq!((line.end, house.traffic().bad_headers), (AccessEnd::Done, wrong.len() as u64));
}

#[tokio::test]
async fn a_header_that_does_not_come_is_not_waited_for() {
    let (house, ..) = house(ProxyProtocol::Off).await;
    let mut slow = TcpStream::connect(("127.0.0.1", house.port)).await.unwrap();
    slow.write_all(b"PROXY TCP4").await.unwrap();
    let ended = timeout(Duration::from_secs(30), slow.read(&mut [0])).await.expect("it stays open");
    assert!(ended.is_err(), "it is reset");
    assert_eq!(house.access(1).await[0].end, AccessEnd::BadHeader);
}
