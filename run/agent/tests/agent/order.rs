//! Who starts and stops before whom, and that nothing starts unguarded.

use crate::world::{Behaviour, World};
use freehold_model::{AnyId, Desired, EnvId, Instance, InstanceSpec, Phase, manifest::Driver};
use std::{net::Ipv4Addr, time::Duration};
use ulid::Ulid;

/// Instance `n` of `process` in an env, which starts after the processes named.
fn member(world: &World, n: u8, process: &str, after: &[&str]) -> Instance {
    let mut instance = world.instance(n.into());
    instance.parent = Some(AnyId::from(EnvId(Ulid::nil())));
    instance.spec.process = process.parse().unwrap();
    instance.spec.after = after.iter().map(|name| name.parse().unwrap()).collect();
    instance.spec.address = Ipv4Addr::new(10, 210, 0, n);
    instance
}

fn stopped(instance: &Instance) -> Instance {
    let spec = InstanceSpec { desired: Desired::Stopped, ..instance.spec.clone() };
    Instance { spec, ..instance.clone() }
}

/// The order in which instances got their first signal.
fn first_signals(world: &World, all: &[&Instance]) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    for (id, _) in world.all_signals() {
        let name = all.iter().find(|it| it.id == id).unwrap().spec.process.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[tokio::test(start_paused = true)]
async fn it_starts_when_what_it_comes_after_is_healthy_also_after_a_reboot() {
    let world = World::new();
    let (web, db) = (member(&world, 2, "web", &["db"]), member(&world, 3, "db", &[]));
    world.put_all([web.clone(), db.clone()]);
    let agent = world.agent().await;
    let waiting = world.wait_for(web.id, |status| status.message.is_some()).await;
    assert_eq!(
        (waiting.phase, waiting.message.as_deref()),
        (Phase::Pending, Some("starts after db, which must be healthy first"))
    );
    world.wait_for(web.id, |status| status.healthy).await;
    // Without a check it is healthy after a second.
    let gap = world.starts(web.id)[0] - world.starts(db.id)[0];
    assert!(gap >= Duration::from_secs(1), "{gap:?}");

    agent.stop(false).await;
    world.crash_machine();
    world.disconnect(true);
    let agent = world.agent().await;
    world.until(|| world.starts(web.id).len() == 2).await;
    let gap = world.starts(web.id)[1] - world.starts(db.id)[1];
    assert!(gap >= Duration::from_secs(1), "from the journal alone: {gap:?}");
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn it_does_not_wait_for_what_runs_nowhere() {
    let world = World::new();
    let web = member(&world, 2, "web", &["db"]);
    world.put(web.clone());
    let _agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy).await;
}

#[tokio::test(start_paused = true)]
async fn it_stops_before_what_it_comes_after() {
    for by_agent in [false, true] {
        let world = World::new();
        let (web, db) = (member(&world, 2, "web", &["db"]), member(&world, 3, "db", &["disk"]));
        let disk = member(&world, 4, "disk", &[]);
        let all = [&disk, &db, &web];
        world.behave(Behaviour { ignores_stop: true, ..Behaviour::default() });
        world.put_all(all.map(Clone::clone));
        let agent = world.agent().await;
        world.wait_for(web.id, |status| status.healthy).await;
        if by_agent {
            agent.stop(true).await;
        } else {
            world.put_all(all.map(stopped));
            world.wait_for(disk.id, |status| status.phase == Phase::Stopped).await;
        }
        assert_eq!(first_signals(&world, &all), ["web", "db", "disk"]);
        assert_eq!(world.signals(web.id), [15, 9], "each with its own time to end");
        assert!(world.rules().is_none() && world.running().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_holds_nobody_up() {
    let world = World::new();
    let (web, old) = (member(&world, 2, "web", &["db"]), member(&world, 3, "db", &[]));
    world.put_all([web.clone(), old.clone()]);
    let _agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy).await;
    world.put(stopped(&old));
    world.wait_for(old.id, |status| status.phase == Phase::Stopped).await;
    assert!(world.running().contains(&web.id));
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_that_cannot_be_guarded() {
    let world = World::new();
    let mut web = member(&world, 2, "web", &[]);
    web.spec.template.driver = Driver::Container;
    world.behave(Behaviour { unguarded: Some("no nf_tables"), ..Behaviour::default() });
    world.put(web.clone());
    let _agent = world.agent().await;
    let status = world.wait_for(web.id, |status| status.phase == Phase::Failed).await;
    assert!(status.message.as_deref().unwrap_or_default().contains("no nf_tables"), "{status:?}");
    assert_eq!(world.starts(web.id), []);
    world.behave(Behaviour::default());
    world.wait_for(web.id, |status| status.healthy).await;
}

#[tokio::test(start_paused = true)]
async fn the_rules_are_of_those_who_live_here() {
    let world = World::new();
    let (mut web, mut db) = (member(&world, 2, "web", &[]), member(&world, 3, "db", &[]));
    for instance in [&mut web, &mut db] {
        instance.spec.template.driver = Driver::Container;
    }
    web.spec.template.egress = vec!["api.example:443".parse().unwrap()];
    world.put_all([web.clone(), db.clone()]);
    let agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy).await;
    world.wait_for(db.id, |status| status.healthy).await;
    let rules = world.rules().unwrap();
    let env = EnvId(Ulid::nil()).to_string();
    assert_eq!(rules.envs, [(env, [web.spec.address, db.spec.address].into())].into());
    assert_eq!(rules.outbound, [web.spec.address].into());
    agent.stop(false).await;
    assert!(world.rules().is_some(), "instances run on, guarded");
    let _agent = world.agent().await;
    world.put_all([stopped(&web), stopped(&db)]);
    world.until(|| world.rules().is_none()).await;
}
