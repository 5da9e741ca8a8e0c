//! How sockets to instances are made: as usual, or by whoever the daemon names, where instances are on a
//! network that this process is not in. Whoever it is must answer at once.

use rustix::net::SocketType;
use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    sync::Arc,
};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

type Make = dyn Fn(SocketType, IpAddr) -> io::Result<OwnedFd> + Send + Sync;

/// The way to instances; the default is this process's own network.
#[derive(Clone, Default)]
pub struct Reach(Option<Arc<Make>>);

impl Reach {
    /// Through sockets that `make` makes: for streams or datagrams, for the family of an address, neither
    /// bound nor connected, and non-blocking.
    pub fn by(make: impl Fn(SocketType, IpAddr) -> io::Result<OwnedFd> + Send + Sync + 'static) -> Reach {
        Reach(Some(Arc::new(make)))
    }

    /// Connects to an instance.
    pub(crate) async fn tcp(&self, to: SocketAddr) -> io::Result<TcpStream> {
        match &self.0 {
            None => TcpStream::connect(to).await,
            Some(make) => {
                let socket = make(SocketType::STREAM, to.ip())?;
                TcpSocket::from_std_stream(socket.into()).connect(to).await
            }
        }
    }

    /// A socket for the datagrams of one session with an instance.
    pub(crate) fn udp(&self, to: SocketAddr) -> io::Result<UdpSocket> {
        let socket = match &self.0 {
            None if to.is_ipv4() => std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            None => std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
            Some(make) => make(SocketType::DGRAM, to.ip())?.into(),
        };
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "by another network" } else { "by this network" })
    }
}
