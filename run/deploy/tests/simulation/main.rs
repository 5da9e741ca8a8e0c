//! Rollouts and removals over thousands of seeded worlds: people deploy good and broken releases, scale,
//! roll back, remove, queue up and cancel, while controllers and agents crash, reports come late or twice, and nodes are
//! cut off, lost and drained. After every step the invariants must hold; at the end everything must be as asked.

mod crowded;
mod engines;
mod invariants;
mod operator;
mod pruner;
mod user;

use freehold_deploy::{DrainReconciler, RolloutReconciler, TeardownReconciler};
use freehold_model::{
    Actor, Bytes, Capacity, Millicores, Node, NodeId, NodeSpec, NodeStatus, Org, OrgId, OrgSpec, Project,
    ProjectId, ProjectSpec, Receipt, ReceiptSpec, Txn, manifest::Driver,
};
use freehold_reconcile::{
    Ids, ViewExt,
    memory::MemoryView,
    sim::{Context, SimController, SimEdge, SimLease, SimNode, World, check_seeds, run_seed},
};
use invariants::Invariants;
use operator::Operator;
use pruner::Pruner;
use std::{cell::RefCell, collections::BTreeSet, rc::Rc};
use user::{Asked, User};

/// Operations per world.
const OPERATIONS: u32 = 5;
/// A world that is not quiet by then never will be.
const LONGEST: u64 = 3_600_000;

#[test]
fn invariants_hold_whatever_goes_wrong() {
    check_seeds(2_000, |seed, verbose| scenario(seed, verbose, true).map(drop));
}

/// Two or three control planes over one store: they crash, freeze between a decision and its commit for
/// longer than a lease lasts, and their clocks jump by an hour.
#[test]
fn invariants_hold_among_several_control_planes() {
    check_seeds(200, |seed, verbose| {
        world(seed, verbose, true, 2 + (seed % 2) as usize, &mut |_| {}).map(drop)
    });
}

/// Controllers and agents that lag behind lose what they have not read yet.
#[test]
fn invariants_hold_while_the_log_is_pruned() {
    check_seeds(80, |seed, verbose| {
        let mut world = World::new(seed, verbose);
        let (mut invariants, asked) = populate(&mut world, true, 1 + (seed % 2) as usize, Room::Ample);
        world.add(Pruner::default());
        let outcome = play(&mut world, &mut invariants, &asked);
        if outcome.is_err() {
            world.lines().iter().for_each(|line| eprintln!("{line}"));
        }
        outcome
    });
}

#[test]
fn leases_change_hands_and_late_commits_are_refused() {
    let mut seen = BTreeSet::new();
    for seed in 0..12 {
        let mut world = World::new(seed, true);
        populate(&mut world, true, 3, Room::Ample);
        let end = world.context.clock.after(900_000);
        while world.step(end) {}
        for line in world.lines() {
            for wanted in ["freezes", "LeaseLost", "the clock is", "rollout from None to Some(3)"] {
                seen.extend(line.contains(wanted).then_some(wanted));
            }
        }
    }
    assert_eq!(seen.len(), 4, "only these happen: {seen:?}");
}

#[test]
fn in_peace_good_releases_succeed_and_broken_ones_fail() {
    check_seeds(100, |seed, verbose| scenario(seed, verbose, false).map(drop));
}

#[test]
fn a_seed_replays_exactly() {
    let once = || run_seed(7, false, &|seed, verbose| scenario(seed, verbose, true)).unwrap();
    assert_eq!(once(), once());
    assert_ne!(once(), run_seed(8, false, &|seed, verbose| scenario(seed, verbose, true)).unwrap());
}

#[test]
fn the_worlds_are_eventful() {
    let wanted = [
        "Deploy Succeeded",
        "Deploy Failed",
        "Deploy Cancelled",
        "Rollback Succeeded",
        "Remove Succeeded",
        "waited, then Succeeded",
        "waited, then Failed",
        "waited, then Cancelled",
        "waited, then Superseded",
        "Move Succeeded",
        "Move Cancelled",
        "lost",
        "a port is taken",
    ];
    let seen = RefCell::new(BTreeSet::new());
    let lacks = || wanted.iter().any(|wanted| !seen.borrow().contains(*wanted));
    for seed in (0..400).take_while(|_| lacks()) {
        let mut tell = |view: &MemoryView| {
            let receipts = view.all::<ReceiptSpec>(None).unwrap();
            let outcome = |it: &Receipt| format!("{:?} {:?}", it.spec.operation, it.status.verdict.unwrap());
            seen.borrow_mut().extend(receipts.iter().map(outcome));
            let waited = |it: &&Receipt| it.status.steps.iter().any(|step| step.name == "queue");
            let outcome = |it: &Receipt| format!("waited, then {:?}", it.status.verdict.unwrap());
            seen.borrow_mut().extend(receipts.iter().filter(waited).map(outcome));
            let reasons = receipts.iter().filter_map(|it| it.status.reason.as_deref());
            let taken = reasons.filter(|why| why.contains("the port is taken"));
            seen.borrow_mut().extend(taken.map(|_| "a port is taken".to_owned()));
            let events = freehold_reconcile::View::events(view, 0, usize::MAX, None).unwrap();
            let lost = events.iter().any(|event| event.what == "instance.lost");
            seen.borrow_mut().extend(lost.then(|| "lost".to_owned()));
        };
        world(seed, false, true, 1, &mut tell).unwrap();
    }
    assert!(!lacks(), "some of {wanted:?} do not happen: {seen:?}");
}

