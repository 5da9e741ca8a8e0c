//! Pre-emption: who makes room for whom, who says so, and who is back when there is room again.

use crate::house::{House, healthy, ideal, image, manifest, name, steps};
use freehold_deploy::{Asker, PlanError, quota::set_quota};
use freehold_model::{
    Actor, AppSpec, Bytes, Code, Desired, Instance, InstanceStatus, Manifest, Org, OrgId, OrgSpec, Phase,
    Project, ProjectId, ProjectSpec, Quota, Receipt, ReceiptId, Txn, Verdict, VolumeSpec, manifest::Volume,
};
use freehold_reconcile::{Ids as _, SystemIds, View, ViewExt};

const MIB: u64 = 1 << 20;

/// An app of one process; the house's node holds 1024 MiB.
fn app(app: &str, priority: i32, count: u32, memory: u64) -> Manifest {
    let mut made = manifest(count);
    made.app = name(app);
    made.endpoint.clear();
    let web = made.process.get_mut("web").unwrap();
    (web.priority, web.memory) = (priority, Bytes(memory * MIB));
    made
}

fn house() -> House {
    let house = House::new();
    allow(&house, 1000);
    house
}

/// The project may give its apps priorities up to that.
pub(crate) fn allow(house: &House, priority: i32) {
    let project = house.view().all::<ProjectSpec>(None).unwrap()[0].any_id();
    limit(house, project, priority);
}

fn limit(house: &House, of: freehold_model::AnyId, priority: i32) {
    let asker = Asker { actor: Actor::User("ada".into()), request: "req".into(), now: house.clock.after(0) };
    let quota = Quota { priority: Some(priority), ..Quota::default() };
    house.store.commit_now(set_quota(&house.view(), of, quota, &asker).unwrap()).unwrap();
}

impl House {
    /// Those of an app.
    fn of(&self, app: &str) -> Vec<Instance> {
        let view = self.view();
        let is_its = |it: &Instance| {
            let env = view.get(it.parent.unwrap()).unwrap().unwrap();
            view.get(env.parent.unwrap()).unwrap().unwrap().name == app
        };
        self.instances().into_iter().filter(is_its).collect()
    }

    fn running(&self, app: &str) -> usize {
        self.of(app).iter().filter(|it| it.status.healthy && it.spec.desired == Desired::Running).count()
    }

    /// Every node does what an agent does: stops what is to stop, and starts what has room.
    fn obey(&mut self) {
        for _ in 0..12 {
            self.reconcile();
            let all = self.instances();
            let is_here = |id| all.iter().any(|it| it.id == id && it.status.phase != Phase::Stopped);
            for it in &all {
                let waits = it.spec.desired == Desired::Running
                    && it.spec.placed.room_of.iter().any(|id| is_here(*id));
                if !waits {
                    self.report(it, ideal(it));
                }
            }
            self.edge_applies();
            self.nothing_is_overcommitted();
        }
    }

    fn nothing_is_overcommitted(&self) {
        for node in self.view().all::<freehold_model::NodeSpec>(None).unwrap() {
            let here = |it: &&Instance| it.spec.node == node.id && it.status.phase == Phase::Running;
            let used: u64 = self.instances().iter().filter(here).map(|it| it.spec.template.memory.0).sum();
            assert!(used <= node.status.capacity.memory.0, "{used} on {}", node.name);
        }
    }

    fn deploy_and_obey(&mut self, manifest: &Manifest) -> Receipt {
        let id = self.deploy(manifest);
        self.obey();
        self.receipt(id)
    }

    fn remove_app(&mut self, app: &str) -> ReceiptId {
        let plan = freehold_deploy::plan_remove(&self.view(), &name("default"), &name(app)).unwrap();
        self.apply(&plan).unwrap()
    }
}

