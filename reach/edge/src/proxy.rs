//! Carries connections: accepts them, finds each a backend, copies both ways until both sides are done.
//!
//! Invariant: a connection that was accepted is given to every backend once before it is given up, and
//! waits [`HOLD`] for one to appear, so that a restart costs a moment and not a failure.

use crate::pool::{Lease, Pool};
use rustix::{io::Errno, net::sockopt};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a backend may take to answer a connection attempt.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a connection waits for a backend when there is none that answers.
const HOLD: Duration = Duration::from_secs(3);
/// How long to wait before accepting again when file descriptors or memory ran out.
const BREATHER: Duration = Duration::from_millis(100);
/// A peer that vanished without a word is noticed after one such silence and three probes.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(10), 3);

/// The open connections of all endpoints, and room for more.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) tasks: TaskTracker,
    room: Arc<Semaphore>,
}

impl Connections {
    /// Room for `most` at a time.
    pub(crate) fn new(most: usize) -> Connections {
        Connections { tasks: TaskTracker::new(), room: Arc::new(Semaphore::new(most)) }
    }

    /// Waits for room: clients wait where the kernel keeps them, and the store, the API and the agent
    /// are left the files that they need.
    async fn room(&self) -> OwnedSemaphorePermit {
        if self.room.available_permits() == 0 {
            tracing::warn!("as many connections are open as may be; others wait");
        }
        Arc::clone(&self.room).acquire_owned().await.expect("it is never closed")
    }
}

/// So many connections, of two descriptors each, as leave a quarter of `limit` descriptors to others.
pub(crate) fn most(limit: Option<u64>) -> usize {
    let limit = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX).min(1 << 20);
    (limit - limit / 4) / 2
}

/// Accepts connections and serves each from `pool`, until `stop`.
pub(crate) async fn accept(
    listener: TcpListener,
    pool: Arc<Pool>,
    stop: CancellationToken,
    connections: Connections,
) {
    let next = async || (connections.room().await, listener.accept().await);
    while let Some((room, accepted)) = stop.run_until_cancelled(next()).await {
        match accepted {
            Ok((client, _)) => {
                let served = serve(client, Arc::clone(&pool));
                connections.tasks.spawn(async move {
                    served.await;
                    drop(room);
                });
            }
            Err(error) if is_exhausted(&error) => {
                tracing::warn!(%error, "cannot accept a connection now");
                sleep(BREATHER).await;
            }
            // The client is gone before it was accepted: nobody's loss (accept(2), ERRORS).
            Err(error) => tracing::debug!(%error, "a connection was lost before it was accepted"),
        }
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

async fn serve(mut client: TcpStream, pool: Arc<Pool>) {
    let Some((lease, mut backend)) = connect(&pool).await else { return };
    tune(&client);
    tune(&backend);
    // Ends when both directions have: the end of one is passed on as a half-close.
    if let Err(error) = copy_bidirectional(&mut client, &mut backend).await {
        tracing::debug!(instance = %lease.backend.instance, %error, "a connection broke");
    }
}

/// A connection to a backend; `None` when none answered within [`HOLD`].
async fn connect(pool: &Arc<Pool>) -> Option<(Lease, TcpStream)> {
    let deadline = Instant::now() + HOLD;
    let mut changed = pool.changed();
    loop {
        changed.borrow_and_update();
        if let Some(connected) = try_each(pool).await {
            return Some(connected);
        }
        timeout_at(deadline, changed.changed()).await.ok()?.ok()?;
    }
}

async fn try_each(pool: &Arc<Pool>) -> Option<(Lease, TcpStream)> {
    let mut tried = vec![];
    while let Some(lease) = pool.lease(&tried) {
        match timeout(CONNECT, TcpStream::connect(lease.backend.address)).await {
            Ok(Ok(stream)) => return Some((lease, stream)),
            failed => tracing::debug!(backend = ?lease.backend, ?failed, "a backend does not answer"),
        }
        tried.push(lease.backend.instance);
    }
    None
}

/// Small writes go out at once; silent death is noticed. A socket that refuses is already broken, and
/// the copy will say so.
fn tune(stream: &TcpStream) {
    let (idle, interval, probes) = KEEPALIVE;
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, idle);
    let _ = sockopt::set_tcp_keepintvl(stream, interval);
    let _ = sockopt::set_tcp_keepcnt(stream, probes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::Backend;
    use freehold_model::InstanceId;
    use tokio::io::AsyncReadExt;

    #[test]
    fn a_quarter_of_the_files_is_left_to_others() {
        assert_eq!(most(Some(20_000)), 7500);
        assert_eq!(most(Some(1024)), 384);
        assert!(most(None) < Semaphore::MAX_PERMITS);
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_it() {
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = Pool::new(Arc::default());
        let instance = InstanceId(ulid::Ulid::nil());
        pool.set(&[Backend { instance, address: backend.local_addr().unwrap() }]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, connections) = (CancellationToken::new(), Connections::new(1));
        let edge = tokio::spawn(accept(listener, pool, stop.clone(), connections));

        let first = TcpStream::connect(address).await.unwrap();
        let (server, _) = backend.accept().await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(timeout(Duration::from_millis(100), backend.accept()).await.is_err(), "it waits");
        drop((first, server));
        let (server, _) = timeout(CONNECT, backend.accept()).await.expect("its turn came").unwrap();
        drop(server);
        assert_eq!(second.read(&mut [0]).await.unwrap(), 0);
        stop.cancel();
        edge.await.unwrap();
    }
}
