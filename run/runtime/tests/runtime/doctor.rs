//! What the doctor finds here.

use crate::world::world;
use freehold_model::manifest::Driver;
use freehold_runtime::doctor;
use std::fs;

#[test]
fn where_the_tests_run_both_drivers_work() {
    let world = world!();
    let at = world.dir.path().to_str().unwrap();
    let mounts = || {
        let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
        all.lines().filter(|line| line.contains(at)).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = mounts();
    let found = doctor::examine(world.dir.path());
    assert_eq!(found.drivers, [Driver::Container, Driver::Process], "{found:#?}");
    assert!(found.findings.iter().all(|finding| finding.ok || finding.remedy.is_some()), "{found:#?}");
    assert!(found.findings.len() >= 7);
    assert_eq!(mounts(), before);
    println!("{found:#?}");
}

#[test]
fn a_data_directory_that_cannot_be_is_said() {
    let found = doctor::examine(std::path::Path::new("/proc/no/such/place"));
    let overlay = found.findings.iter().find(|finding| finding.name == "overlayfs").unwrap();
    assert!(!overlay.ok && overlay.remedy.is_some(), "{overlay:?}");
    assert!(found.drivers.is_empty(), "both drivers need it");
}
