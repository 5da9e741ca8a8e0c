//! The smallest program whose copies can be shims: what the tests of this crate run instances with.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    freehold_runtime::shim::dispatch(&args).unwrap_or_else(|| {
        eprintln!("usage: shim shim <instance directory> [exec]");
        ExitCode::from(2)
    })
}
