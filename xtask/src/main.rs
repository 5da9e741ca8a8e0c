//! The project's own checks and chores: `cargo xtask arrows|shape|bench|lab [NAME…]`.

mod arrows;
mod bench;
mod lab;
mod shape;
mod workspace;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("arrows") => arrows::check(),
        Some("shape") => shape::print(),
        Some("bench") => bench::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("load") => bench::load(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("lab") => lab::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        _ => bail!("usage: cargo xtask arrows | shape | bench [NAME…] | lab COMMAND"),
    }
}
