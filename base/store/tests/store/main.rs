//! The SQLite store as a whole: conformance, crashes, files, the chain, and random transactions.

mod chain;
mod conformance;
mod crash;
mod files;
mod random;
mod support;
