//! The PROXY header as an instance sees it.

use crate::house::{House, free_port};
use freehold_model::manifest::ProxyProtocol;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What an instance reads of a client that connected to `host`, said `hello` and ended.
async fn seen(version: ProxyProtocol, host: &str) -> (SocketAddr, SocketAddr, Vec<u8>) {
    let house = House::with(free_port(), |spec| spec.proxy_protocol = version).await;
    let (id, address) = house.instance(2).await;
    let listener = TcpListener::bind(address).await.unwrap();
    house.serve(&[id]).await;
    house.status(|status| status.backends == 1).await;
    let mut client = TcpStream::connect((host, house.port)).await.unwrap();
    let (from, to) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut bytes = vec![];
    listener.accept().await.unwrap().0.read_to_end(&mut bytes).await.unwrap();
    (from, to, bytes)
}

#[tokio::test]
async fn a_client_is_told_by_a_line_of_text() {
    let (from, to, bytes) = seen(ProxyProtocol::V1, "127.0.0.1").await;
    let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\nhello", from.port(), to.port());
    assert_eq!(String::from_utf8(bytes).unwrap(), line);
}

#[tokio::test]
async fn a_client_is_told_by_a_binary_header() {
    let (from, to, bytes) = seen(ProxyProtocol::V2, "::1").await;
    let (header, rest) = bytes.split_at(52);
    assert_eq!((&header[..12], rest), (&b"\r\n\r\n\0\r\nQUIT\n"[..], &b"hello"[..]));
    assert_eq!(header[12..16], [0x21, 0x21, 0, 36]);
    let loopback = std::net::Ipv6Addr::LOCALHOST.octets();
    assert_eq!((&header[16..32], &header[32..48]), (&loopback[..], &loopback[..]));
    let port = |address: SocketAddr| address.port().to_be_bytes();
    assert_eq!(header[48..50], port(from));
    assert_eq!(header[50..52], port(to));
}
