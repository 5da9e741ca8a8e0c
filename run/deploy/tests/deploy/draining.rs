//! Draining nodes: envs move one at a time, new before old, and what cannot move says why.

use crate::house::{House, healthy, ids, manifest, name};
use freehold_deploy::{Asker, ChangeError, change_node, drain_progress, remove_node};
use freehold_model::{
    Actor, Bytes, Desired, Manifest, NodeChange, NodeDrain, NodeId, NodeSpec, Operation, Receipt,
    ReceiptSpec, VolumeSpec, manifest::Volume,
};
use freehold_reconcile::ViewExt;

impl House {
    pub(crate) fn asker(&self) -> Asker {
        Asker { actor: Actor::User("admin".into()), request: "req".into(), now: self.clock.after(0) }
    }

    pub(crate) fn operate(&self, node: NodeId, change: NodeChange) {
        let (txn, _) = change_node(&self.view(), node, &change, &self.asker()).unwrap();
        self.store.commit_now(txn).unwrap();
    }

    fn remove_node(&self, node: NodeId) -> Result<(), String> {
        match remove_node(&self.view(), node, &self.asker()) {
            Ok((txn, _)) => self.store.commit_now(txn).map(drop).map_err(|error| error.to_string()),
            Err(ChangeError::Refused(problem)) => Err(problem.to_string()),
            Err(ChangeError::Store(error)) => Err(error.to_string()),
        }
    }

    fn drain(&self, node: NodeId) -> NodeDrain {
        let view = self.view();
        let node = view.find::<NodeSpec>(node).unwrap().unwrap();
        drain_progress(&view, &node, self.clock.after(0)).unwrap()
    }

    fn moves(&self) -> Vec<Receipt> {
        let mut all = self.view().all::<ReceiptSpec>(None).unwrap();
        all.retain(|receipt| receipt.spec.operation == Operation::Move);
        all
    }

    /// Lets everything go well for a while.
    pub(crate) fn settle(&mut self) {
        for _ in 0..12 {
            self.reconcile();
            for instance in self.instances() {
                self.report(&instance, crate::house::ideal(&instance));
            }
            self.edge_applies();
        }
    }
}

fn other_app() -> Manifest {
    let mut other = manifest(1);
    other.app = name("other");
    other.endpoint[0].listen = 8001;
    other
}

const DRAIN: NodeChange = NodeChange::Drain { force: false };

#[test]
fn envs_move_one_at_a_time_and_new_before_old() {
    let mut house = House::new();
    house.deploy_well(&manifest(2));
    house.deploy_well(&other_app());
    let attic = house.join("attic", "a");
    let before = ids(&house.instances());
    house.operate(house.node, DRAIN);
    house.reconcile();
    // One env has begun: its new instances are made, and nothing of the old ones is touched.
    let progress = house.drain(house.node);
    assert_eq!(progress.moving.as_ref().unwrap().env, "guestbook/prod");
    assert_eq!((progress.instances, progress.drained, house.moves().len()), (3, false, 1));
    let all = house.instances();
    assert!(all.iter().filter(|it| before.contains(&it.any_id())).all(|it| it.spec.serving));
    assert_eq!(all.iter().filter(|it| it.spec.node == attic && !it.spec.serving).count(), 2);
    house.settle();
    house.settle();
    let progress = house.drain(house.node);
    assert_eq!((progress.instances, progress.drained, &progress.moving), (0, true, &None));
    assert!(house.instances().iter().all(|it| it.spec.node == attic && it.spec.serving));
    assert_eq!(house.instances().len(), 3);
    let moves = house.moves();
    assert_eq!(moves.len(), 2);
    assert_eq!(moves[0].status.reason.as_deref(), Some("v1 runs: web 2 of 2 healthy"));
    // A rollback does not take a move for a release.
    assert!(house.plan_rollback(None).is_err());
    house.remove_node(house.node).unwrap();
    assert!(house.view().find::<NodeSpec>(house.node).unwrap().is_none());
}

#[test]
fn uncordon_calls_a_move_off() {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    house.join("attic", "a");
    let before = ids(&house.instances());
    house.operate(house.node, DRAIN);
    house.reconcile();
    assert_eq!(house.instances().len(), 2);
    house.operate(house.node, NodeChange::Uncordon {});
    house.settle();
    assert_eq!(ids(&house.instances()), before);
    let verdict = house.moves()[0].status.verdict.unwrap();
    assert_eq!(verdict, freehold_model::Verdict::Cancelled);
    let release = house.view().all::<freehold_model::ReleaseSpec>(None).unwrap().remove(0);
    assert_eq!(release.status.verdict, Some(freehold_model::Verdict::Succeeded), "a move says nothing of it");
}

