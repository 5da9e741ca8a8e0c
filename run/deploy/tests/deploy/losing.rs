//! Nodes that fall silent: instances elsewhere after a grace, none doubled when the node is back.

use crate::house::{House, healthy, ids, name};
use freehold_model::{
    Bytes, Condition, Desired, Instance, Manifest, Millis, NodeId, NodeSpec, NodeStatus, Spread,
    manifest::Volume,
};
use freehold_reconcile::{Reconciler, ViewExt};

/// One process, spread over the nodes.
fn manifest(count: u32) -> Manifest {
    spread(crate::house::manifest(count))
}

fn changed(count: u32, log: &str) -> Manifest {
    spread(crate::house::changed(count, log))
}

fn spread(mut manifest: Manifest) -> Manifest {
    let over = "host".parse().unwrap();
    manifest.process.get_mut("web").unwrap().spread = vec![Spread { over, max_skew: None }];
    manifest
}

impl House {
    /// As the control plane writes it when heartbeats stop, and come again.
    pub(crate) fn answers(&self, node: NodeId, state: bool) {
        let since = self.clock.after(0);
        self.change_node(node, |node| {
            node.status.conditions.retain(|it| it.kind != NodeStatus::READY);
            node.status.conditions.push(Condition {
                kind: NodeStatus::READY.into(),
                state,
                reason: if state { "Heard" } else { "Silent" }.into(),
                message: "nothing is heard of it".into(),
                since,
            });
        });
    }

    fn on(&self, node: NodeId) -> Vec<Instance> {
        self.instances().into_iter().filter(|it| it.spec.node == node).collect()
    }

    /// When the rollout reconciler wants to look at the env again.
    fn wake(&mut self) -> Option<jiff::Timestamp> {
        let (view, now, env) = (self.view(), self.clock.after(0), self.env());
        freehold_deploy::RolloutReconciler.decide(env.id.into(), &view, now, &mut self.ids).unwrap().wake
    }

    /// What runs on other nodes than `silent` goes well.
    fn settle_without(&mut self, silent: NodeId) {
        for _ in 0..12 {
            self.reconcile();
            for instance in self.instances().iter().filter(|it| it.spec.node != silent) {
                self.report(instance, crate::house::ideal(instance));
            }
            self.edge_applies();
        }
    }
}

fn two_nodes() -> (House, NodeId) {
    let mut house = House::new();
    let attic = house.join("attic", "a");
    house.deploy_well(&manifest(2));
    assert_eq!(house.on(attic).len(), 1);
    (house, attic)
}

#[test]
fn after_the_grace_instances_are_elsewhere_and_not_before() {
    let (mut house, attic) = two_nodes();
    house.answers(attic, false);
    let before = ids(&house.instances());
    house.settle_without(attic);
    assert_eq!(ids(&house.instances()), before, "a node may be silent for a while");
    assert_eq!(house.wake(), Some(house.clock.after(60_000)));
    house.pass(59_000);
    house.settle_without(attic);
    assert_eq!(ids(&house.instances()), before);
    house.pass(1_000);
    house.reconcile();
    let [lost] = &house.on(attic)[..] else { panic!("it is gone") };
    assert_eq!((lost.spec.desired, lost.spec.serving), (Desired::Stopped, false));
    assert_eq!(house.on(house.node).len(), 2);
    // In the same transaction: there is no version in which one is wanted twice, or not at all.
    let new = house.on(house.node).into_iter().find(|it| !before.contains(&it.any_id())).unwrap();
    assert_eq!(new.version, lost.version);
    // When it is back, it is told to stop, and nothing is doubled.
    house.settle_without(attic);
    house.answers(attic, true);
    house.settle();
    assert_eq!((house.on(attic).len(), house.on(house.node).len()), (0, 2));
    assert!(house.instances().iter().all(|it| it.spec.serving && it.status == healthy()));
}

#[test]
fn a_node_that_is_back_in_time_loses_nothing() {
    let (mut house, attic) = two_nodes();
    let before = ids(&house.instances());
    house.answers(attic, false);
    house.pass(50_000);
    house.settle_without(attic);
    house.answers(attic, true);
    house.pass(50_000);
    house.settle();
    assert_eq!(ids(&house.instances()), before);
}

