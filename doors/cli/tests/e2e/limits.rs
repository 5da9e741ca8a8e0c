//! Instances that take too much: they are stopped at their limits, said to be so, and the node goes on.

use crate::world::{World, wait_for};

fn manifest(more: &str) -> String {
    format!(
        "schema = 1\napp = \"greedy\"\n[process.web]\nimage = \"greedy:1\"\nstop_timeout = \"500ms\"\n{more}"
    )
}

/// Runs a shell script as the only process.
fn deploy(world: &World, script: &str, more: &str) -> crate::world::Ended {
    let command = format!("command = [\"/bin/sh\", \"-c\", {script:?}]\n{more}\n");
    let file = world.write("greedy.toml", &manifest(&command));
    world.freehold(&["deploy", "-f", &file])
}

#[test]
fn a_memory_hog_is_killed_and_called_by_its_name() {
    let Some(world) = World::start() else { return };
    world.push_busybox("greedy:1");
    let hungry = "exec /bin/busybox dd if=/dev/zero of=/dev/null bs=200M count=1";
    let why = "it used more memory than its limit";
    deploy(&world, hungry, "memory = \"16MiB\"").exits(8).says("more memory than its limit of 16MiB");
    let receipts = world.json(&["receipt", "list", "-a", "greedy"]);
    assert!(receipts[0]["status"]["reason"].as_str().unwrap().contains(why), "{receipts:#}");

    // The same later: it ran well, and grows when it is asked to.
    let later = "until [ -e /tmp/now ]; do sleep 0.1; done; exec /bin/busybox dd if=/dev/zero of=/dev/null bs=200M count=1";
    deploy(&world, &format!("mkdir -p /tmp; {later}"), "memory = \"16MiB\"").ok();
    world.freehold(&["exec", "-a", "greedy", "-p", "web", "--", "sh", "-c", "echo > /tmp/now"]).ok();
    let restarted =
        |all: &Vec<serde_json::Value>| all.first().is_some_and(|it| it["restarts"].as_u64() > Some(0));
    let all = wait_for("the kill", || world.instances("greedy"), restarted);
    let id = all[0]["id"].as_str().unwrap();
    // It may run again by now: how the run before ended stays.
    world.freehold(&["describe", id]).ok().says("oom: true");
    world.freehold(&["logs", "-a", "greedy"]).ok().says(why);
    world.freehold(&["app", "delete", "greedy", "-y"]).ok();
}

#[test]
fn a_child_that_is_killed_for_want_of_memory_is_told_and_its_instance_goes_on() {
    let Some(world) = World::start() else { return };
    world.push_busybox("greedy:1");
    let hungry =
        "/bin/busybox dd if=/dev/zero of=/dev/null bs=200M count=1; exec /bin/busybox tail -f /dev/null";
    deploy(&world, hungry, "memory = \"16MiB\"").ok();
    let id = world.instances("greedy")[0]["id"].as_str().unwrap().to_owned();
    wait_for("the kill", || world.freehold(&["describe", &id]).ok(), |it| it.out.contains("oom_kills: 1"));
    let all = world.instances("greedy");
    assert_eq!((&all[0]["healthy"], &all[0]["restarts"]), (&true.into(), &0.into()), "{all:#?}");
    world.freehold(&["events"]).ok().says("instance.oom_killed");
    world.freehold(&["logs", "-a", "greedy"]).ok().says("used more memory than its limit of 16MiB");
}

#[test]
fn one_that_writes_more_than_its_disk_is_started_again_empty_and_says_why() {
    let Some(world) = World::start() else { return };
    world.push_busybox("greedy:1");
    let fill = "until [ -e /now ]; do sleep 0.1; done; dd if=/dev/zero of=/junk bs=1M count=30; exec tail -f /dev/null";
    deploy(&world, fill, "disk = \"10MiB\"").ok().says("disk 0B → 10MiB");
    world.freehold(&["exec", "-a", "greedy", "-p", "web", "--", "sh", "-c", "echo > /now"]).ok();
    let again = |all: &Vec<serde_json::Value>| {
        all.first().is_some_and(|it| it["restarts"] == 1 && it["healthy"] == true)
    };
    let all = wait_for("it runs again", || world.instances("greedy"), again);
    let why = "outside of its volumes; its limit is 10MiB (`disk`)";
    let id = all[0]["id"].as_str().unwrap();
    world.freehold(&["describe", id]).ok().says("instance.over_disk");
    world.freehold(&["logs", "-a", "greedy"]).ok().says(why);
    let empty = world.freehold(&["exec", "-a", "greedy", "-p", "web", "--", "ls", "/"]).ok();
    assert!(!empty.out.contains("junk"), "{empty:?}");

    // One that does so as it starts is a failed deploy, with the reason.
    let at_once = "dd if=/dev/zero of=/junk bs=1M count=30; sleep 30";
    let broken =
        format!("{}\n[process.web.check]\ncommand = [\"/nothing\"]\ngrace = \"1m\"", "disk = \"10MiB\"");
    deploy(&world, at_once, &broken).exits(8).says(why);
}

#[test]
fn a_fork_bomb_is_contained_and_the_node_answers() {
    let Some(world) = World::start() else { return };
    world.push_busybox("greedy:1");
    let bomb = "b() { while :; do b & done; }; b 2>/dev/null & exec /bin/busybox tail -f /dev/null";
    deploy(&world, bomb, "pids = 40\nmemory = \"128MiB\"\ncpu = \"200m\"").ok();
    let all = world.instances("greedy");
    let id = all[0]["id"].as_str().unwrap();
    let file = |name: &str| {
        world
            .sh(&format!(
                "cat /sys/fs/cgroup/pids/freehold*/{id}/{name} /sys/fs/cgroup/freehold*/{id}/{name} 2>/dev/null"
            ))
            .out
    };
    wait_for("a refused fork", || file("pids.events"), |text| !text.contains("max 0"));
    assert!(file("pids.current").trim().parse::<u32>().unwrap() <= 40);
    world.freehold(&["status", "-a", "greedy"]).ok().says("1 of 1 healthy");
    world.freehold(&["app", "delete", "greedy", "-y"]).ok();
    assert!(world.traces().is_empty(), "{:#?}", world.traces());
}

#[test]
fn the_images_stop_signal_comes_first_and_sigkill_after_its_time() {
    let Some(world) = World::start() else { return };
    world.push_busybox("greedy:1");
    world.write("busybox/freehold-image.toml", "entrypoint = [\"/bin/sh\"]\nstop_signal = \"SIGUSR1\"\n");
    world.freehold(&["image", "build", world.path("busybox").to_str().unwrap(), "-t", "greedy:1"]).ok();
    let polite = "trap 'echo asked to stop; exit 0' USR1; trap 'echo wrong signal' TERM; echo up; while :; do sleep 0.05; done";
    deploy(&world, polite, "").ok();
    let deaf = "trap 'echo asked to stop' USR1; echo deaf; while :; do sleep 0.05; done";
    deploy(&world, deaf, "").ok();
    let first = world.freehold(&["logs", "-a", "greedy"]).ok();
    assert!(first.out.contains("asked to stop") && !first.out.contains("wrong signal"), "{first:?}");
    world.freehold(&["app", "delete", "greedy", "-y"]).ok();
    assert!(world.traces().is_empty(), "the deaf one was killed: {:#?}", world.traces());
}
