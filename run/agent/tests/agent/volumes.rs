//! What the agent does with volumes over time: restores beside those who come after the writer, what is called
//! off, what fails again and again.

use crate::world::{Behaviour, World};
use freehold_model::{
    AnyId, EnvId, Instance, Millis, NodeId, Source, TaskState, Volume, VolumeAction, VolumeId, VolumeSpec,
    VolumeTask, kinds::TaskStatus,
};
use jiff::Timestamp;
use std::{fs, net::Ipv4Addr, time::Duration};
use tokio::time::sleep;
use ulid::Ulid;

fn volume(n: u128) -> Volume {
    let spec = VolumeSpec {
        app: "notes".parse().unwrap(),
        env: "prod".parse().unwrap(),
        volume: "data".parse().unwrap(),
        node: NodeId(Ulid::nil()),
        size: VolumeSpec::DEFAULT_SIZE,
        source: None,
        task: None,
        recreate: None,
    };
    let id = VolumeId(Ulid::from_parts(1, n));
    Volume::new(id, format!("notes/prod/data{n}"), None, spec, Timestamp::UNIX_EPOCH)
}

/// `web`, which comes after `db`, which writes to the volume.
fn notes(world: &World, volume: VolumeId) -> (Instance, Instance) {
    let (mut web, mut db) = (world.instance(2), world.instance(3));
    for (n, instance) in [(2, &mut web), (3, &mut db)] {
        instance.parent = Some(AnyId::from(EnvId(Ulid::nil())));
        instance.spec.address = Ipv4Addr::new(10, 210, 0, n);
    }
    web.spec.after = vec!["db".parse().unwrap()];
    db.spec.process = "db".parse().unwrap();
    db.spec.volumes = [("data".parse().unwrap(), volume)].into();
    (web, db)
}

/// Asks for something, as a person would.
fn ask(world: &World, id: VolumeId, action: VolumeAction) {
    let mut volume = world.volume(id).unwrap();
    let task = Ulid::new().to_string();
    volume.spec.task = Some(VolumeTask { id: task, action, asked: Timestamp::UNIX_EPOCH, cancelled: false });
    world.put_volume(volume);
}

fn cancel(world: &World, id: VolumeId) {
    let mut volume = world.volume(id).unwrap();
    volume.spec.task.as_mut().unwrap().cancelled = true;
    world.put_volume(volume);
}

/// How the last task ended.
async fn ended(world: &World, id: VolumeId) -> TaskStatus {
    let of = |world: &World| {
        let volume = world.volume(id).unwrap();
        volume.status.task.filter(|it| {
            it.state != TaskState::Running && Some(&it.id) == volume.spec.task.as_ref().map(|task| &task.id)
        })
    };
    world.until(|| of(world).is_some()).await;
    of(world).unwrap()
}

fn said(world: &World, id: VolumeId) -> String {
    world.volume(id).unwrap().status.task.map(|task| task.message).unwrap_or_default()
}

/// A running `notes` whose volume held "one" at its snapshot, and holds "two" now.
async fn house(world: &World) -> (freehold_agent::Agent, VolumeId, Instance, Instance) {
    let id = volume(1).id;
    world.put_volume(volume(1));
    let agent = world.agent().await;
    world.until(|| world.volume(id).unwrap().status.ready).await;
    fs::write(world.volume_dir(id).join("data/note"), "one").unwrap();
    ask(world, id, VolumeAction::Snapshot("a".parse().unwrap()));
    assert_eq!(ended(world, id).await.state, TaskState::Done);
    fs::write(world.volume_dir(id).join("data/note"), "two").unwrap();
    let (web, db) = notes(world, id);
    world.put_all([web.clone(), db.clone()]);
    world.wait_for(web.id, |status| status.healthy).await;
    (agent, id, web, db)
}

