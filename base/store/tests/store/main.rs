//! The stores as a whole: conformance, crashes, files, the chain, and random transactions.

mod addresses;
mod backup;
mod chain;
mod conformance;
mod copy;
mod crash;
mod doubt;
mod faults;
mod files;
mod inventory;
mod joins;
mod postgres;
mod power;
mod random;
mod shared;
mod support;
mod tls;
