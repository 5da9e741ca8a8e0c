//! The way into an instance's network, for its node: opens what names stand for, and tries connections as
//! the instance itself would make them, with no program of the instance's.

use super::{
    TABLE,
    instance::{HOSTS, SERVICES},
};
use crate::{
    first,
    launch::InstanceDir,
    netfilter::{Batch, Element, Family, Netfilter, service},
};
use freehold_model::{InstanceId, manifest::Protocol};
use nix::sched::{CloneFlags, setns};
use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

/// The network of one run of one instance.
#[derive(Debug)]
pub struct InstanceNetwork {
    namespace: File,
    filter: Netfilter,
}

/// An address that becomes open for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Where.
    pub address: Ipv4Addr,
    /// At which port; `None`: at every port, whatever the protocol.
    pub port: Option<u16>,
    /// By which protocol; `None`: TCP and UDP.
    pub protocol: Option<Protocol>,
    /// For how long, from now.
    pub time: Duration,
}

/// What came of trying to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Somebody there accepted.
    Connected,
    /// The way was open: the machine there said that nobody listens.
    Refused,
    /// The way is closed: the packet filter, or the lack of a route, said so.
    Closed,
    /// Nothing came back in time.
    Silent,
}

impl InstanceNetwork {
    /// The network of the instance whose first process is `pid`.
    pub(crate) fn of(dir: &InstanceDir, instance: InstanceId, pid: i32) -> io::Result<InstanceNetwork> {
        let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
        // Asked after the file was opened: the number may be another process's by now.
        if !first::belongs(dir, instance, pid) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let filter = inside(&namespace, Netfilter::open)?;
        Ok(InstanceNetwork { namespace, filter })
    }

    /// Opens the way to all of `openings`, each for its time from now.
    ///
    /// # Errors
    /// When the packet filter refuses; then nothing was opened.
    pub fn open(&self, openings: &[Opening]) -> io::Result<()> {
        let element = |key: Vec<u8>, time| Element { expires_in: Some(time), ..Element::of(key) };
        let mut batch = Batch::to(Family::Ipv4, TABLE);
        for one in openings {
            let address = one.address;
            match one.port {
                None => renew(&mut batch, HOSTS, &element(address.octets().to_vec(), one.time)),
                Some(port) => {
                    let both = [Protocol::Tcp, Protocol::Udp];
                    for protocol in both.into_iter().filter(|it| one.protocol.is_none_or(|own| own == *it)) {
                        renew(&mut batch, SERVICES, &element(service(address, protocol, port), one.time));
                    }
                }
            }
        }
        self.filter.commit(batch)
    }

    /// Tries to connect by TCP from inside. Blocks for at most `patience`.
    ///
    /// # Errors
    /// When the network cannot be entered.
    pub fn connect(&self, to: SocketAddrV4, patience: Duration) -> io::Result<Attempt> {
        inside(&self.namespace, || match TcpStream::connect_timeout(&SocketAddr::V4(to), patience) {
            Ok(_) => Ok(Attempt::Connected),
            Err(error) => attempt(error),
        })
    }

    /// Sends a datagram from inside and waits for one that comes back; `None` when none does in time.
    ///
    /// # Errors
    /// When the network cannot be entered, or it does not let the datagram out.
    pub fn exchange(
        &self,
        to: SocketAddrV4,
        datagram: &[u8],
        patience: Duration,
    ) -> io::Result<Option<Vec<u8>>> {
        inside(&self.namespace, || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(patience))?;
            socket.connect(to)?;
            socket.send(datagram)?;
            let mut answer = vec![0; 4096];
            match socket.recv(&mut answer) {
                Ok(length) => Ok(Some(answer[..length].to_vec())),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        })
    }
}

/// Adding what is there changes nothing, and removing what is not there is an error: so all three.
fn renew(batch: &mut Batch, set: &str, element: &Element<'_>) {
    let one = std::slice::from_ref(element);
    batch.add(set, one);
    batch.remove(set, one);
    batch.add(set, one);
}

fn attempt(error: io::Error) -> io::Result<Attempt> {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused | Kind::ConnectionReset => Ok(Attempt::Refused),
        Kind::TimedOut | Kind::WouldBlock => Ok(Attempt::Silent),
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::PermissionDenied => Ok(Attempt::Closed),
        _ => Err(error),
    }
}

/// Runs `act` in a network namespace, on a thread that ends with it.
pub(crate) fn inside<T: Send>(namespace: &File, act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let entered = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            act()
        });
        entered.join().unwrap_or_else(|_| Err(io::Error::other("the attempt panicked")))
    })
}
