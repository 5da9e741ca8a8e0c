//! The README's five-minute tour, every command of it, in order, in one shell.

use crate::world::{Ended, World, workspace};
use std::fs;

/// The lines of the README's blocks that are fenced as `sh`, between the tour's heading and the next.
fn commands() -> Vec<String> {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    let tour = readme.split("\n## ").find(|part| part.starts_with("A five-minute tour")).expect("the tour");
    let mut blocks = tour.split("```sh\n").skip(1).collect::<Vec<_>>();
    blocks.iter_mut().for_each(|block| *block = block.split("```").next().unwrap());
    let lines = blocks.iter().flat_map(|block| block.lines());
    lines.map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_tour_works() {
    let Some(world) = World::new() else { return };
    let commands = commands();
    assert!(commands.len() > 8, "{commands:#?}");
    let script = format!("set -euo pipefail\nset -x\n{}\n", commands.join("\n"));
    let mut shell = world.command("bash");
    shell.args(["-c", &script]).current_dir(workspace()).env("FREEHOLD_DATA", world.data());
    // A person's shell has none of what cargo tells tests of their package; crates that look at it would all
    // be built once more.
    let of_cargo = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_cargo) {
            shell.env_remove(name);
        }
    }
    let ended = Ended::of(&mut shell);
    if ended.code != 0 {
        eprintln!("{}", fs::read_to_string(world.data().join("freehold.log")).unwrap_or_default());
    }
    ended.ok();
    assert!(world.traces().is_empty(), "{:#?}", world.traces());
}
