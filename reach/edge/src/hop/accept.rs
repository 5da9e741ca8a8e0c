//! Takes connections that other edges hand over.
//!
//! Invariant: whoever cannot show a header of this house in time holds one of a few places, and none of the
//! room that endpoints' connections share.

use super::{Hop, Hops, REFUSED, TAKEN, header};
use crate::{ports::Doors, proxy};
use std::{
    io,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long a header may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most that each worker waits for at once.
const STRANGERS: usize = 128;
/// How long to wait before accepting again when that failed.
const BREATHER: Duration = Duration::from_millis(100);

/// Accepts hops to the endpoints of `doors` until `stop`.
pub(crate) async fn accept(listener: TcpListener, hops: Hops, doors: Doors, stop: CancellationToken) {
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            sleep(BREATHER).await;
            continue;
        };
        // A reset tells an edge of this house to go the plain way; to wait would tell it nothing.
        let Ok(place) = Arc::clone(&strangers).try_acquire_owned() else { continue };
        let (hops, doors) = (hops.clone(), Arc::clone(&doors));
        tokio::spawn(async move {
            let received = timeout(PATIENCE, receive(stream, &hops)).await;
            drop(place);
            if let Ok(Ok((stream, hop))) = received {
                let _ = take(stream, hop, &doors).await;
            }
        });
    }
}

async fn receive(mut stream: TcpStream, hops: &Hops) -> io::Result<(TcpStream, Hop)> {
    let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
    let mut preamble = [0; header::PREAMBLE];
    stream.read_exact(&mut preamble).await?;
    let mut bytes = preamble.to_vec();
    bytes.resize(header::length(&preamble).ok_or_else(refused)?, 0);
    stream.read_exact(&mut bytes[header::PREAMBLE..]).await?;
    let (hop, _) = hops.open(&bytes).ok_or_else(refused)?;
    Ok((stream, hop))
}

async fn take(mut stream: TcpStream, hop: Hop, doors: &Doors) -> io::Result<()> {
    let door = doors.lock().unwrap_or_else(PoisonError::into_inner).get(&hop.endpoint).cloned();
    let taken = match &door {
        Some(door) => proxy::take(door, &hop).await,
        None => None,
    };
    match taken {
        Some(taken) => {
            stream.write_u8(TAKEN).await?;
            taken.carry(stream);
        }
        None => stream.write_u8(REFUSED).await?,
    }
    Ok(())
}
