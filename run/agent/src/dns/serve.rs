//! The resolver's two sockets, datagrams and streams, on the gateway's address; the node's rules send port
//! 53 to them. Who asks is known by address, which instances cannot forge.

use super::{
    decide::{Decision, decide, is_outside, openings},
    limits::Limits,
    message::{Asked, Found, Kind, Verdict},
    upstream::{self, NameServers},
};
use crate::{agent::Shared, logs, residents::Resident};
use freehold_model::InstanceId;
use freehold_runtime::rootless;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

/// So many streams are open at a time.
const STREAMS: usize = 64;
/// A stream on which nothing is asked is closed after this.
const IDLE: Duration = Duration::from_secs(5);
/// After the sockets failed they are tried again so soon.
const AGAIN: Duration = Duration::from_millis(200);

/// The sockets, before anybody is answered.
pub(crate) struct Resolver {
    datagrams: UdpSocket,
    streams: TcpListener,
    servers: NameServers,
}

impl Resolver {
    /// Listens on `gateway`, which need not be an address of the node yet.
    pub(crate) fn bind(gateway: Ipv4Addr, servers: NameServers) -> io::Result<Resolver> {
        let mut last = io::Error::other("no port was tried");
        for _ in 0..16 {
            let datagrams = UdpSocket::from_std(open(SocketType::DGRAM, gateway, 0)?.into())?;
            let port = datagrams.local_addr()?.port();
            match open(SocketType::STREAM, gateway, port) {
                Ok(stream) => {
                    listen(&stream, 64)?;
                    let streams = TcpListener::from_std(stream.into())?;
                    return Ok(Resolver { datagrams, streams, servers });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The port of both sockets.
    pub(crate) fn port(&self) -> io::Result<u16> {
        Ok(self.datagrams.local_addr()?.port())
    }

    /// Answers until what is returned is dropped.
    pub(crate) fn serve(self, shared: Arc<Shared>) -> [AbortOnDropHandle<()>; 2] {
        let server = Arc::new(Server { shared, servers: self.servers, limits: Limits::default() });
        let datagrams = tokio::spawn(datagrams(Arc::new(self.datagrams), Arc::clone(&server)));
        [datagrams, tokio::spawn(streams(self.streams, server))].map(AbortOnDropHandle::new)
    }
}

fn open(kind: SocketType, address: Ipv4Addr, port: u16) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rootless::inside(move || socket_with(AddressFamily::INET, kind, flags, None))?;
    sockopt::set_ip_freebind(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(address, port))?;
    Ok(socket)
}

async fn datagrams(socket: Arc<UdpSocket>, server: Arc<Server>) {
    let mut bytes = vec![0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut bytes).await else {
            sleep(AGAIN).await;
            continue;
        };
        let Some((id, asker)) = server.asker(from) else { continue };
        let (question, socket, server) = (bytes[..length].to_vec(), Arc::clone(&socket), Arc::clone(&server));
        tokio::spawn(async move {
            let Some(_place) = server.limits.place(id) else { return };
            if let Some(answer) = server.answer(&question, id, &asker, true).await {
                let _ = socket.send_to(&answer, from).await;
            }
        });
    }
}

async fn streams(listener: TcpListener, server: Arc<Server>) {
    let places = Arc::new(Semaphore::new(STREAMS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, from)) = listener.accept().await else {
            sleep(AGAIN).await;
            continue;
        };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let _place = place;
            if let Some((id, asker)) = server.asker(from) {
                let _ = converse(stream, &server, id, &asker).await;
            }
        });
    }
}

async fn converse(
    mut stream: TcpStream,
    server: &Server,
    id: InstanceId,
    asker: &Resident,
) -> io::Result<()> {
    loop {
        let question = timeout(IDLE, upstream::read(&mut stream)).await??;
        let Some(_place) = server.limits.place(id) else { return Ok(()) };
        let Some(answer) = server.answer(&question, id, asker, false).await else { return Ok(()) };
        timeout(IDLE, upstream::write(&mut stream, &answer)).await??;
    }
}

struct Server {
    shared: Arc<Shared>,
    servers: NameServers,
    limits: Limits,
}

impl Server {
    fn asker(&self, from: SocketAddr) -> Option<(InstanceId, Resident)> {
        match from.ip() {
            IpAddr::V4(address) => self.shared.residents.at(address),
            IpAddr::V6(_) => None,
        }
    }

    /// What to say to a question, if anything.
    async fn answer(
        &self,
        question: &[u8],
        id: InstanceId,
        asker: &Resident,
        by_datagram: bool,
    ) -> Option<Vec<u8>> {
        let asked = match Asked::read(question) {
            Ok(asked) => asked,
            Err(answer) => return answer,
        };
        let room = if by_datagram { asked.datagram() } else { usize::MAX };
        match decide(&asked.name, asker, &self.shared.residents, self.shared.config.gateway) {
            Decision::Here(addresses) if asked.kind == Kind::Addresses => Some(asked.own(&addresses, room)),
            Decision::Here(_) => Some(asked.empty(Verdict::Found)),
            Decision::Unknown => Some(asked.empty(Verdict::NoName)),
            Decision::Ask if asked.kind == Kind::Nothing => Some(asked.empty(Verdict::Found)),
            Decision::Ask => Some(self.ask(&asked, id, asker, room).await),
            Decision::Forbidden => {
                self.note(id, asker, &asked.name);
                Some(asked.empty(Verdict::NoName))
            }
        }
    }

    /// Asks the name servers, and opens what they answer before it is passed on.
    async fn ask(&self, asked: &Asked<'_>, id: InstanceId, asker: &Resident, room: usize) -> Vec<u8> {
        let number = rand::random();
        let Some(bytes) = upstream::ask(&self.servers.list(), asked, number).await else {
            return asked.empty(Verdict::Failed);
        };
        let config = &self.shared.config;
        let keep = |address| is_outside(address, config.gateway, config.network_bits);
        let Some(found) = Found::read(&bytes, asked, number, keep) else {
            return asked.empty(Verdict::Failed);
        };
        let (addresses, seconds) = found.addresses();
        let openings = openings(&asked.name, asker, &addresses, Duration::from_secs(seconds.into()));
        if !openings.is_empty()
            && let Err(why) = self.open(id, openings).await
        {
            tracing::warn!(instance = %id, name = asked.name, why, "a name is not opened");
            return asked.empty(Verdict::Failed);
        }
        asked.passed_on(&found, room)
    }

    async fn open(
        &self,
        id: InstanceId,
        openings: Vec<freehold_runtime::network::Opening>,
    ) -> Result<(), String> {
        let run = self.shared.live().get(&id).cloned();
        let (_, handle) = run.ok_or("it does not run")?;
        let network = handle.network().await.map_err(|error| error.to_string())?;
        let opened = tokio::task::spawn_blocking(move || network.open(&openings)).await;
        opened.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Says in the instance's own log that a name was asked for that its egress does not allow.
    fn note(&self, id: InstanceId, asker: &Resident, name: &str) {
        if !self.limits.is_news(id, name) {
            return;
        }
        let (name, process) = (name.escape_default(), &asker.spec.process);
        tracing::info!(instance = %id, %process, %name, "a name was asked for that egress does not allow");
        let text = format!("it asked for the name {name}, which the egress of {process} does not allow");
        logs::note(&self.shared.log_dir(id), &text);
    }
}