#[test]
fn without_another_place_everything_stays_and_says_why() {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    house.operate(house.node, DRAIN);
    house.settle();
    assert!(house.instances()[0].spec.serving);
    let progress = house.drain(house.node);
    assert_eq!(progress.stuck[0].env, "guestbook/prod");
    assert!(progress.stuck[0].waits);
    let why = &progress.stuck[0].why;
    assert_eq!(why, "web: 0 of 1 can be placed elsewhere: node tower is being drained");
    assert!(house.moves().is_empty());
    assert!(house.remove_node(house.node).unwrap_err().contains("the only node"));
    house.join("attic", "a");
    assert!(house.remove_node(house.node).unwrap_err().contains("freehold node drain tower"));
    house.settle();
    assert!(house.drain(house.node).drained);
}

#[test]
fn a_move_that_fails_leaves_the_old_ones_and_is_tried_again_later() {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    let attic = house.join("attic", "a");
    house.operate(house.node, DRAIN);
    house.reconcile();
    let new = house.instances().into_iter().find(|it| it.spec.node == attic).unwrap();
    let crashed = freehold_model::InstanceStatus { restarts: 2, ..Default::default() };
    house.report(&new, crashed);
    house.settle();
    assert_eq!(house.instances().len(), 1);
    assert!(house.instances()[0].spec.serving && house.instances()[0].spec.node == house.node);
    let progress = house.drain(house.node);
    assert!(progress.stuck[0].why.contains("the last move failed: web: instance"), "{progress:?}");
    house.pass(61_000);
    house.settle();
    assert!(house.drain(house.node).drained);
    assert_eq!(house.moves().len(), 2);
}

#[test]
fn volumes_stay_with_their_instance_unless_it_is_forced_to_stop() {
    let mut house = House::new();
    let mut pinned = manifest(1);
    let (path, size) = ("/data".into(), Bytes(1 << 30));
    pinned.volume.push(Volume { name: name("data"), process: name("web"), path, size });
    house.deploy_well(&pinned);
    house.join("attic", "a");
    house.operate(house.node, DRAIN);
    house.settle();
    let progress = house.drain(house.node);
    assert!(!progress.stuck[0].waits);
    assert!(progress.stuck[0].why.starts_with("volume guestbook/prod/data is on tower"), "{progress:?}");
    assert!(house.instances()[0].spec.serving);
    house.operate(house.node, NodeChange::Drain { force: true });
    house.settle();
    assert!(house.drain(house.node).drained && house.instances().is_empty());
    assert_eq!(house.view().all::<VolumeSpec>(None).unwrap().len(), 1, "no volume is deleted");
    assert!(house.remove_node(house.node).unwrap_err().contains("guestbook/prod/data"));
    house.operate(house.node, NodeChange::Uncordon {});
    house.settle();
    let back = &house.instances()[0];
    assert_eq!((back.spec.node, back.spec.desired), (house.node, Desired::Running));
    assert_eq!(back.spec.placed.reason, "volume guestbook/prod/data is there");
    assert_eq!(back.status, healthy());
}

#[test]
fn labels_and_taints_are_checked_and_audited() {
    let house = House::new();
    let key = |text: &str| text.parse().unwrap();
    let label = |set: &str, value: &str| NodeChange::Label {
        set: [(key(set), value.to_owned())].into(),
        remove: Default::default(),
    };
    house.operate(house.node, label("zone", "cellar"));
    let gpu = [key("hardware/gpu")];
    house.operate(house.node, NodeChange::Taint { add: gpu.clone().into(), remove: Default::default() });
    let node = || house.view().find::<NodeSpec>(house.node).unwrap().unwrap();
    assert_eq!(node().labels["zone"], "cellar");
    assert_eq!(node().spec.taints, gpu.clone().into());
    house.operate(house.node, NodeChange::Taint { add: Default::default(), remove: gpu.into() });
    let remove = NodeChange::Label { set: Default::default(), remove: [key("zone")].into() };
    house.operate(house.node, remove);
    assert!(node().labels.is_empty() && node().spec.taints.is_empty());
    for (change, says) in [(label("host", "x"), "own name"), (label("zone", "a b"), "not a label's value")] {
        let refused = change_node(&house.view(), house.node, &change, &house.asker());
        let Err(ChangeError::Refused(problem)) = refused else { panic!("{refused:?}") };
        assert!(problem.title.contains(says), "{problem}");
    }
    let (nothing, _) =
        change_node(&house.view(), house.node, &NodeChange::Uncordon {}, &house.asker()).unwrap();
    assert!(nothing.is_empty(), "what is so already is no event");
    let view = house.view();
    let events = freehold_reconcile::View::events(&view, 0, usize::MAX, Some(house.node.into())).unwrap();
    let audited: Vec<_> = events.iter().filter(|it| it.actor == Actor::User("admin".into())).collect();
    assert!(
        audited.iter().any(|it| it.what == "node.label") && audited.iter().any(|it| it.what == "node.taint")
    );
}
