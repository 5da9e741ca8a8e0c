//! Secrets on their way to instances: asked for once, kept sealed, there again when nobody answers.

use crate::world::{Behaviour, World};
use freehold_model::{Instance, Phase, PinnedSecret};
use std::time::Duration;

fn with_secret(world: &World, n: u128) -> Instance {
    let mut instance = world.instance(n);
    instance.spec.template.secrets =
        vec![PinnedSecret { name: "KEY".parse().unwrap(), version: 2, env: Some("KEY".into()), file: None }];
    world.put(instance.clone());
    instance
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_given_its_secrets_and_no_file_has_them() {
    let world = World::new();
    let web = with_secret(&world, 1);
    let agent = world.agent().await;
    world.wait_for(web.id, |status| status.phase == Phase::Running).await;
    assert_eq!(world.given(), [["KEY=planted-KEY-2"]]);
    assert!(!format!("{:?}", world.launches()).contains("planted"));
    let files = world.files();
    assert!(files.iter().any(|(path, _)| path.ends_with("keys/node.key")), "{files:?}");
    for (path, bytes) in files {
        assert!(!bytes.windows(7).any(|part| part == b"planted"), "{}", path.display());
    }
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_started_again_with_them_while_the_control_plane_is_away() {
    let world = World::new();
    world.behave(Behaviour { exits_after: Some((Duration::from_secs(30), 1)), ..Behaviour::default() });
    let web = with_secret(&world, 1);
    let agent = world.agent().await;
    world.wait_for(web.id, |status| status.phase == Phase::Running).await;
    world.disconnect(true);
    // By the same agent, and by the next one, which has the journal alone.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.given().len() >= 2, "{:?}", world.given());
    agent.stop(false).await;
    let before = world.given().len();
    let agent = world.agent().await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let given = world.given();
    assert!(given.len() > before, "{given:?}");
    assert!(given.iter().all(|one| *one == ["KEY=planted-KEY-2"]), "{given:?}");
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn one_whose_secrets_cannot_be_had_says_so_and_is_tried_again() {
    let world = World::new();
    let mut web = with_secret(&world, 1);
    web.spec.template.secrets[0].name = "REMOVED".parse().unwrap();
    world.put(web.clone());
    let agent = world.agent().await;
    let status = world.wait_for(web.id, |status| status.phase == Phase::Failed).await;
    let message = status.message.unwrap();
    assert!(message.contains("its secrets cannot be had: version 2 of REMOVED"), "{message}");
    web.spec.template.secrets[0].name = "KEY".parse().unwrap();
    world.put(web.clone());
    world.wait_for(web.id, |status| status.phase == Phase::Running).await;
    assert_eq!(world.given(), [["KEY=planted-KEY-2"]]);
    agent.stop(false).await;
}
