//! Proxies TCP traffic to instances.
//!
//! The daemon starts one [`Edge`]. It watches the store: every endpoint becomes a listener, every
//! healthy, serving instance of its process a backend, and what came of it is written back as the
//! endpoint's status. Deciding ([`routing`], `status`, the choice within a `pool`) is apart from
//! sockets (`bind`, `ports`, `proxy`); `control` joins the two.

mod bind;
mod control;
mod holder;
mod pool;
mod ports;
mod proxy;
pub mod routing;
mod status;

pub use control::Edge;
