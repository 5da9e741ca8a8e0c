//! The project's own checks and chores: `cargo xtask arrows|shape|bench [pull]`.

mod arrows;
mod bench;
mod shape;
mod workspace;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("arrows") => arrows::check(),
        Some("shape") => shape::print(),
        Some("bench") => bench::run(std::env::args().nth(2).as_deref()),
        _ => bail!("usage: cargo xtask arrows | shape | bench [pull]"),
    }
}
