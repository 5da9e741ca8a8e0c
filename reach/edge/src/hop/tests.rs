use super::*;
use crate::{
    connect::{Here, Whose, connect},
    connections::Connections,
    door::{Door, Settings},
    ports::Doors,
    reach::Reach,
    routing::{Backend, FarEdge, Way},
};
use freehold_model::{InstanceId, manifest::ProxyProtocol};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

const NODE: NodeId = NodeId(Ulid(7));

/// An instance behind the edge of another node, and the endpoint as the near edge has it.
struct House {
    near: Arc<Door>,
    far: Arc<Door>,
    instance: TcpListener,
    /// The endpoint's own port on the far node.
    plain: TcpListener,
    stop: CancellationToken,
}

impl House {
    async fn new(near_key: &str, far_key: &str) -> House {
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (instance, plain, hops, stop) =
            (listen().await, listen().await, listen().await, CancellationToken::new());
        let (near, far) = (Door::for_test(Connections::new(100)), Door::for_test(Connections::new(100)));
        let id = InstanceId(Ulid(1));
        let hop_port = Some(hops.local_addr().unwrap().port());
        let way = Way::Edge(FarEdge { node: NODE, hop_port });
        near.pool.set(&[Backend { instance: id, address: plain.local_addr().unwrap(), way }]);
        far.pool.set(&[Backend { instance: id, address: instance.local_addr().unwrap(), way: Way::Here }]);
        for door in [&near, &far] {
            door.set(Settings { proxy_protocol: ProxyProtocol::V1, ..door.settings() });
        }
        near.hops.know([(NODE, HopKey::of(near_key))].into());
        far.hops.accept_under(far_key);
        let doors = Doors::default();
        doors.lock().unwrap().insert(far.endpoint, far.clone());
        tokio::spawn(accept(hops, far.hops.clone(), doors, stop.clone()));
        House { near, far, instance, plain, stop }
    }

    /// What the near edge does for a client that says `text`.
    async fn send(&self, text: &str) -> bool {
        let whose = Whose { client: address("192.0.2.7:5000"), here: Here::Said(address("192.0.2.1:80")) };
        let Some((_lease, mut stream)) = connect(&self.near, &self.near.settings(), whose).await else {
            return false;
        };
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        true
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

async fn heard(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn an_instance_behind_another_edge_is_told_once_who_the_client_is() {
    let house = House::new("nas", "nas").await;
    let (sent, heard) = tokio::join!(house.send("hello"), heard(&house.instance));
    assert!(sent);
    assert_eq!(heard, "PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\nhello");
}

#[tokio::test]
async fn who_has_not_the_key_is_not_believed_and_its_connections_go_the_plain_way() {
    let house = House::new("nas", "attic").await;
    for _ in 0..2 {
        let (sent, heard) = tokio::join!(house.send("hello"), heard(&house.plain));
        assert!(sent);
        assert_eq!(heard, "hello", "the far edge puts its own header there");
    }
    assert_eq!(house.far.traffic().connections, 0);
}

#[tokio::test]
async fn an_instance_that_refuses_there_is_passed_over_here() {
    let mut house = House::new("nas", "nas").await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Its port is closed.
    house.instance = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = house.near.pool.lease(&[]).unwrap().backend;
    let near =
        Backend { instance: InstanceId(Ulid(2)), address: other.local_addr().unwrap(), way: Way::Here };
    house.near.pool.set(&[far, near]);
    for _ in 0..2 {
        let (sent, heard) = tokio::join!(house.send("hello"), heard(&other));
        assert!(sent && heard.ends_with("80\r\nhello"), "{heard}");
    }
    assert!(house.near.traffic().backends[0].failed > 0, "it was tried");
}

#[tokio::test]
async fn other_nodes_are_on_this_machines_network_whatever_instances_are_on() {
    let house = House::new("nas", "nas").await;
    let way = Way::Edge(FarEdge { node: NODE, hop_port: None });
    let address = house.plain.local_addr().unwrap();
    let nowhere = Reach::by(|_, _| Err(std::io::ErrorKind::NetworkUnreachable.into()));
    let door = Door::reaching(Connections::new(1), nowhere);
    door.pool.set(&[Backend { instance: InstanceId(Ulid(1)), address, way }]);
    let whose = Whose { client: address, here: Here::Said(address) };
    let (connected, heard) = tokio::join!(
        async {
            let connected = connect(&door, &door.settings(), whose).await;
            connected.map(drop).is_some()
        },
        heard(&house.plain)
    );
    assert!(connected && heard.is_empty());
}