fn note(world: &World, id: VolumeId) -> String {
    fs::read_to_string(world.volume_dir(id).join("data/note")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_restore_stops_the_writer_and_not_those_who_come_after_it() {
    let world = World::new();
    let (_agent, id, web, db) = house(&world).await;
    ask(&world, id, VolumeAction::Restore("a".parse().unwrap()));
    assert_eq!(ended(&world, id).await.message, "restored");
    assert_eq!(note(&world, id), "one");
    world.until(|| world.starts(db.id).len() == 2).await;
    assert_eq!((world.starts(web.id).len(), world.signals(web.id)), (1, Vec::<i32>::new()), "web went on");
    assert_eq!(world.signals(db.id), [15]);
}

#[tokio::test(start_paused = true)]
async fn a_restore_says_for_what_it_waits_and_is_called_off() {
    let world = World::new();
    world.behave(Behaviour { ignores_stop: true, ..Behaviour::default() });
    let (_agent, id, web, mut db) = house(&world).await;
    db.spec.template.stop_timeout = Millis(60_000);
    world.put(db.clone());
    sleep(Duration::from_secs(30)).await;
    ask(&world, id, VolumeAction::Restore("a".parse().unwrap()));
    world.until(|| said(&world, id).contains("waits until db (")).await;
    cancel(&world, id);
    let ended = ended(&world, id).await;
    assert_eq!(
        (ended.state, &*ended.message),
        (TaskState::Failed, "it was called off; the volume is as before")
    );
    assert_eq!(note(&world, id), "two");
    assert!(!world.volume_dir(id).join(".restore").exists(), "its copy takes no room");
    // It was asked to stop already: it does, and starts again.
    world.until(|| world.starts(db.id).len() == 2).await;
    assert!(world.signals(web.id).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_restore_gives_up_on_a_writer_that_does_not_end() {
    let world = World::new();
    world.behave(Behaviour { ignores_stop: true, survives_kill: true, ..Behaviour::default() });
    let (_agent, id, ..) = house(&world).await;
    ask(&world, id, VolumeAction::Restore("a".parse().unwrap()));
    let ended = ended(&world, id).await;
    assert_eq!(ended.state, TaskState::Failed);
    assert!(ended.message.contains("has not stopped within 40s; the volume is as before"), "{ended:?}");
    assert_eq!(note(&world, id), "two");
}

#[tokio::test(start_paused = true)]
async fn what_was_called_off_before_it_began_is_not_done() {
    let world = World::new();
    let (_agent, id, ..) = house(&world).await;
    let mut volume = world.volume(id).unwrap();
    let action = VolumeAction::Restore("a".parse().unwrap());
    volume.spec.task =
        Some(VolumeTask { id: "late".into(), action, asked: Timestamp::UNIX_EPOCH, cancelled: true });
    world.put_volume(volume);
    assert_eq!(ended(&world, id).await.state, TaskState::Failed);
    assert_eq!(note(&world, id), "two");
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_cannot_be_made_is_tried_less_and_less_often_and_deleted_at_once() {
    let world = World::new();
    let mut clone = volume(2);
    clone.spec.source = Some(Source { volume: volume(1).id, snapshot: Some("gone".parse().unwrap()) });
    world.put_volume(volume(1));
    world.put_volume(clone.clone());
    let (_, mut db) = notes(&world, clone.id);
    db.spec.after = vec![];
    world.put(db.clone());
    let _agent = world.agent().await;
    sleep(Duration::from_secs(600)).await;
    // Each round asks once: a look every 10 s or so, and a few tries.
    let asked = world.asked_for_volumes();
    assert!(asked < 300, "{asked} rounds in ten minutes");
    let status = world.reports(db.id).pop().unwrap();
    let message = status.message.unwrap_or_default();
    assert!(message.contains("its volume data") && message.contains("no snapshot `gone`"), "{message}");

    clone.deleting = Some(Timestamp::UNIX_EPOCH);
    world.put_volume(clone.clone());
    let before = tokio::time::Instant::now();
    world.until(|| world.volume(clone.id).is_none()).await;
    assert!(before.elapsed() < Duration::from_secs(1), "it waited for its turn");
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_was_there_before_is_not_made_empty_unless_somebody_says_so() {
    let world = World::new();
    let mut known = volume(1);
    known.status.ready = true;
    world.put_volume(known.clone());
    let (_, mut db) = notes(&world, known.id);
    db.spec.after = vec![];
    world.put(db.clone());
    let _agent = world.agent().await;
    let said = |status: &freehold_model::InstanceStatus| {
        status.message.as_ref().is_some_and(|it| it.contains("freehold volume recreate notes/prod/data1"))
    };
    world.wait_for(db.id, said).await;
    sleep(Duration::from_secs(600)).await;
    assert!(!world.volume_dir(known.id).exists() && world.starts(db.id).is_empty());
    let lost = world.volume(known.id).unwrap().status.lost;
    assert!(lost.is_some());

    // Put back, it is as before.
    fs::create_dir_all(world.volume_dir(known.id).join("data")).unwrap();
    fs::write(world.volume_dir(known.id).join("data/note"), "kept").unwrap();
    world.until(|| world.starts(db.id).len() == 1).await;
    world.until(|| world.volume(known.id).unwrap().status.lost.is_none()).await;
    assert_eq!(note(&world, known.id), "kept");

    // Lost once more: what was said of the first loss says nothing of this one.
    let mut again = world.volume(known.id).unwrap();
    again.spec.recreate = lost;
    world.put_volume(again);
    freehold_tree::remove(&world.volume_dir(known.id)).unwrap();
    world.until(|| world.volume(known.id).unwrap().status.lost.is_some()).await;
    sleep(Duration::from_secs(60)).await;
    assert!(!world.volume_dir(known.id).exists());
    let mut accepted = world.volume(known.id).unwrap();
    accepted.spec.recreate = accepted.status.lost.clone();
    world.put_volume(accepted);
    world.until(|| world.volume(known.id).unwrap().status.ready).await;
    assert!(world.volume_dir(known.id).join("data").is_dir());
}
