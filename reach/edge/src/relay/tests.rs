use super::*;
use proptest::prelude::*;
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
    time::timeout,
};

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// A client, a backend, and a relay between them that runs.
async fn joined(idle: Duration, pipes: Pipes) -> (TcpStream, TcpStream, JoinHandle<(End, (u64, u64))>) {
    let ((client, from), (backend, to)) = (pair().await, pair().await);
    let relay = tokio::spawn(async move {
        let (bytes_in, bytes_out) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut relay = Relay::new(from, to, Counted { bytes_in: &bytes_in, bytes_out: &bytes_out });
        let end = relay.run(idle, &pipes).await;
        let bytes = relay.bytes();
        drop(relay);
        assert_eq!((bytes_in.into_inner(), bytes_out.into_inner()), bytes, "what was told is what was moved");
        (end, bytes)
    });
    (client, backend, relay)
}

const LONG: Duration = Duration::from_secs(60);

/// Bytes of which every eight tell their place.
fn text(length: usize, salt: u64) -> Arc<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut n = salt << 40;
    while bytes.len() < length {
        bytes.extend_from_slice(&n.to_le_bytes());
        n += 1;
    }
    bytes.truncate(length);
    Arc::new(bytes)
}

/// Writes in pieces of these lengths, again and again, and ends.
fn write(
    mut to: tokio::net::tcp::OwnedWriteHalf,
    text: Arc<Vec<u8>>,
    pieces: Vec<usize>,
) -> JoinHandle<io::Result<()>> {
    tokio::spawn(async move {
        let (mut at, mut turn) = (0, 0);
        while at < text.len() {
            let end = (at + pieces[turn % pieces.len()]).min(text.len());
            to.write_all(&text[at..end]).await?;
            (at, turn) = (end, turn + 1);
            if turn % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        to.shutdown().await
    })
}

/// Reads to the end in pieces of at most this length; how it ended, and what came.
fn read(mut from: tokio::net::tcp::OwnedReadHalf, piece: usize) -> JoinHandle<(Vec<u8>, io::Result<()>)> {
    tokio::spawn(async move {
        let (mut all, mut buffer) = (vec![], vec![0; piece]);
        loop {
            match from.read(&mut buffer).await {
                Ok(0) => return (all, Ok(())),
                Ok(read) => all.extend_from_slice(&buffer[..read]),
                Err(error) => return (all, Err(error)),
            }
        }
    })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(60), work).await.expect("it hangs") })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_in_comes_out_both_ways_whatever_the_pieces(
        (up, down) in (0usize..3 << 20, 0usize..3 << 20),
        pieces in prop::collection::vec(prop_oneof![1usize..2000, 1usize..400_000], 1..6),
        (near, far) in (prop_oneof![500usize..5000, 60_000usize..300_000], 500usize..300_000),
        pipes in 0usize..3,
    ) {
        block_on(async move {
            let (client, backend, relay) = joined(LONG, Pipes::new(pipes)).await;
            let (asked, answered) = (text(up, 1), text(down, 2));
            let ((from_client, to_client), (from_backend, to_backend)) = (client.into_split(), backend.into_split());
            let (received, returned) = (read(from_backend, far), read(from_client, near));
            write(to_client, Arc::clone(&asked), pieces.clone()).await.unwrap().unwrap();
            // The answer begins only now: one side has ended, and the other way still works.
            write(to_backend, Arc::clone(&answered), pieces).await.unwrap().unwrap();
            let (received, returned) = (received.await.unwrap(), returned.await.unwrap());
            assert!(received.1.is_ok() && received.0 == *asked, "what came up differs");
            assert!(returned.1.is_ok() && returned.0 == *answered, "what came down differs");
            assert_eq!(relay.await.unwrap(), (End::Done, (up as u64, down as u64)));
        });
    }

    #[test]
    fn an_answer_that_was_cut_short_never_looks_whole(
        sent in 0usize..2 << 20,
        pieces in prop::collection::vec(1usize..300_000, 1..4),
        by_client: bool,
    ) {
        block_on(async move {
            let (client, backend, relay) = joined(LONG, Pipes::new(4)).await;
            let (near, far) = if by_client { (client, backend) } else { (backend, client) };
            let (from_near, mut to_near) = near.into_split();
            let whole = text(sent, 3);
            let reader = read(far.into_split().0, 64 << 10);
            for piece in whole.chunks(pieces[0]) {
                to_near.write_all(piece).await.unwrap();
            }
            let near = from_near.reunite(to_near).unwrap();
            rustix::net::sockopt::set_socket_linger(&near, Some(Duration::ZERO)).unwrap();
            drop(near);
            let (came, how) = reader.await.unwrap();
            assert!(whole.starts_with(&came), "what came is not what was sent");
            let end = relay.await.unwrap().0;
            assert!(how.is_err(), "a reset became an end ({end:?}) after {} of {sent} bytes", came.len());
            assert_eq!(end, if by_client { End::Client } else { End::Backend });
        });
    }
}

#[test]
fn a_stream_is_spliced_and_the_pipe_goes_back() {
    block_on(async {
        let pipes = Pipes::new(1);
        let (client, backend, relay) = joined(LONG, pipes.clone()).await;
        let ((from_client, to_client), (from_backend, to_backend)) =
            (client.into_split(), backend.into_split());
        let sent = text(8 << 20, 4);
        let writer = write(to_client, Arc::clone(&sent), vec![1 << 20]);
        let mut first = vec![0; 4 << 20];
        let mut reader = from_backend;
        reader.read_exact(&mut first).await.unwrap();
        assert!(pipes.take().is_none(), "the stream does not have the pipe");
        let rest = read(reader, 1 << 20);
        writer.await.unwrap().unwrap();
        assert_eq!(rest.await.unwrap().0.len(), 4 << 20);
        drop((from_client, to_backend));
        assert_eq!(relay.await.unwrap().0, End::Done);
        assert!(pipes.take().is_some(), "the pipe was not given back");
    });
}

#[test]
fn silence_ends_a_connection_and_a_byte_now_and_then_does_not() {
    block_on(async {
        let (mut client, mut backend, relay) = joined(Duration::from_millis(300), Pipes::new(1)).await;
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(900) {
            client.write_all(b"x").await.unwrap();
            assert_eq!(backend.read(&mut [0]).await.unwrap(), 1);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!relay.is_finished());
        assert_eq!(relay.await.unwrap().0, End::Idle);
        assert!(client.read(&mut [0]).await.is_err(), "it is reset");
    });
}

#[test]
fn a_backend_that_refuses_an_upload_is_still_heard() {
    block_on(async {
        let (client, mut backend, relay) = joined(LONG, Pipes::new(1)).await;
        let (from_client, mut to_client) = client.into_split();
        let upload = tokio::spawn(async move {
            let piece = vec![7; 64 << 10];
            while to_client.write_all(&piece).await.is_ok() {}
        });
        let mut some = [0; 1000];
        backend.read_exact(&mut some).await.unwrap();
        backend.write_all(b"too large").await.unwrap();
        let answer = read(from_client, 100);
        // Closed with the upload unread: the kernel resets it.
        drop(backend);
        assert_eq!(answer.await.unwrap().0, b"too large");
        assert_eq!(relay.await.unwrap().0, End::Backend);
        upload.await.unwrap();
    });
}
