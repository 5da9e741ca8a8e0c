//! The agent against a scripted runtime and a scripted control plane, in simulated time.

mod golden;
mod limits;
mod logs;
mod order;
mod secrets;
mod surroundings;
mod unhealthy;
mod volumes;
mod world;

use freehold_model::{Desired, Instance, Phase};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use world::{Behaviour, World};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_assignment_is_started_once_and_becomes_healthy() {
    let world = World::new();
    let web = world.assign(1);
    let agent = world.agent().await;
    let status = world.wait_for(web.id, |status| status.healthy).await;
    assert_eq!((status.phase, status.restarts), (Phase::Running, 0));
    assert_eq!(status.image, Some(web.spec.template.image.digest));
    sleep(60 * SECOND).await;
    assert_eq!(world.starts(web.id).len(), 1);
    let launch = world.launches()[0].clone();
    assert_eq!(launch.args, ["/web"]);
    assert_eq!(launch.hostname, format!("web-{}", &web.id.to_string()[24..]));
    assert!(launch.env.contains(&("FREEHOLD_INSTANCE".into(), web.id.to_string())));
    agent.stop(false).await;
    assert_eq!(world.running(), [web.id], "it outlives the agent");
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_slowed_down_and_told() {
    let world = World::new();
    world.behave(Behaviour { exits_after: Some((Duration::from_millis(10), 3)), ..Behaviour::default() });
    let web = world.assign(1);
    let agent = world.agent().await;
    let status =
        world.wait_for(web.id, |status| status.restarts == 2 && status.phase == Phase::Backoff).await;
    assert_eq!(status.last_exit.and_then(|exit| exit.code), Some(3));
    assert_eq!(status.message.as_deref(), Some("it exited with code 3"));
    assert!(status.log_tail.iter().any(|line| line == "about to exit"), "{:?}", status.log_tail);
    sleep(300 * SECOND).await;
    let starts = world.starts(web.id);
    let gaps: Vec<_> = starts.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    let expected = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000];
    for (gap, wait) in gaps.iter().zip(expected) {
        assert!((wait + 10..wait + 20).contains(gap), "{gaps:?}");
    }
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_started_is_said_to_have_failed() {
    let world = World::new();
    world.behave(Behaviour { start_fails: Some("no such command: /web"), ..Behaviour::default() });
    let web = world.assign(1);
    let mut nameless = world.instance(2);
    nameless.spec.template.image.reference = "missing:1".into();
    world.put(nameless.clone());
    let agent = world.agent().await;
    let status = world.wait_for(web.id, |status| status.phase == Phase::Failed).await;
    assert_eq!(status.message.as_deref(), Some("no such command: /web"));
    let status = world.wait_for(nameless.id, |status| status.phase == Phase::Failed).await;
    assert!(status.message.unwrap().contains("missing:1"));
    sleep(60 * SECOND).await;
    assert!((2..6).contains(&world.starts(web.id).len()), "tried again, rarely");
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn stopping_escalates_removes_and_forgets() {
    let world = World::new();
    world.behave(Behaviour { ignores_stop: true, ..Behaviour::default() });
    let mut web = world.assign(1);
    let agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy).await;
    web.spec.desired = Desired::Stopped;
    let asked = Instant::now();
    world.put(web.clone());
    world.wait_for(web.id, |status| status.phase == Phase::Stopping).await;
    let status = world.wait_for(web.id, |status| status.phase == Phase::Stopped).await;
    assert!(!status.healthy);
    let patience = web.spec.template.stop_timeout.duration();
    assert!((patience..patience + SECOND).contains(&asked.elapsed()), "{:?}", asked.elapsed());
    assert_eq!(world.signals(web.id), [15, 9]);
    assert!(world.is_removed(web.id) && !world.is_journaled(web.id));
    sleep(60 * SECOND).await;
    assert_eq!(world.reports(web.id).iter().filter(|status| status.phase == Phase::Stopped).count(), 1);
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_quick_end_is_not_killed_and_not_restarted() {
    let world = World::new();
    let mut web = world.assign(1);
    let agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy).await;
    web.spec.desired = Desired::Stopped;
    world.put(web.clone());
    let status = world.wait_for(web.id, |status| status.phase == Phase::Stopped).await;
    assert_eq!(world.signals(web.id), [15]);
    assert_eq!((world.starts(web.id).len(), status.restarts), (1, 0));
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_agent_adopts_without_a_restart_or_a_false_alarm() {
    let world = World::new();
    let web = world.assign(1);
    let agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy).await;
    agent.stop(false).await;
    world.forget_reports();
    let agent = world.agent().await;
    sleep(10 * SECOND).await;
    assert_eq!(world.starts(web.id).len(), 1);
    assert!(world.reports(web.id).iter().all(|status| status.healthy), "{:?}", world.reports(web.id));
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn strangers_and_the_unwanted_are_removed_at_start() {
    let world = World::new();
    let (gone, unwanted, kept) = (world.assign(1), world.assign(2), world.assign(3));
    let agent = world.agent().await;
    for instance in [&gone, &unwanted, &kept] {
        world.wait_for(instance.id, |status| status.healthy).await;
    }
    agent.stop(false).await;
    world.unassign(gone.id);
    world.put(Instance {
        spec: freehold_model::InstanceSpec { desired: Desired::Stopped, ..unwanted.spec.clone() },
        ..unwanted.clone()
    });
    let agent = world.agent().await;
    world.wait_for(unwanted.id, |status| status.phase == Phase::Stopped).await;
    sleep(SECOND).await;
    assert_eq!(world.running(), [kept.id]);
    assert!(world.is_removed(gone.id) && world.is_removed(unwanted.id));
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn what_ended_while_no_agent_watched_counts_as_an_exit() {
    let world = World::new();
    let web = world.assign(1);
    let agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy).await;
    agent.stop(false).await;
    world.end(web.id, 137);
    let agent = world.agent().await;
    let status = world.wait_for(web.id, |status| status.healthy && status.restarts == 1).await;
    assert_eq!(status.last_exit.and_then(|exit| exit.code), Some(137));
    assert_eq!(world.starts(web.id).len(), 2);
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn the_node_goes_on_while_the_control_plane_is_away() {
    let world = World::new();
    let web = world.assign(1);
    let agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy).await;
    agent.stop(false).await;
    world.disconnect(true);
    let agent = world.agent().await;
    sleep(SECOND).await;
    world.end(web.id, 1);
    sleep(10 * SECOND).await;
    assert_eq!((world.starts(web.id).len(), world.running()), (2, vec![web.id]));
    world.disconnect(false);
    let status = world.wait_for(web.id, |status| status.restarts == 1).await;
    assert!(status.healthy, "only the last state is told: {status:?}");
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn apps_stop_with_the_node_when_asked_and_start_again_with_it() {
    let world = World::new();
    let web = world.assign(1);
    let agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy).await;
    agent.stop(true).await;
    assert!(world.running().is_empty());
    let last = world.reports(web.id).pop().unwrap();
    assert_eq!((last.phase, last.healthy), (Phase::Backoff, false));
    world.forget_reports();
    world.disconnect(true);
    let agent = world.agent().await;
    sleep(5 * SECOND).await;
    assert_eq!(world.running(), [web.id], "the journal remembers the assignment");
    world.disconnect(false);
    let status = world.wait_for(web.id, |status| status.healthy).await;
    assert_eq!(status.restarts, 0, "a stop that was asked for is no restart");
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_recalled_pull_starts_nothing() {
    let world = World::new();
    world.behave(Behaviour { pull_takes: 60 * SECOND, ..Behaviour::default() });
    let mut web = world.assign(1);
    let agent = world.agent().await;
    world.wait_for(web.id, |status| status.phase == Phase::Pulling).await;
    web.spec.desired = Desired::Stopped;
    let asked = Instant::now();
    world.put(web.clone());
    world.wait_for(web.id, |status| status.phase == Phase::Stopped).await;
    assert!(asked.elapsed() < SECOND);
    assert!(world.starts(web.id).is_empty());
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_fails_is_told_with_its_reason() {
    let world = World::new();
    let mut web = world.instance(1);
    web.spec.template.check = Some(world.closed_port_check());
    world.put(web.clone());
    let agent = world.agent().await;
    let status = world.wait_for(web.id, |status| status.message.is_some()).await;
    assert!(status.phase == Phase::Running && !status.healthy);
    assert!(
        status.message.as_deref().unwrap().starts_with("failed its check 3 times in a row: "),
        "{status:?}"
    );
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_panics_is_replaced_and_its_run_goes_on() {
    let world = World::new();
    let mut web = world.assign(1);
    let agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy).await;
    world.stumble();
    web.spec.serving = true;
    world.put(web.clone());
    sleep(10 * SECOND).await;
    assert_eq!(world.starts(web.id).len(), 1, "the run goes on");
    assert!(world.reports(web.id).iter().all(|status| status.phase != Phase::Failed));
    assert!(world.reports(web.id).last().unwrap().healthy);
    world.stumble();
    world.unassign(web.id);
    sleep(10 * SECOND).await;
    assert!(world.is_removed(web.id), "also what is not assigned any more is not forgotten");
    agent.stop(false).await;
}
