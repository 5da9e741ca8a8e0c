//! Asks the node's name servers, one after the other, from a port of its own for each question.

use super::message::{Asked, Found};
use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// One server has so long to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// No message is longer than its length can say.
const LONGEST: usize = 65_535;

/// Who is asked for the names outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameServers {
    /// Those of the node's `/etc/resolv.conf`, as it is when a question comes.
    System,
    /// These.
    Fixed(Vec<SocketAddr>),
}

impl NameServers {
    pub(crate) fn list(&self) -> Vec<SocketAddr> {
        match self {
            NameServers::Fixed(list) => list.clone(),
            NameServers::System => parse(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default()),
        }
    }
}

/// The servers of a resolv.conf(5).
fn parse(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        address.parse::<IpAddr>().ok()
    });
    servers.map(|address| SocketAddr::new(address, 53)).collect()
}

/// The bytes of the answer to `asked` that carries `id`. `None`: nobody answered.
pub(crate) async fn ask(servers: &[SocketAddr], asked: &Asked<'_>, id: u16) -> Option<Vec<u8>> {
    let question = asked.for_upstream(id);
    for server in servers {
        match timeout(PATIENCE, ask_one(*server, &question, asked, id)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%server, %error, "a name server cannot be asked"),
            Err(_) => tracing::debug!(%server, "a name server did not answer"),
        }
    }
    None
}

async fn ask_one(server: SocketAddr, question: &[u8], asked: &Asked<'_>, id: u16) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut bytes = vec![0; LONGEST];
    loop {
        let length = socket.recv(&mut bytes).await?;
        // What does not fit the question is not from whom it seems to be.
        match Found::read(&bytes[..length], asked, id, |_| true) {
            Some(found) if found.is_cut() => return by_stream(server, question).await,
            Some(_) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            None => {}
        }
    }
}

async fn by_stream(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write(&mut stream, question).await?;
    read(&mut stream).await
}

/// Writes a message and, before it, its length (RFC 1035, 4.2.2).
pub(super) async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

/// Reads a message that comes after its length.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_the_c_library_reads_them() {
        let text = "# nameserver 1.1.1.1\nsearch lan\nnameserver 192.168.1.1\nnameserver fe80::1%eth0\n nameserver ::1 x\n";
        let found: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.168.1.1:53", "[::1]:53"]);
    }
}
