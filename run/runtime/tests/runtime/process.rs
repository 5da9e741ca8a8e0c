//! The driver without isolation.

use crate::world::{self, world};
use freehold_model::{Exit, exec::ExecRequest};
use freehold_runtime::{ExecOutput, Launch, RunState, Runtime};
use std::{fs, net::Ipv4Addr};

#[tokio::test]
async fn it_runs_the_image_on_the_nodes_network() {
    let world = world!();
    let launch =
        world.process("echo out; pwd; ls /bin/busybox; ls /sys/class/net; ls /proc/1/status; exit 4");
    let handle = world.runtime.start(&launch).await.unwrap();
    assert_eq!(handle.address(), Ipv4Addr::LOCALHOST);
    assert_eq!(world::exit(&*handle).await.code, Some(4));
    let text: Vec<String> = world::log(&launch).into_iter().map(|line| line.text).collect();
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    for link in table.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned())
    {
        assert!(text.contains(&link), "no {link} in {text:?}");
    }
    assert_eq!(text[..3], ["out", "/", "/bin/busybox"]);
    world.runtime.remove(launch.instance).await.unwrap();
    assert_eq!(world::remains(&launch), Vec::<String>::new());
}

#[tokio::test]
async fn its_children_end_with_it() {
    let world = world!();
    let number = format!("12{}", std::process::id());
    let launch = world.process(&format!("sleep {number} & echo ready; wait"));
    let handle = world.runtime.start(&launch).await.unwrap();
    world::logged(&launch, "ready").await;
    handle.signal(15).await.unwrap();
    assert_eq!(world::exit(&*handle).await.signal, Some(15));
    let orphan = world::processes().into_iter().find(|line| line.contains(&format!("sleep\0{number}")));
    assert_eq!(orphan, None);
    world.runtime.remove(launch.instance).await.unwrap();
    assert_eq!(world::remains(&launch), Vec::<String>::new());
}

#[tokio::test]
async fn its_user_its_memory_and_its_failures_are_as_with_containers() {
    let world = world!();
    let launch = Launch { user: Some("app".into()), ..world.process("id; echo opens > /dev/stdout") };
    let text = world.output_of(&launch).await;
    assert_eq!(text, "uid=1234(app) gid=1235(app) groups=77(extra),1235(app)\nopens");
    let hungry = "exec dd if=/dev/zero of=/dev/null bs=200M count=1";
    let (state, _) = world.run(&world.process(hungry)).await;
    assert!(matches!(state, RunState::Exited(Exit { oom: true, .. })), "{state:?}");
    let mut launch = world.process("");
    launch.args = vec!["no-such-program".into()];
    let (state, _) = world.run(&launch).await;
    let RunState::StartFailed { message } = state else { panic!("{state:?}") };
    assert!(message.contains("no-such-program"), "{message}");
}

#[tokio::test]
async fn commands_run_beside_it() {
    let world = world!();
    let launch = world.process("echo ready; sleep 1000");
    let handle = world.runtime.start(&launch).await.unwrap();
    world::logged(&launch, "ready").await;
    let request = ExecRequest::new(["ls", "/"]);
    let (stdout, stderr, end) = world::collect(handle.exec(&request).await.unwrap()).await;
    assert_eq!(end, ExecOutput::Exit(0), "{stderr}");
    assert!(stdout.contains("bin") && !stdout.contains("root"), "{stdout}");
    world::end(&world.runtime, &handle).await;
}
