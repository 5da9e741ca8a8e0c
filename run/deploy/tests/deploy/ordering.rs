//! Processes that start after others.

use crate::house::{House, healthy, manifest, name, steps};
use freehold_model::{Instance, Manifest, Verdict, plan::Action};

/// `web` after `db`, and `db` after `disk`.
fn chain() -> Manifest {
    let mut chain = manifest(2);
    let web = chain.process[&name("web")].clone();
    for (process, after) in [("db", Some("disk")), ("disk", None)] {
        let after = after.map(name).into_iter().collect();
        chain
            .process
            .insert(name(process), freehold_model::manifest::Process { count: 1, after, ..web.clone() });
    }
    chain.process.get_mut(&name("web")).unwrap().after = vec![name("db")];
    chain
}

fn of<'a>(instances: &'a [Instance], process: &str) -> Vec<&'a Instance> {
    instances.iter().filter(|it| it.spec.process.as_str() == process).collect()
}

#[test]
fn each_starts_when_all_that_it_comes_after_are_healthy() {
    let mut house = House::new();
    let receipt = house.deploy(&chain());
    for (process, count, known) in [("disk", 1, 1), ("db", 1, 2), ("web", 2, 4)] {
        house.reconcile();
        let all = house.instances();
        assert_eq!((of(&all, process).len(), all.len()), (count, known), "{process}");
        house.reconcile();
        assert_eq!(house.instances().len(), known, "nothing more before {process} is healthy");
        for instance in of(&all, process) {
            house.report(instance, healthy());
        }
    }
    house.edge_applies();
    house.reconcile();
    house.edge_applies();
    house.reconcile();
    let receipt = house.receipt(receipt);
    assert_eq!(receipt.status.verdict, Some(Verdict::Succeeded), "{receipt:#?}");
    assert_eq!(steps(&receipt), ["start", "start", "start", "shift", "drain", "stop"]);
    let all = house.instances();
    assert_eq!(of(&all, "web")[0].spec.after, [name("db")], "its node is told too");
}

#[test]
fn another_order_replaces_nothing_and_is_told_to_the_node() {
    let mut house = House::new();
    let mut manifest = chain();
    house.deploy_well(&manifest);
    let before = house.instances();
    manifest.process.get_mut(&name("web")).unwrap().after = vec![name("disk")];
    let plan = house.plan(&manifest, &crate::house::image("one"), false).unwrap();
    let web = plan.changes.iter().find(|change| change.name == "web").unwrap();
    assert_eq!((web.action, web.start, web.keep), (Action::Change, 0, 2));
    assert_eq!(web.fields[0].path, "after");
    house.deploy_well(&manifest);
    let after = house.instances();
    assert_eq!(
        before.iter().map(|it| it.id).collect::<Vec<_>>(),
        after.iter().map(|it| it.id).collect::<Vec<_>>()
    );
    assert_eq!(of(&after, "web")[0].spec.after, [name("disk")]);
}