#[test]
fn the_important_displaces_the_unimportant_which_waits_and_comes_back() {
    let mut house = house();
    house.deploy_and_obey(&app("wiki", 0, 2, 400));
    let before = house.of("wiki");
    let db = app("db", 100, 1, 300);
    let plan = house.plan(&db, &image("one"), false).unwrap();
    let [place] = &plan.placement[..] else { panic!("{:?}", plan.placement) };
    let [displaced] = &place.displaces[..] else { panic!("{:?}", place.displaces) };
    let victim = before.iter().find(|it| it.id == displaced.instance).unwrap();
    assert_eq!(victim.id, before.iter().map(|it| it.id).max().unwrap(), "the youngest");
    assert_eq!((displaced.of.as_str(), displaced.priority), ("wiki/prod web", 0));

    let receipt = house.apply(&plan).unwrap();
    house.reconcile();
    let newcomer = house.of("db").remove(0);
    assert_eq!((newcomer.spec.placed.room_of.clone(), newcomer.spec.placed.priority), (vec![victim.id], 100));
    assert_eq!(newcomer.spec.placed.displaced, place.displaces);
    let told = house.of("wiki").into_iter().find(|it| it.id == victim.id).unwrap();
    let why = told.spec.placed.preempted.clone().unwrap();
    assert_eq!((told.spec.desired, told.spec.serving), (Desired::Stopped, false));
    assert_eq!((why.by, why.of.as_str(), why.priority), (newcomer.id, "db/prod web", 100));
    let event = house.view().last_events(50, Some(victim.id.into())).unwrap();
    assert!(
        event.iter().any(|it| it.what == "instance.preempted" && it.data["by"] == newcomer.id.to_string())
    );

    house.obey();
    let receipt = house.receipt(receipt);
    assert_eq!((receipt.status.verdict, steps(&receipt)[0]), (Some(Verdict::Succeeded), "start"));
    let detail = &receipt.status.steps[0].detail;
    assert_eq!(*detail, format!("1 × web; pre-empts wiki/prod web ({}, priority 0)", victim.id));
    assert_eq!((house.running("db"), house.running("wiki")), (1, 1));
    // It is still there, to say why, and holds nothing up.
    let waiting = house.of("wiki").into_iter().find(|it| it.id == victim.id).unwrap();
    assert_eq!((waiting.status.phase, waiting.spec.placed.preempted), (Phase::Stopped, Some(why)));
    let version = house.store.version();
    house.pass(60_000);
    house.reconcile();
    assert_eq!(house.store.version(), version, "nothing happens while there is no room");

    house.remove_app("db");
    house.obey();
    assert_eq!(house.running("wiki"), 2);
    assert!(house.of("wiki").iter().all(|it| it.id != victim.id), "another one is in its place");
}

#[test]
fn equals_are_refused_as_ever() {
    let mut house = house();
    house.deploy_and_obey(&app("wiki", 100, 2, 400));
    for priority in [-1, 0, 100] {
        let plan = house.plan(&app("db", priority, 1, 300), &image("one"), false).unwrap();
        assert_eq!(plan.blockers[0].code, Code::Unplaceable, "{priority}");
    }
}

