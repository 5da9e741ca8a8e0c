//! The stores as a whole: conformance, crashes, files, the chain, and random transactions.

mod chain;
mod conformance;
mod crash;
mod files;
mod postgres;
mod random;
mod shared;
mod support;
