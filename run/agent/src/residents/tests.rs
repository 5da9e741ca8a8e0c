//! A node with two envs, for tests of who lives there and of what names stand for; and those of the former.

use super::*;
use freehold_model::{
    Bytes, Desired, Digest, EnvId, ImageRef, Millicores, Millis, NodeId, ReleaseId, Template,
};
use ulid::Ulid;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 210, 0, 1);

/// An instance at 10.210.0.`n`.
pub(crate) fn spec(process: &str, n: u8, egress: &[&str]) -> InstanceSpec {
    let template = Template {
        image: ImageRef { reference: "web:1".into(), digest: Digest::of(b"web") },
        driver: Driver::Container,
        command: None,
        args: None,
        env: Default::default(),
        cpu: Millicores(100),
        memory: Bytes(1 << 20),
        pids: 512,
        disk: freehold_model::manifest::DEFAULT_DISK,
        egress: egress.iter().map(|text| text.parse().unwrap()).collect(),
        check: None,
        stop_timeout: Millis(1),
        mounts: vec![],
        secrets: vec![],
        rules: Default::default(),
        revision: 0,
    };
    InstanceSpec {
        node: NodeId(Ulid::nil()),
        process: process.parse().unwrap(),
        release: ReleaseId(Ulid::nil()),
        template_hash: template.hash(),
        template,
        volumes: Default::default(),
        address: Ipv4Addr::new(10, 210, 0, n),
        desired: Desired::Running,
        serving: true,
        after: vec![],
        placed: Default::default(),
    }
}

/// `web` twice (the second not healthy) and `db` in env 1, another `db` in env 2.
pub(crate) fn house(egress: &[&str]) -> (Residents, Resident) {
    let residents = Residents::default();
    let all = [("web", 2, 1, true), ("web", 3, 1, false), ("db", 4, 1, true), ("db", 5, 2, true)];
    for (process, n, env, healthy) in all {
        let id = InstanceId(Ulid::from_parts(1, n.into()));
        let env = AnyId::from(EnvId(Ulid::from_parts(1, env)));
        residents.known(id, Some(env), &spec(process, n, egress), true);
        residents.observed(id, true, true, healthy);
    }
    let (_, asker) = residents.at(Ipv4Addr::new(10, 210, 0, 2)).unwrap();
    (residents, asker)
}

#[test]
fn an_address_given_away_again_belongs_to_its_new_tenant() {
    let (residents, _) = house(&["*:443"]);
    let address = Ipv4Addr::new(10, 210, 0, 4);
    let (old, new) = (InstanceId(Ulid::from_parts(1, 4)), InstanceId(Ulid::from_parts(2, 0)));
    residents.observed(old, false, false, false);
    let elsewhere = AnyId::from(EnvId(Ulid::from_parts(1, 2)));
    residents.known(new, Some(elsewhere), &spec("web", 4, &[]), true);

    assert_eq!(residents.at(address).unwrap().0, new);
    let wanted = residents.neighbourhood(GATEWAY, 16, None).unwrap();
    let having: Vec<_> = wanted.envs.iter().filter(|(_, all)| all.contains(&address)).collect();
    assert_eq!(having.len(), 1, "one address cannot be of two envs: {having:?}");
    assert_eq!(*having[0].0, elsewhere.to_string());
    assert!(!wanted.outbound.contains(&address), "what its last tenant was allowed went with it");

    residents.forget(old);
    assert_eq!(residents.at(address).unwrap().0, new);
}

#[test]
fn who_waits_for_room_waits_until_all_of_it_is_there() {
    let (residents, _) = house(&[]);
    let (first, second) = (InstanceId(Ulid::from_parts(1, 2)), InstanceId(Ulid::from_parts(1, 4)));
    let newcomer = InstanceId(Ulid::from_parts(2, 0));
    let mut waiting = spec("web", 9, &[]);
    waiting.placed.room_of = vec![first, second];
    residents.known(newcomer, Some(EnvId(Ulid::from_parts(1, 3)).into()), &waiting, true);
    assert_eq!(residents.room_of(newcomer), [first, second], "they are still wanted");
    residents.observed(first, false, true, true);
    assert_eq!(residents.room_of(newcomer), [first, second], "told to stop, it runs on for a while");
    residents.observed(first, false, false, false);
    assert_eq!(residents.room_of(newcomer), [second]);
    residents.forget(second);
    assert!(residents.room_of(newcomer).is_empty());
    // An agent that starts again knows of what runs before anybody has looked.
    residents.known(second, None, &spec("db", 4, &[]), false);
    assert!(residents.room_of(newcomer).is_empty());
    residents.runs(second);
    assert_eq!(residents.room_of(newcomer), [second]);
}