#[test]
fn a_priority_above_the_ceiling_is_refused_and_says_who_can_raise_it() {
    let mut house = House::new();
    let blockers = |house: &House, priority| {
        house.plan(&app("db", priority, 1, 300), &image("one"), false).unwrap().blockers
    };
    assert!(blockers(&house, 0).is_empty() && blockers(&house, -1000).is_empty());
    let problem = blockers(&house, 1).remove(0);
    assert_eq!(problem.code, Code::OverQuota);
    let said = problem.to_string();
    for words in [
        "priority 1 of web",
        "project `default` may go up to 0",
        "freehold quota set --project default --priority 1",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    allow(&house, 500);
    assert!(blockers(&house, 500).is_empty());
    assert_eq!(blockers(&house, 501).len(), 1);
    house.deploy_and_obey(&app("db", 500, 1, 300));
    // What has it keeps it, and can be deployed again; more it does not get.
    allow(&house, 0);
    assert!(blockers(&house, 500).is_empty() && blockers(&house, 400).is_empty());
    assert_eq!(blockers(&house, 501).len(), 1);
    // The org's counts too.
    allow(&house, 1000);
    limit(&house, house.view().all::<OrgSpec>(None).unwrap()[0].any_id(), 600);
    assert!(blockers(&house, 600).is_empty());
    assert!(blockers(&house, 601)[0].to_string().contains("org `home` may go up to 600"));
    let plan = house.plan(&app("other", 601, 1, 1), &image("one"), false).unwrap();
    assert!(matches!(house.apply(&plan), Err(PlanError::Blocked(_))));
}

#[test]
fn the_displaced_goes_elsewhere_if_there_is_room() {
    let mut house = house();
    house.deploy_and_obey(&app("wiki", 0, 2, 400));
    let attic = house.join("attic", "a");
    let mut pinned = app("db", 100, 1, 300);
    let tower = [("host".parse().unwrap(), vec!["tower".to_owned()])];
    pinned.process.get_mut("web").unwrap().affinity.require = tower.into();
    house.deploy_and_obey(&pinned);
    assert_eq!((house.running("db"), house.running("wiki"), house.instances().len()), (1, 2, 3));
    assert_eq!(house.of("wiki").iter().filter(|it| it.spec.node == attic).count(), 1);
}

#[test]
fn who_is_displaced_displaces_the_less_important_and_it_ends() {
    let mut house = house();
    house.deploy_and_obey(&app("batch", -10, 2, 500));
    house.deploy_and_obey(&app("wiki", 0, 1, 500));
    assert_eq!((house.running("batch"), house.running("wiki")), (1, 1));
    house.deploy_and_obey(&app("db", 100, 1, 500));
    // The least important goes, though the wiki is younger.
    assert_eq!((house.running("batch"), house.running("wiki"), house.running("db")), (0, 1, 1));
    house.deploy_and_obey(&app("alarm", 1000, 2, 500));
    assert_eq!((house.running("wiki"), house.running("db"), house.running("alarm")), (0, 0, 2));
    house.remove_app("alarm");
    house.obey();
    house.pass(60_000);
    house.obey();
    // Who comes first takes the room, and who is more important takes it from them; in the end it is theirs.
    assert_eq!((house.running("db"), house.running("wiki"), house.running("batch")), (1, 1, 0));
    assert_eq!(house.of("batch").len(), 2, "both wait, and say so");
}

#[test]
fn a_release_that_fails_gives_the_room_back() {
    let mut house = house();
    house.deploy_and_obey(&app("wiki", 0, 2, 400));
    let receipt = house.deploy(&app("db", 100, 1, 300));
    house.reconcile();
    let victim = house.of("wiki").into_iter().find(|it| it.spec.desired == Desired::Stopped).unwrap();
    house.report(&victim, ideal(&victim));
    let newcomer = house.of("db").remove(0);
    let exit = crate::house::exited(3, &house);
    house.report(
        &newcomer,
        InstanceStatus { phase: Phase::Backoff, restarts: 2, last_exit: exit, ..InstanceStatus::default() },
    );
    house.obey();
    assert_eq!(house.receipt(receipt).status.verdict, Some(Verdict::Failed));
    house.pass(15_000);
    house.obey();
    assert_eq!((house.running("wiki"), house.of("wiki").len(), house.of("db").len()), (2, 2, 0));
}

#[test]
fn a_cancelled_newcomer_that_never_began_leaves_nothing() {
    let mut house = house();
    house.deploy_and_obey(&app("wiki", 0, 2, 400));
    let receipt = house.deploy(&app("db", 100, 1, 300));
    house.reconcile();
    house.cancel(receipt).unwrap();
    house.obey();
    house.pass(15_000);
    house.obey();
    assert_eq!(house.receipt(receipt).status.verdict, Some(Verdict::Cancelled));
    assert_eq!((house.running("wiki"), house.of("wiki").len(), house.of("db").len()), (2, 2, 0));
}

#[test]
fn what_has_a_volume_waits_for_its_node_and_finds_its_volume_again() {
    let mut house = house();
    let mut store = app("store", -5, 1, 800);
    let (path, size) = ("/data".into(), Bytes(1 << 30));
    store.volume.push(Volume { name: name("data"), process: name("web"), path, size });
    house.deploy_and_obey(&store);
    let volume = house.view().all::<VolumeSpec>(None).unwrap()[0].id;
    house.deploy_and_obey(&app("db", 0, 1, 800));
    assert_eq!((house.running("store"), house.running("db")), (0, 1));
    assert!(house.of("store")[0].spec.volumes.is_empty(), "it gave its volume back");
    assert_eq!(house.view().claim("volume", &volume.to_string()).unwrap(), None);
    house.remove_app("db");
    house.obey();
    let [back] = &house.of("store")[..] else { panic!("one is back") };
    assert_eq!(back.spec.volumes.values().copied().collect::<Vec<_>>(), [volume]);
    assert_eq!((house.running("store"), house.view().all::<VolumeSpec>(None).unwrap().len()), (1, 1));
}

#[test]
fn what_was_lost_with_its_node_displaces_elsewhere() {
    let mut house = house();
    let attic = house.join("attic", "a");
    let mut important = app("db", 100, 1, 800);
    let there = [("host".parse().unwrap(), vec!["attic".to_owned()])];
    important.process.get_mut("web").unwrap().affinity.prefer = there.into();
    house.deploy_and_obey(&important);
    house.deploy_and_obey(&app("wiki", 0, 1, 800));
    assert_eq!((house.of("db")[0].spec.node, house.of("wiki")[0].spec.node), (attic, house.node));
    house.answers(attic, false);
    house.pass(61_000);
    for _ in 0..6 {
        house.reconcile();
        let gone = |house: &House, id| {
            house.instances().iter().any(|it| it.id == id && it.status.phase == Phase::Stopped)
        };
        for it in house.instances().iter().filter(|it| it.spec.node == house.node) {
            if it.spec.placed.room_of.iter().all(|id| gone(&house, *id))
                || it.spec.desired == Desired::Stopped
            {
                house.report(it, ideal(it));
            }
        }
    }
    let here: Vec<Instance> = house.of("db").into_iter().filter(|it| it.spec.node == house.node).collect();
    assert_eq!((here.len(), here[0].status.clone()), (1, healthy()));
    assert_eq!(house.of("wiki")[0].spec.placed.preempted.as_ref().unwrap().by, here[0].id);
}

#[test]
fn a_smaller_count_or_a_removal_lets_those_go_who_waited() {
    let mut house = house();
    house.deploy_and_obey(&app("wiki", 0, 2, 400));
    house.deploy_and_obey(&app("db", 100, 1, 300));
    assert_eq!(house.of("wiki").len(), 2);
    house.deploy_and_obey(&app("wiki", 0, 1, 400));
    assert_eq!((house.of("wiki").len(), house.running("wiki")), (1, 1));
    house.deploy_and_obey(&app("alarm", 500, 1, 400));
    assert_eq!((house.of("wiki").len(), house.running("wiki")), (1, 0));
    let receipt = house.remove_app("wiki");
    house.obey();
    assert_eq!(house.receipt(receipt).status.verdict, Some(Verdict::Succeeded));
    assert_eq!(house.instances().len(), 2);
}

#[test]
fn people_of_one_org_do_not_read_what_another_runs() {
    let mut house = house();
    house.deploy_and_obey(&app("theirs", -1, 1, 900));
    let view = house.view();
    let org = Org::new(OrgId(SystemIds.ulid()), "neighbours", None, OrgSpec::default(), house.clock.after(0));
    let parent = Some(org.any_id());
    let id = ProjectId(SystemIds.ulid());
    let project = Project::new(id, "garden", parent, ProjectSpec::default(), house.clock.after(0));
    let mut moved = view.all::<AppSpec>(None).unwrap().remove(0);
    moved.parent = Some(project.any_id());
    let mut txn = Txn::new(Actor::System, "test", "req_test");
    txn.put(&org).put(&project).put(&moved);
    house.store.commit_now(txn).unwrap();

    let planned = house.plan(&app("ours", 0, 1, 900), &image("one"), false).unwrap();
    let told = &planned.placement[0].displaces[0].of;
    assert_eq!(told, "an app of another org");
    house.deploy_and_obey(&app("ours", 0, 1, 900));
    let victim = &house.of("theirs")[0].spec.placed;
    assert_eq!(victim.preempted.as_ref().unwrap().of, "an app of another org");
    let said = house.view().events(0, 1000, None).unwrap();
    let said = said.iter().filter(|event| event.what == "instance.preempted");
    let said: String = said.map(|event| event.data.to_string()).collect();
    assert!(said.contains("another org") && !said.contains("ours"), "{said}");
}