/// Plays one world to its end; the hash of all that happened.
fn scenario(seed: u64, verbose: bool, chaos: bool) -> Result<u64, String> {
    world(seed, verbose, chaos, 1, &mut |_| {})
}

/// The same among `planes` control planes, and shows how it ended.
fn world(
    seed: u64,
    verbose: bool,
    chaos: bool,
    planes: usize,
    show: &mut dyn FnMut(&MemoryView),
) -> Result<u64, String> {
    let mut world = World::new(seed, verbose);
    let (mut invariants, asked) = populate(&mut world, chaos, planes, Room::Ample);
    let outcome = play(&mut world, &mut invariants, &asked);
    if outcome.is_err() {
        world.lines().iter().for_each(|line| eprintln!("{line}"));
    }
    show(&world.context.store.view_now());
    outcome.map(|()| world.trace())
}

/// How much the nodes hold of what is wanted.
#[derive(Clone, Copy, PartialEq)]
enum Room {
    /// Nearly always all of it.
    Ample,
    /// Not all of it, and what is wanted differs in priority.
    Scarce,
}

fn populate(
    world: &mut World,
    chaos: bool,
    planes: usize,
    room: Room,
) -> (Invariants, Rc<RefCell<Vec<Asked>>>) {
    world.context.chaos = chaos;
    let nodes = furnish(&mut world.context, room);
    let asked = Rc::new(RefCell::new(Vec::<Asked>::new()));
    let machines = nodes.map(|id| {
        let node = SimNode::new(id, if chaos { 25 } else { 0 });
        let (machine, silent) = (node.machine(), node.silent());
        world.add(node);
        world.add(SimLease::new(id, silent));
        machine
    });
    let edge = SimEdge::without([user::TAKEN]);
    let invariants = Invariants::new(edge.routing(), machines.to_vec(), asked.clone(), chaos);
    world.add(edge);
    if planes == 1 {
        world.add(SimController::new(RolloutReconciler));
        world.add(SimController::new(TeardownReconciler));
        world.add(SimController::new(DrainReconciler));
    } else {
        for plane in (0..planes).map(|n| format!("plane-{n}")) {
            world.add(SimController::under_lease(RolloutReconciler, &plane));
            world.add(SimController::under_lease(TeardownReconciler, &plane));
            world.add(SimController::under_lease(DrainReconciler, &plane));
        }
    }
    if chaos {
        world.add(Operator::new(nodes));
    }
    world.add(User::new(OPERATIONS, asked.clone(), room == Room::Scarce));
    (invariants, asked)
}

fn play(
    world: &mut World,
    invariants: &mut Invariants,
    asked: &Rc<RefCell<Vec<Asked>>>,
) -> Result<(), String> {
    let end = world.context.clock.after(LONGEST);
    let finished = |world: &World| {
        asked.borrow().len() == OPERATIONS as usize && invariants::settled(&world.context.store.view_now())
    };
    while !finished(world) {
        if !world.step(end) {
            return Err("there was no verdict within an hour".into());
        }
        invariants.after_step(&world.context.store.view_now())?;
    }
    world.context.chaos = false;
    let quiet = world.context.clock.after(300_000);
    while world.step(quiet) {
        invariants.after_step(&world.context.store.view_now())?;
    }
    invariants.at_rest(&world.context.store.view_now())
}

/// What the daemon makes at first start, and three nodes that are ready.
fn furnish(context: &mut Context, room: Room) -> [NodeId; 3] {
    let (now, mut txn) = (context.now(), Txn::new(Actor::System, "first start", "setup"));
    let org = Org::new(OrgId(context.ids.ulid()), "home", None, OrgSpec::default(), now);
    let id = ProjectId(context.ids.ulid());
    let (memory, mut spec) = (if room == Room::Scarce { 576 << 20 } else { 2 << 30 }, ProjectSpec::default());
    spec.quota.priority = (room == Room::Scarce).then_some(1000);
    txn.put(&org).put(&Project::new(id, "default", Some(org.id.into()), spec, now));
    let capacity = Capacity { cpu: Millicores(4000), memory: Bytes(memory) };
    let nodes = ["one", "two", "three"].map(|name| {
        let mut node = Node::new(NodeId(context.ids.ulid()), name, None, NodeSpec::default(), now);
        node.status = NodeStatus { capacity, drivers: vec![Driver::Container], ..NodeStatus::default() };
        txn.put(&node);
        node.id
    });
    context.store.commit_now(txn).expect("an empty store takes everything");
    nodes
}
