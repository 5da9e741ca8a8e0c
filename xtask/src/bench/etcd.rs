//! A load client for etcd: gRPC `KV/Put` and `Watch/Watch` over HTTP/2, one connection for each writer and
//! watcher, one request at a time.
//!
//! The messages that it needs are encoded by hand (etcd API v3, `rpc.proto`: `PutRequest` has
//! `bytes key = 1; bytes value = 2`; `WatchRequest` has `WatchCreateRequest create_request = 1`, which has
//! `bytes key = 1; bytes range_end = 2`), so that no code generator is linked for two calls.

use super::{commits::Measured, shell};
use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub(super) const CLIENT: &str = "127.0.0.1:23790";

/// One that runs, and ends along with this.
pub(super) struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts an etcd on a fresh directory and writes to it from `writers` connections.
pub(crate) fn measure(writers: usize, seconds: u64) -> Result<Measured> {
    let dir = tempfile::tempdir_in("target")?;
    let _server = start(dir.path())?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut times = runtime.block_on(async {
        let until = Instant::now() + Duration::from_secs(seconds);
        let tasks: Vec<_> = (0..writers).map(|writer| tokio::spawn(write(writer, until))).collect();
        let mut times = vec![];
        for task in tasks {
            times.extend(task.await??);
        }
        anyhow::Ok(times)
    })?;
    ensure!(!times.is_empty(), "etcd acknowledged nothing");
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_micros() as f64;
    Ok(Measured { commits_per_second: times.len() as f64 / seconds as f64, p50_us: at(50), p99_us: at(99) })
}

/// On a fresh directory.
pub(super) fn start(dir: &std::path::Path) -> Result<Server> {
    let url = format!("http://{CLIENT}");
    let peer = "http://127.0.0.1:23800";
    let child = Command::new("etcd")
        .arg("--data-dir")
        .arg(dir)
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run etcd")?;
    let server = Server(child);
    shell::wait("etcd", || {
        let health = Command::new("curl").args(["-sf", "--max-time", "1", &format!("{url}/health")]).output();
        health.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("true"))
    })?;
    Ok(server)
}

/// Writes until the time is over; answers with how long each acknowledged write took.
async fn write(writer: usize, until: Instant) -> Result<Vec<Duration>> {
    let mut client = Client::connect().await?;
    let mut times = vec![];
    while Instant::now() < until {
        let start = Instant::now();
        client.put(&format!("bench/{writer}/{}", times.len()), 1024).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// A connection of its own.
pub(super) struct Client(h2::client::SendRequest<Bytes>);

impl Client {
    pub(super) async fn connect() -> Result<Client> {
        let stream = tokio::net::TcpStream::connect(CLIENT).await?;
        stream.set_nodelay(true)?;
        let (client, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Client(client))
    }

    /// Writes a value of `size` bytes, until it is acknowledged.
    pub(super) async fn put(&mut self, key: &str, size: usize) -> Result<()> {
        let (response, mut body) = self.call("KV/Put").await?;
        body.send_data(put_request(key, size), true)?;
        acknowledged(response.await?).await
    }

    /// Watches every key that begins with `bench/`; the first message says that it does.
    pub(super) async fn watch(&mut self) -> Result<Watch> {
        let (response, mut body) = self.call("Watch/Watch").await?;
        body.send_data(watch_request(b"bench/", b"bench0"), false)?;
        let messages = response.await?.into_body();
        let mut watch = Watch { messages, _open: body };
        watch.next().await?;
        Ok(watch)
    }

    async fn call(&mut self, method: &str) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>)> {
        self.0 = self.0.clone().ready().await?;
        let request = http::Request::post(format!("http://{CLIENT}/etcdserverpb.{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        Ok(self.0.send_request(request, false)?)
    }
}

/// An open watch.
pub(super) struct Watch {
    messages: h2::RecvStream,
    _open: h2::SendStream<Bytes>,
}

impl Watch {
    /// The next message, or several that came together.
    pub(super) async fn next(&mut self) -> Result<()> {
        let message = self.messages.data().await.context("etcd ended a watch")??;
        Ok(self.messages.flow_control().release_capacity(message.len())?)
    }
}

async fn acknowledged(response: http::Response<h2::RecvStream>) -> Result<()> {
    let mut body = response.into_body();
    while let Some(chunk) = body.data().await {
        body.flow_control().release_capacity(chunk?.len())?;
    }
    let trailers = body.trailers().await?.context("a gRPC answer has trailers")?;
    ensure!(trailers.get("grpc-status").is_some_and(|status| status == "0"), "etcd refused: {trailers:?}");
    Ok(())
}

fn put_request(key: &str, size: usize) -> Bytes {
    frame(&message(&[(1, key.as_bytes()), (2, &vec![b'x'; size])]))
}

fn watch_request(key: &[u8], range_end: &[u8]) -> Bytes {
    frame(&message(&[(1, &message(&[(1, key), (2, range_end)]))]))
}

/// A protobuf message of length-delimited fields.
fn message(fields: &[(u8, &[u8])]) -> BytesMut {
    let mut message = BytesMut::new();
    for (field, bytes) in fields {
        message.put_u8(field << 3 | 2);
        varint(&mut message, bytes.len());
        message.put_slice(bytes);
    }
    message
}

/// A gRPC frame: flag, length, message.
fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a small message"));
    frame.put_slice(message);
    frame.freeze()
}

fn varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_is_the_one_that_protobuf_and_grpc_describe() {
        let frame = put_request("k", 1024);
        // Flag 0, length 1030 = 3 for the key and 3 + 1024 for the value.
        assert_eq!(frame[..8], [0, 0, 0, 4, 6, 0x0a, 1, b'k']);
        assert_eq!(frame[8..11], [0x12, 0x80, 0x08]);
        assert_eq!(frame.len(), 5 + 3 + 3 + 1024);
        assert_eq!(watch_request(b"a", b"b")[..], *b"\0\0\0\0\x08\x0a\x06\x0a\x01a\x12\x01b");
    }
}
