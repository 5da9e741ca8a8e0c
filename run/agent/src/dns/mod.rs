//! The node's resolver: the only name server that instances reach.
//!
//! It answers the names of an env's own processes, asks the node's name servers for names that the egress
//! of the asker allows, and for nothing else: what an instance with no egress asks never leaves the node.
//! The addresses of an answer are open in the asker's packet filter before the answer is sent.
//! [`decide`] says what becomes of a question and is pure; [`serve`] does it.

mod decide;
mod limits;
mod message;
mod serve;
mod upstream;

pub use upstream::NameServers;

pub(crate) use message::{first_address, question};
pub(crate) use serve::Resolver;
