//! What takes too much: disk outside of volumes, and memory.

use crate::{
    SECOND,
    world::{Behaviour, World},
};
use freehold_model::{Bytes, Desired, Phase};
use std::fs;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn one_that_writes_too_much_is_stopped_and_started_again_and_says_why() {
    let world = World::new();
    world.behave(Behaviour { ignores_stop: true, ..Behaviour::default() });
    let mut web = world.instance(1);
    web.spec.template.disk = Bytes(1 << 20);
    world.put(web.clone());
    let agent = world.agent().await;
    let status = world.wait_for(web.id, |status| status.healthy && status.disk.is_some()).await;
    assert_eq!(status.disk.map(|disk| disk.written), Some(Bytes(0)));

    fs::write(world.layer(web.id).join("log"), vec![7; 3 << 19]).unwrap();
    let stopping = world.wait_for(web.id, |status| status.phase == Phase::Stopping).await;
    let why = "wrote 1.5MiB outside of its volumes; its limit is 1MiB (`disk`)";
    assert!(stopping.message.as_ref().unwrap().contains(why), "{stopping:#?}");
    let again = world.wait_for(web.id, |status| status.healthy && status.restarts == 1).await;
    let exit = again.last_exit.unwrap();
    assert!(exit.disk.is_some() && exit.to_string().contains(why), "{exit}");
    assert_eq!(world.signals(web.id), [15, 9], "as any stop of one that does not heed it");
    sleep(600 * SECOND).await;
    assert_eq!(world.starts(web.id).len(), 2, "and once is enough");
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_open_without_a_name_counts() {
    let world = World::new();
    let mut web = world.instance(1);
    web.spec.template.disk = Bytes(1 << 20);
    world.put(web.clone());
    let _agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy && status.disk.is_some()).await;
    world.unlinked(3 << 19);
    // Nothing of the real disk was filled: it is counted again after a rest.
    sleep(300 * SECOND).await;
    let stopping = world.wait_for(web.id, |status| status.last_exit.is_some()).await;
    assert!(stopping.last_exit.unwrap().to_string().contains("wrote 1.5MiB"));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_to_stop_anyway_has_not_failed() {
    let world = World::new();
    let mut web = world.instance(1);
    web.spec.template.disk = Bytes(1 << 20);
    world.put(web.clone());
    let agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy).await;
    fs::write(world.layer(web.id).join("log"), vec![7; 3 << 19]).unwrap();
    web.spec.desired = Desired::Stopped;
    world.put(web.clone());
    let gone = world.wait_for(web.id, |status| status.phase == Phase::Stopped).await;
    assert_eq!((gone.restarts, gone.last_exit.unwrap().disk), (0, None));
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_killed_for_want_of_memory_is_told_and_nothing_is_restarted() {
    let world = World::new();
    let web = world.assign(1);
    let agent = world.agent().await;
    world.wait_for(web.id, |status| status.healthy).await;
    world.oom_kills(2);
    let told = world.wait_for(web.id, |status| status.oom_kills == 2).await;
    assert!(told.healthy && told.restarts == 0, "{told:#?}");
    let noted = || {
        let logs = world.files().into_iter().filter(|(path, _)| path.starts_with(world.logs(web.id)));
        let text: String = logs.map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()).collect();
        text.matches("more memory than its limit of 1MiB").count()
    };
    assert_eq!(noted(), 1);
    agent.stop(false).await;
    // The next agent finds the same count, which is no news.
    world.forget_reports();
    let agent = world.agent().await;
    let told = world.wait_for(web.id, |status| status.oom_kills == 2).await;
    assert!(told.healthy && told.restarts == 0, "{told:#?}");
    assert_eq!((noted(), world.starts(web.id).len()), (1, 1));
    agent.stop(false).await;
}
