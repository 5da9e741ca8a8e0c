//! What others take away around instances is put back, told once, and nothing starts unguarded meanwhile.

use crate::world::{Behaviour, World};
use freehold_agent::{Healed, Noticed};
use freehold_model::{Instance, manifest::Driver};
use freehold_runtime::{Damage, Lost};
use std::time::Duration;

fn contained(world: &World, n: u128) -> Instance {
    let mut instance = world.instance(n);
    instance.spec.template.driver = Driver::Container;
    instance
}

fn table() -> Damage {
    Damage::Filter("is gone".into())
}

fn healed(world: &World) -> Vec<Healed> {
    world.node_reports().into_iter().flat_map(|report| report.healed).collect()
}

#[tokio::test(start_paused = true)]
async fn what_the_kernel_tells_of_is_put_back_at_once_and_the_rest_when_it_is_looked_for() {
    let world = World::new();
    world.put(contained(&world, 1));
    let _agent = world.agent().await;
    world.wait_for(contained(&world, 1).id, |status| status.healthy).await;
    let begun = tokio::time::Instant::now();
    world.damage(table(), true);
    world.until(|| world.damaged().is_empty()).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    world.until(|| healed(&world).len() == 1).await;
    let first = healed(&world).remove(0);
    assert_eq!((first.noticed, first.times), (Noticed::Notified, 1));
    assert!(first.gone < 1000 && first.what.contains("is gone"), "{first:?}");

    let route = Damage::Route(contained(&world, 1).id, [10, 210, 0, 2].into(), None);
    world.damage(route, false);
    world.until(|| healed(&world).len() == 2).await;
    assert_eq!(healed(&world)[1].noticed, Noticed::Looked);
    let unguarded = world.node_reports().iter().filter(|it| it.unguarded.is_some()).count();
    assert_eq!(unguarded, 0, "what was put back at once never was a state to tell of");
}

#[tokio::test(start_paused = true)]
async fn while_the_rules_cannot_be_set_nothing_starts_and_nothing_is_forwarded() {
    let world = World::new();
    world.put(contained(&world, 1));
    let _agent = world.agent().await;
    world.wait_for(contained(&world, 1).id, |status| status.healthy).await;
    world.behave(Behaviour { unguarded: Some("no nf_tables"), ..Behaviour::default() });
    world.damage(table(), true);
    world
        .until(|| {
            let told = world.node_reports().last().and_then(|it| it.unguarded.clone());
            told.is_some_and(|why| why.contains("is gone") && why.contains("no nf_tables"))
        })
        .await;
    assert_eq!(world.forwarding(), [(1, false)]);
    let mut second = contained(&world, 2);
    second.spec.address = [10, 210, 0, 3].into();
    let id = second.id;
    world.put(second);
    let refused = |why: &str| why.contains("cannot be guarded");
    world.wait_for(id, |status| status.message.as_deref().is_some_and(refused)).await;
    assert_eq!(world.starts(id), []);

    world.behave(Behaviour::default());
    world.wait_for(id, |status| status.healthy).await;
    world.until(|| world.node_reports().last().is_some_and(|it| it.unguarded.is_none())).await;
    assert_eq!(world.forwarding().last().map(|(_, forwards)| *forwards), Some(true));
    world.until(|| healed(&world).len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn who_takes_it_away_again_and_again_makes_no_flood() {
    let world = World::new();
    world.put(contained(&world, 1));
    let _agent = world.agent().await;
    world.wait_for(contained(&world, 1).id, |status| status.healthy).await;
    for _ in 0..20 {
        world.damage(table(), true);
        world.until(|| world.damaged().is_empty()).await;
    }
    world.until(|| healed(&world).iter().map(|it| it.times).sum::<u32>() == 20).await;
    assert!(healed(&world).len() < 6, "{:?}", healed(&world));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_given_back_to_a_run_restarts_it_and_is_said() {
    let world = World::new();
    let web = contained(&world, 1);
    world.put(web.clone());
    let _agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy).await;
    world.take(web.id, Lost::Group);
    world.until(|| world.starts(web.id).len() == 2).await;
    world
        .until(|| {
            healed(&world).iter().any(|it| it.what.contains("control group") && it.what.contains("restarted"))
        })
        .await;
    world.wait_for(web.id, |status| status.healthy && status.restarts == 1).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_into_the_range_is_told_of_until_they_go() {
    let world = World::new();
    let _agent = world.agent().await;
    world.use_range(&["the interface tun0 has a route to 10.210.0.0/16"]);
    let used = || world.node_reports().last().and_then(|report| report.range_used.clone());
    world.until(|| used().is_some_and(|who| who.contains("tun0"))).await;
    world.use_range(&[]);
    world.until(|| used().is_none()).await;
}
