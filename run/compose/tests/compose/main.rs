//! Compose files as people write them, converted, and held against what was agreed; and files that nobody
//! would write.
//!
//! `FREEHOLD_REGENERATE=1 cargo test -p freehold-compose` renews the agreed results and `docs/compose.md`.

mod chaos;
mod judge;
mod reference;
mod samples;
