//! Which images stay for rollbacks.

use crate::house::{House, image, manifest};
use freehold_deploy::retention::{KEPT, images_in_use};

#[test]
fn the_newest_releases_and_whatever_runs_keep_their_images() {
    let mut house = House::new();
    let manifest = manifest(1);
    let last = KEPT + 3;
    for number in 1..=last {
        let plan = house.plan(&manifest, &image(&format!("v{number}")), false).unwrap();
        let receipt = house.apply(&plan).unwrap();
        house.let_it_go_well(receipt);
    }
    let kept = |house: &House, number: usize| {
        images_in_use(&house.view()).unwrap().contains(&image(&format!("v{number}")).digest)
    };
    for number in 1..=last {
        assert_eq!(kept(&house, number), number > last - KEPT, "v{number}");
    }

    let plan = house.plan_rollback(Some(2)).unwrap();
    let receipt = house.apply(&plan).unwrap();
    assert!(kept(&house, 2) && kept(&house, last), "both sides of a rollout that is under way");
    house.let_it_go_well(receipt);
    assert!(kept(&house, 2), "it runs, however old it is");
    assert!(!kept(&house, 1));
}
