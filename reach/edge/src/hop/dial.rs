//! Hands a connection to the edge where its instance is.

use super::{Hop, Hops, REFUSED, TAKEN, seal};
use crate::routing::FarEdge;
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long the far edge's port for hops may take to answer at all: a firewall swallows what is sent to it.
const CONNECT: Duration = Duration::from_secs(1);
/// How long it may take then until it says whether the instance has the connection.
const ANSWER: Duration = Duration::from_millis(1500);

/// What came of it.
pub(crate) enum Handed {
    /// The instance has it.
    Over(TcpStream),
    /// The instance cannot have it.
    Refused,
    /// The far edge takes no hops now: it is to be dialled as any client does.
    NoHops,
}

/// Hands over what `hop` tells of, to the edge that answers at `address`.
///
/// # Errors
/// When the far edge broke it off after it had been reached.
pub(crate) async fn hand(hops: &Hops, far: FarEdge, address: SocketAddr, hop: &Hop) -> io::Result<Handed> {
    let Some((port, key)) = far.hop_port.zip(hops.open_to(far.node)) else { return Ok(Handed::NoHops) };
    let dialled = timeout(CONNECT, TcpStream::connect((address.ip(), port))).await;
    let Ok(Ok(mut stream)) = dialled else {
        blocked(hops, far, "it cannot be reached");
        return Ok(Handed::NoHops);
    };
    let _ = stream.set_nodelay(true);
    let asked = async {
        stream.write_all(&seal(hop, &key)).await?;
        stream.read_u8().await
    };
    match timeout(ANSWER, asked).await {
        Ok(Ok(TAKEN)) => Ok(Handed::Over(stream)),
        Ok(Ok(REFUSED)) => Ok(Handed::Refused),
        Err(_) => {
            blocked(hops, far, "it does not answer");
            Ok(Handed::NoHops)
        }
        Ok(_) => {
            blocked(hops, far, "it does not know this house's key");
            Ok(Handed::NoHops)
        }
    }
}

fn blocked(hops: &Hops, far: FarEdge, why: &str) {
    hops.block(far.node);
    let (node, port) = (far.node, far.hop_port);
    tracing::warn!(%node, port, why, "connections go to a node without their client's address for a while");
}
