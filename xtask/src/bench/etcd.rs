//! A load client for etcd: gRPC `KV/Put` over HTTP/2, one connection per writer, one request at a time.
//!
//! The two messages that it needs are encoded by hand (etcd API v3, `rpc.proto`: `PutRequest` has
//! `bytes key = 1; bytes value = 2`), so that no code generator is linked for one call.

use super::{commits::Measured, shell};
use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const CLIENT: &str = "127.0.0.1:23790";

struct Server(Child);

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

fn start(dir: &std::path::Path) -> Result<Server> {
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
    let stream = tokio::net::TcpStream::connect(CLIENT).await?;
    stream.set_nodelay(true)?;
    let (mut client, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let mut times = vec![];
    while Instant::now() < until {
        let start = Instant::now();
        client = client.ready().await?;
        let request = http::Request::post(format!("http://{CLIENT}/etcdserverpb.KV/Put"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (response, mut body) = client.send_request(request, false)?;
        body.send_data(put_request(&format!("bench/{writer}/{}", times.len())), true)?;
        acknowledged(response.await?).await?;
        times.push(start.elapsed());
    }
    Ok(times)
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

/// A gRPC frame (flag, length, message) around a `PutRequest` of 1 KiB.
fn put_request(key: &str) -> Bytes {
    let value = [b'x'; 1024];
    let mut message = BytesMut::new();
    for (field, bytes) in [(1, key.as_bytes()), (2, &value[..])] {
        message.put_u8(field << 3 | 2);
        varint(&mut message, bytes.len());
        message.put_slice(bytes);
    }
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a small message"));
    frame.put_slice(&message);
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
        let frame = put_request("k");
        // Flag 0, length 1030 = 3 for the key and 3 + 1024 for the value.
        assert_eq!(frame[..8], [0, 0, 0, 4, 6, 0x0a, 1, b'k']);
        assert_eq!(frame[8..11], [0x12, 0x80, 0x08]);
        assert_eq!(frame.len(), 5 + 3 + 3 + 1024);
    }
}