/// What was decided while the node was silent is not done once it answers (seed 591 of the simulation).
#[test]
fn a_node_that_is_back_before_the_commit_loses_nothing() {
    let (mut house, attic) = two_nodes();
    house.answers(attic, false);
    house.pass(60_000);
    let (view, now, env) = (house.view(), house.clock.after(0), house.env());
    let decided =
        freehold_deploy::RolloutReconciler.decide(env.id.into(), &view, now, &mut house.ids).unwrap();
    house.answers(attic, true);
    assert!(house.store.commit_now(decided.txn.unwrap()).unwrap_err().is_conflict());
    assert_eq!(house.on(attic)[0].spec.desired, Desired::Running);
}

#[test]
fn the_manifest_says_how_long() {
    let mut house = House::new();
    let attic = house.join("attic", "a");
    let mut patient = manifest(2);
    patient.process.get_mut("web").unwrap().lost_after = Millis(600_000);
    house.deploy_well(&patient);
    house.answers(attic, false);
    house.pass(500_000);
    house.settle_without(attic);
    assert_eq!(house.on(attic)[0].spec.desired, Desired::Running);
    house.pass(100_000);
    house.settle_without(attic);
    assert_eq!(house.on(attic)[0].spec.desired, Desired::Stopped);
}

#[test]
fn what_has_no_place_elsewhere_stays_wanted_where_it_is() {
    let (mut house, attic) = two_nodes();
    house.change_node(house.node, |node| node.spec.cordoned = true);
    house.answers(attic, false);
    house.pass(100_000);
    house.settle_without(attic);
    assert_eq!(house.on(attic)[0].spec.desired, Desired::Running);
    assert!(house.wake().is_some(), "it is tried again");
    house.change_node(house.node, |node| node.spec.cordoned = false);
    house.settle_without(attic);
    assert_eq!(house.on(attic)[0].spec.desired, Desired::Stopped);
    assert_eq!(house.on(house.node).len(), 2);
}

#[test]
fn what_has_a_volume_waits_for_its_node() {
    let mut house = House::new();
    let mut pinned = manifest(1);
    let (path, size) = ("/data".into(), Bytes(1 << 30));
    pinned.volume.push(Volume { name: name("data"), process: name("web"), path, size });
    house.deploy_well(&pinned);
    house.join("attic", "a");
    let before = ids(&house.instances());
    house.answers(house.node, false);
    house.pass(600_000);
    let node = house.node;
    house.settle_without(node);
    assert_eq!(ids(&house.instances()), before);
    assert_eq!(house.instances()[0].spec.desired, Desired::Running);
}

#[test]
fn a_rollout_counts_nobody_healthy_on_a_silent_node_and_goes_around_it() {
    let (mut house, attic) = two_nodes();
    house.answers(attic, false);
    let receipt = house.deploy(&changed(2, "debug"));
    house.settle_without(attic);
    let receipt = house.receipt(receipt);
    assert_eq!(receipt.status.reason, None, "the old one there is not gone yet");
    let running = |it: &&Instance| it.spec.desired == Desired::Running;
    assert!(house.on(attic).iter().filter(running).count() == 0);
    assert_eq!(house.on(house.node).iter().filter(running).count(), 2);
    // The last known healthy one on a silent node does not allow the others to go.
    let (mut house, attic) = two_nodes();
    house.deploy(&changed(2, "debug"));
    house.reconcile();
    for instance in house.instances().iter().filter(|it| !it.spec.serving) {
        house.report(instance, healthy());
    }
    house.answers(attic, false);
    house.reconcile();
    assert!(house.instances().iter().filter(|it| it.spec.serving).all(|it| it.spec.template.env.is_empty()));
    house.pass(61_000);
    house.settle_without(attic);
    assert_eq!(house.on(house.node).iter().filter(running).count(), 2);
}

#[test]
fn a_removed_lost_node_takes_its_instances_along() {
    let (mut house, attic) = two_nodes();
    house.answers(attic, false);
    let (txn, _) = freehold_deploy::remove_node(&house.view(), attic, &house.asker()).unwrap();
    house.store.commit_now(txn).unwrap();
    house.settle();
    assert!(house.view().find::<NodeSpec>(attic).unwrap().is_none());
    assert_eq!((house.on(house.node).len(), house.instances().len()), (2, 2));
}
