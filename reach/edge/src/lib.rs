//! Proxies TCP and UDP traffic to instances.
//!
//! The daemon starts one [`Edge`]. It watches the store: every endpoint becomes a listener, every
//! healthy, serving instance of its process a backend, and what came of it is written back as the
//! endpoint's status. Deciding ([`routing`], `status`, the choice within a `pool`, the addresses of
//! `own`) is apart from sockets (`bind`, `ports`); `control` joins the two. Traffic itself (`proxy` and
//! `relay` for TCP, `udp`, `hop` between two edges) runs on threads of its own (`workers`); what it leaves behind is read through
//! an [`Observer`].

mod access;
mod bind;
mod connect;
mod connections;
mod control;
mod counters;
mod door;
pub mod fuzz;
mod header;
mod holder;
mod hop;
mod observer;
pub mod own;
mod pool;
mod ports;
mod proxy;
mod reach;
mod relay;
pub mod routing;
mod scenery;
mod status;
mod udp;
mod workers;

pub use control::{Edge, EdgeConfig};
pub use door::Settings;
pub use header::{Unproxied, client_of_proxy};
pub use hop::HopKeys;
pub use observer::{ClosedPort, Observer};
pub use reach::Reach;
pub use scenery::{Scene, Scenery};
pub use status::of_node;
