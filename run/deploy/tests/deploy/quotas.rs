//! Quotas: what they stop, what they say, and that two at once do not share one room.

use crate::house::{House, image, manifest, name};
use freehold_deploy::{
    Asker, Asking, PlanError, apply, create_volume,
    quota::{of_project, set_quota},
};
use freehold_model::{
    Actor, AnyId, Bytes, Code, Manifest, OrgSpec, Problem, ProjectSpec, Quota, Usage, api::CreateVolume,
    manifest,
};
use freehold_reconcile::ViewExt;

const MIB: u64 = 1 << 20;

fn asker(house: &House) -> Asker {
    Asker { actor: Actor::User("ada".into()), request: "req".into(), now: house.clock.after(0) }
}

fn project(house: &House) -> AnyId {
    house.view().all::<ProjectSpec>(None).unwrap()[0].any_id()
}

fn org(house: &House) -> AnyId {
    house.view().all::<OrgSpec>(None).unwrap()[0].any_id()
}

fn limit(house: &House, of: AnyId, quota: Quota) {
    let txn = set_quota(&house.view(), of, quota, &asker(house)).unwrap();
    house.store.commit_now(txn).unwrap();
}

fn used(house: &House) -> Usage {
    let view = house.view();
    of_project(&view, &view.all::<ProjectSpec>(None).unwrap()[0]).unwrap()
}

fn blockers(house: &House, manifest: &Manifest) -> Vec<Problem> {
    house.plan(manifest, &image("one"), false).unwrap().blockers
}

/// Another app, with a volume.
fn other() -> Manifest {
    let mut other = manifest(1);
    other.app = name("other");
    other.endpoint[0].listen = 8001;
    let (path, size) = ("/data".into(), Bytes(1 << 30));
    other.volume = vec![manifest::Volume { name: name("data"), process: name("web"), path, size }];
    other
}

#[test]
fn what_would_pass_a_limit_is_refused_with_limit_use_and_who_can_raise_it() {
    let mut house = House::new();
    limit(&house, project(&house), Quota { memory: Some(Bytes(200 * MIB)), ..Quota::default() });
    house.deploy_well(&manifest(3));
    let problem = blockers(&house, &manifest(4)).remove(0);
    assert_eq!(problem.code, Code::OverQuota);
    let said = problem.to_string();
    for words in ["project `default`", "would use 256MiB", "quota is 200MiB", "uses 192MiB now", "quota set"]
    {
        assert!(said.contains(words), "`{words}` is not in {said}");
    }
    let plan = house.plan(&manifest(4), &image("one"), false).unwrap();
    assert!(matches!(house.apply(&plan), Err(PlanError::Blocked(_))));

    // Less is always let through, even where it is still too much.
    limit(&house, project(&house), Quota { memory: Some(Bytes(MIB)), ..Quota::default() });
    assert!(blockers(&house, &manifest(2)).is_empty());
    house.deploy_well(&manifest(2));
    limit(&house, project(&house), Quota::default());
    assert!(blockers(&house, &manifest(4)).is_empty());
}

#[test]
fn an_org_counts_all_its_projects_and_volumes_before_they_are_made() {
    let mut house = House::new();
    house.deploy_well(&manifest(2));
    limit(&house, org(&house), Quota { instances: Some(2), ..Quota::default() });
    assert!(blockers(&house, &other())[0].title.contains("org `home` would use 3"));
    limit(&house, org(&house), Quota { volumes: Some(0), ..Quota::default() });
    assert!(blockers(&house, &other())[0].title.starts_with("volumes: "));
    limit(&house, org(&house), Quota { volumes: Some(1), bytes: Some(Bytes(1 << 30)), ..Quota::default() });
    house.deploy(&other());
    let promised = used(&house);
    assert_eq!((promised.instances, promised.volumes, promised.bytes), (3, 1, Bytes(1 << 30)));
    house.reconcile();
    assert_eq!(used(&house), promised, "it counts once");

    let volume = CreateVolume {
        project: None,
        app: name("third"),
        env: name("prod"),
        volume: name("data"),
        node: None,
        size: None,
        from: None,
    };
    let refused = create_volume(&house.view(), &volume, &asker(&house), &mut house.ids);
    let Err(freehold_deploy::ChangeError::Refused(problem)) = refused else { panic!("it was made") };
    assert_eq!(problem.code, Code::OverQuota);
}

#[test]
fn two_at_once_do_not_both_count_on_the_same_room() {
    let mut house = House::new();
    limit(&house, project(&house), Quota { instances: Some(1), ..Quota::default() });
    let (view, actor) = (house.view(), Actor::User("ada".into()));
    let mut decided = vec![];
    for manifest in [manifest(1), other()] {
        let plan = house.plan(&manifest, &image("one"), false).unwrap();
        let asking = Asking { actor: &actor, request: "req", now: house.clock.after(0), pinned: false };
        decided.push(apply(&view, &plan, &asking, &mut house.ids).unwrap().0);
    }
    let second = decided.pop().unwrap();
    house.store.commit_now(decided.pop().unwrap()).unwrap();
    assert!(house.store.commit_now(second).unwrap_err().is_conflict());
    assert_eq!(blockers(&house, &other())[0].code, Code::OverQuota);
}
