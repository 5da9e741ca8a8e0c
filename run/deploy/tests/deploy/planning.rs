//! What plans say, what stops them, and what their hash covers.

use crate::house::{House, changed, image, manifest, name};
use freehold_deploy::{PlanError, Request, check_fresh, plan_deploy, plan_remove};
use freehold_model::{Actor, Bytes, Code, Project, ProjectId, ProjectSpec, Txn, Verdict, plan::Action};
use freehold_reconcile::{SystemIds, ViewExt as _, ports::Ids as _};
use proptest::prelude::*;

#[test]
fn the_first_deploy_adds_everything_and_says_where() {
    let house = House::new();
    let plan = house.plan(&manifest(2), &image("one"), false).unwrap();
    assert_eq!((plan.release, plan.current), (Some(1), None));
    let said: Vec<_> =
        plan.changes.iter().map(|it| (it.action, it.kind.as_str(), it.name.as_str(), it.start)).collect();
    assert_eq!(said, [(Action::Add, "process", "web", 2), (Action::Add, "endpoint", "tcp/8000", 0)]);
    let place = &plan.placement[0];
    assert_eq!((place.node_name.as_str(), place.count, place.reason.as_str()), ("tower", 2, "the only node"));
    assert_eq!((plan.cost.memory, plan.cost.memory_before), (Bytes(128 << 20), Bytes(0)));
    assert!(plan.blockers.is_empty() && !plan.is_noop());
}

#[test]
fn a_change_names_each_field_before_and_after() {
    let mut house = House::new();
    house.deploy_well(&manifest(2));
    let plan = house.plan(&changed(3, "debug"), &image("two"), false).unwrap();
    let web = &plan.changes[0];
    assert_eq!((web.action, web.start, web.keep, web.stop), (Action::Change, 3, 0, 2));
    let fields: Vec<_> = web
        .fields
        .iter()
        .map(|field| (field.path.as_str(), field.before.as_deref(), field.after.as_deref()))
        .collect();
    let (one, two) = (image("one").digest, image("two").digest);
    let images = [&one, &two].map(|digest| format!("guestbook:1 ({})", digest.short()));
    assert_eq!(
        fields,
        [
            ("count", Some("2"), Some("3")),
            ("env.LOG", None, Some("debug")),
            ("image", Some(images[0].as_str()), Some(images[1].as_str())),
        ]
    );
    assert_eq!(plan.changes[1].action, Action::Keep);
}

#[test]
fn scaling_keeps_what_runs() {
    let mut house = House::new();
    house.deploy_well(&manifest(2));
    for (count, expected) in [(4, (2, 2, 0)), (1, (0, 1, 1)), (0, (0, 0, 2))] {
        let web = house.plan(&manifest(count), &image("one"), false).unwrap().changes.remove(0);
        assert_eq!((web.start, web.keep, web.stop), expected, "to {count}");
    }
}

#[test]
fn deploying_what_runs_changes_nothing_and_says_so() {
    let mut house = House::new();
    house.deploy_well(&manifest(2));
    let plan = house.plan(&manifest(2), &image("one"), false).unwrap();
    assert!(plan.is_noop());
    assert_eq!(plan.release, Some(1));
    let before = house.instances();
    let receipt = house.apply(&plan).unwrap();
    let receipt = house.receipt(receipt);
    assert_eq!(receipt.status.verdict, Some(Verdict::Succeeded));
    assert_eq!(receipt.status.reason.as_deref(), Some("nothing to change"));
    house.reconcile();
    assert_eq!(house.instances(), before);
    assert_eq!(house.env().spec.last_number, 1, "no release was made");
}

#[test]
fn a_restart_replaces_everything_once() {
    let mut house = House::new();
    house.deploy_well(&manifest(2));
    let plan = house.plan(&manifest(2), &image("one"), true).unwrap();
    assert_eq!((plan.changes[0].start, plan.revisions[&name("web")]), (2, 1));
    let receipt = house.apply(&plan).unwrap();
    assert_eq!(house.let_it_go_well(receipt).status.verdict, Some(Verdict::Succeeded));
    assert!(house.plan(&manifest(2), &image("one"), false).unwrap().is_noop(), "the restart is carried over");
}

#[test]
fn a_port_of_another_app_stops_it_and_names_the_app() {
    let mut house = House::new();
    house.occupy("tcp/8000");
    let plan = house.plan(&manifest(1), &image("one"), false).unwrap();
    let titles: Vec<_> = plan.blockers.iter().map(|problem| problem.title.as_str()).collect();
    assert_eq!(titles, ["port tcp/8000 is taken by other/prod"]);
}

#[test]
fn a_port_of_another_project_stops_it_and_names_nobody() {
    let mut house = House::new();
    house.occupy("tcp/8000");
    let beside = house.view().all::<ProjectSpec>(None).unwrap().remove(0);
    let id = ProjectId(SystemIds.ulid());
    let elsewhere = Project::new(id, "elsewhere", beside.parent, beside.spec, beside.created);
    let mut txn = Txn::new(Actor::System, "test", "req");
    txn.put(&elsewhere);
    house.store.commit_now(txn).unwrap();
    let (project, env) = (name("elsewhere"), name("prod"));
    let request = Request {
        project: &project,
        env: &env,
        manifest: manifest(1),
        images: [(name("web"), image("one"))].into(),
        restart: false,
    };
    let plan = plan_deploy(&house.view(), &request).unwrap();
    let titles: Vec<_> = plan.blockers.iter().map(|problem| problem.title.as_str()).collect();
    assert_eq!(titles, ["port tcp/8000 is taken by an app of another project"]);
}

