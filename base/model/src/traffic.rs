//! What endpoints carry: counters, and the lines of the access log. Made by the edge, read through the
//! API; never stored as resources.

use crate::{EndpointId, InstanceId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What an endpoint has carried since `since`: the start of the edge, or of the endpoint. For UDP a session is a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndpointTraffic {
    /// Which.
    #[schema(value_type = String)]
    pub endpoint: EndpointId,
    /// Since when is counted.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Open now.
    pub active: u32,
    /// Accepted in all.
    pub connections: u64,
    /// Reset at once because there were `max_connections`; UDP: sessions ended early to make room.
    pub refused: u64,
    /// Ended because no instance answered.
    pub failed: u64,
    /// Broken off by the client or the instance.
    pub broken: u64,
    /// Ended because nothing came for the idle timeout.
    pub idled: u64,
    /// From clients; of open connections those in steps of 256 KiB.
    pub bytes_in: u64,
    /// To clients, likewise.
    pub bytes_out: u64,
    /// Ended because a trusted proxy sent no PROXY header that can be read, or sent it too slowly.
    pub bad_headers: u64,
    /// Datagrams that were thrown away.
    pub dropped: u64,
    /// Lines that the access log lacks, because more came than could be written.
    pub unlogged: u64,
    /// By instance.
    pub backends: Vec<BackendTraffic>,
}

/// What one instance was given by an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BackendTraffic {
    /// Which.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// Whether new connections go there; if not, it drains.
    pub serves: bool,
    /// Open now.
    pub active: u32,
    /// Connections in all.
    pub connections: u64,
    /// Attempts to connect that failed.
    pub failed: u64,
}

/// One connection, or UDP session, that has ended: a line of the access log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AccessLine {
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Where it came in.
    #[schema(value_type = String)]
    pub endpoint: EndpointId,
    /// Who: address and port; as a trusted proxy's PROXY header tells it, where there is one.
    #[schema(value_type = String)]
    pub client: SocketAddr,
    /// Who answered; nobody did when absent.
    #[schema(value_type = Option<String>)]
    pub instance: Option<InstanceId>,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// How long it was open, in milliseconds.
    pub duration_ms: u64,
    /// How it ended.
    pub end: AccessEnd,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessEnd {
    /// Both sides ended it in order.
    Done,
    /// Nothing came for the idle timeout.
    Idle,
    /// The client broke it off.
    ClientReset,
    /// The instance broke it off.
    InstanceReset,
    /// No instance answered.
    NoInstance,
    /// There were too many.
    Refused,
    /// A trusted proxy sent no PROXY header that can be read, or sent it too slowly.
    BadHeader,
    /// Freehold stopped, or the endpoint went away.
    Cut,
}

/// Which lines of an access log are wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AccessQuery {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Only the last so many that fit.
    pub tail: Option<usize>,
    /// Goes on with new lines as they come.
    pub follow: bool,
}