#[test]
fn what_cannot_be_placed_says_how_much_is_missing() {
    let house = House::new();
    let plan = house.plan(&manifest(20), &image("one"), false).unwrap();
    let problem = PlanError::Blocked(plan.blockers).problem();
    assert_eq!((problem.code, problem.code.exit_code()), (Code::Unplaceable, 7));
    assert_eq!(problem.title, "web: 16 of 20 new instances can be placed");
    assert_eq!(problem.detail.unwrap(), "node tower has 0B of 1GiB memory left, 64MiB are wanted");
}

#[test]
fn what_does_not_exist_is_named_with_the_nearest() {
    let mut house = House::new();
    assert_eq!(house.plan_rollback(None).unwrap_err().problem().code, Code::NotFound);
    house.deploy_well(&manifest(1));
    let error = plan_remove(&house.view(), &name("default"), &name("guestbok")).unwrap_err().problem();
    assert_eq!(error.title, "there is no app `guestbok`");
    assert_eq!(error.hint.as_deref(), Some("did you mean `guestbook`?"));
    let error = house.plan_rollback(Some(9)).unwrap_err().problem();
    assert_eq!(error.title, "guestbook/prod has no release v9");
    assert_eq!(house.plan_rollback(None).unwrap_err().problem().code, Code::NotFound, "there is but one");
}

#[test]
fn a_rollback_goes_to_the_last_other_release_that_ran_well() {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    house.deploy_well(&changed(1, "two"));
    let broken = house.deploy(&changed(1, "broken"));
    house.reconcile();
    house.pass(301_000);
    assert_eq!(house.let_it_go_well(broken).status.verdict, Some(Verdict::Failed));
    house.deploy_well(&changed(1, "four"));
    let plan = house.plan_rollback(None).unwrap();
    assert_eq!((plan.current, plan.release), (Some(4), Some(2)), "v3 never ran");
    let receipt = house.apply(&plan).unwrap();
    let receipt = house.let_it_go_well(receipt);
    assert_eq!(receipt.spec.release_number, Some(2));
    assert_eq!(house.env().spec.last_number, 4, "no release was made");
    assert_eq!(house.instances()[0].spec.template.env["LOG"], "two");
}

#[test]
fn rolling_back_again_goes_further_back_and_never_to_and_fro() {
    let mut house = House::new();
    for log in ["one", "two", "three"] {
        house.deploy_well(&changed(1, log));
    }
    let back = |house: &mut House, to| {
        let plan = house.plan_rollback(to).unwrap();
        let receipt = house.apply(&plan).unwrap();
        house.let_it_go_well(receipt).spec.release_number
    };
    assert_eq!([back(&mut house, None), back(&mut house, None)], [Some(2), Some(1)]);
    assert_eq!(house.plan_rollback(None).unwrap_err().problem().code, Code::NotFound, "v1 was the first");
    house.deploy_well(&changed(1, "four"));
    assert_eq!(house.plan_rollback(None).unwrap().release, Some(1), "v2 and v3 were rolled away from");
    assert_eq!(back(&mut house, Some(3)), Some(3), "by name it may be any");
    assert_eq!(house.plan_rollback(None).unwrap().release, Some(4));
}

#[test]
fn a_stale_plan_is_refused() {
    let mut house = House::new();
    let seen = house.plan(&manifest(2), &image("one"), false).unwrap();
    house.deploy_well(&manifest(1));
    let now = house.plan(&manifest(2), &image("one"), false).unwrap();
    assert!(check_fresh(&now, Some(&now.hash)).is_ok() && check_fresh(&now, None).is_ok());
    let error = check_fresh(&now, Some(&seen.hash)).unwrap_err();
    assert_eq!(error.problem().code, Code::StalePlan);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Equal requests have equal hashes, and whatever differs shows in the hash.
    #[test]
    fn the_hash_names_the_plan(
        first in (0u32..5, "[a-z]{1,3}", 1u64..6, 8000u16..8003),
        second in (0u32..5, "[a-z]{1,3}", 1u64..6, 8000u16..8003),
        runs in proptest::bool::ANY,
    ) {
        let mut house = House::new();
        if runs {
            house.deploy_well(&manifest(1));
        }
        let hash = |(count, log, memory, port): &(u32, String, u64, u16)| {
            let mut wanted = changed(*count, log);
            wanted.process.get_mut("web").unwrap().memory = Bytes(memory << 20);
            wanted.endpoint[0].listen = *port;
            house.plan(&wanted, &image("one"), false).unwrap().hash
        };
        prop_assert_eq!(hash(&first), hash(&first));
        prop_assert_eq!(hash(&first) == hash(&second), first == second);
    }
}
