//! What an instance tries from inside to raise its own limits, or to put itself out of reach.

use crate::world::{self, world};
use freehold_runtime::{Launch, Runtime};
use std::{fs, path::Path};

/// As root inside: every limit is written to, every way to another is tried. What worked is said.
const RAISE: &str = r#"
try() { what=$1; shift; ( "$@" ) 2>/dev/null && echo "went through: $what"; }
put() { echo "$2" > "$1"; }
for group in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -d $group ] || continue
    for file in memory.limit_in_bytes memory.memsw.limit_in_bytes pids.max cpu.cfs_quota_us cpu.max memory.max \
        memory.swap.max cpu.shares cpu.weight devices.allow freezer.state cgroup.freeze cgroup.procs tasks \
        notify_on_release release_agent cgroup.subtree_control cgroup.kill memory.oom_control cpuset.cpus; do
        [ -e $group/$file ] || continue
        case $file in
            cgroup.procs|tasks) try "write $group/$file" put $group/$file 0 ;;
            freezer.state) try "write $group/$file" put $group/$file THAWED ;;
            devices.allow) try "write $group/$file" put $group/$file 'a *:* rwm' ;;
            cgroup.freeze|notify_on_release|cgroup.kill) try "write $group/$file" put $group/$file 0 ;;
            *) try "write $group/$file" put $group/$file "$(cat $group/$file | head -1)"
               try "write max to $group/$file" put $group/$file max
               try "write -1 to $group/$file" put $group/$file -1 ;;
        esac
    done
    [ -e $group/release_agent ] && echo "sees $group/release_agent"
    try "mkdir in $group" mkdir $group/mine
    try "remount $group" mount -o remount,rw $group
    try "remount the bind of $group" mount -o remount,bind,rw $group $group
    try "umount $group" umount $group
    for controller in memory pids cpu freezer devices; do
        try "mount of $controller" mount -t cgroup -o $controller none /tmp
    done
    try "mount of version 2" mount -t cgroup2 none /tmp
done
grep -E ' /sys/fs/cgroup' /proc/mounts | grep -vE ' ro,' | sed 's/^/writable: /'
ls /sys/fs/cgroup | grep -qE 'memory|cgroup.procs' && echo it sees its groups
"#;

#[tokio::test]
async fn nothing_inside_raises_a_limit() {
    let world = world!();
    for command in [false, true] {
        let launch = world.launch(if command { "sleep 1000" } else { RAISE });
        let said = if command {
            let handle = world.runtime.start(&launch).await.unwrap();
            world::running(&*handle).await;
            let command = ["sh", "-c", RAISE].map(str::to_owned).to_vec();
            let request = freehold_model::exec::ExecRequest { command, ..Default::default() };
            let (said, errors, _) = world::collect(handle.exec(&request).await.unwrap()).await;
            assert_eq!(errors, "");
            world::end(&world.runtime, &handle).await;
            said
        } else {
            world.output_of(&launch).await
        };
        assert_eq!(said.trim(), "it sees its groups", "as a command beside it: {command}");
    }
}

/// Takes terminals until there are no more, and says how many.
const TAKE: &str = r#"
n=10; while ( eval "exec $n<>/dev/ptmx" ) 2>/dev/null && eval "exec $n<>/dev/ptmx" && [ $n -lt 1000 ]; do n=$((n+1)); done
echo terminals $((n-10))
sleep 1000
"#;

#[tokio::test]
async fn one_that_takes_all_its_terminals_leaves_as_many_to_another() {
    let world = world!();
    let mut handles = Vec::new();
    for _ in 0..2 {
        let launch = world.launch(TAKE);
        handles.push(world.runtime.start(&launch).await.unwrap());
        world::logged(&launch, "terminals").await;
        let said = world::log(&launch).remove(0).text;
        // The one that is tried beside the last holds a terminal, too.
        assert!(["terminals 255", "terminals 256"].contains(&said.as_str()), "{said}");
    }
    for handle in handles {
        world::end(&world.runtime, &handle).await;
    }
}

#[tokio::test]
async fn one_that_is_frozen_is_killed_all_the_same() {
    let world = world!();
    let launch = world.launch("sleep 1000 & echo ready; sleep 1000");
    let handle = world.runtime.start(&launch).await.unwrap();
    world::logged(&launch, "ready").await;
    freeze(&launch);
    handle.signal(9).await.unwrap();
    assert_eq!(world::exit(&*handle).await.signal, Some(9));
    world.runtime.remove(launch.instance).await.unwrap();
    assert_eq!(world::remains(&launch), Vec::<String>::new());
}

#[tokio::test]
async fn one_that_is_frozen_is_cleared_away_without_its_shim() {
    let world = world!();
    let launch = world.launch("sleep 1000 & echo ready; sleep 1000");
    let handle = world.runtime.start(&launch).await.unwrap();
    world::logged(&launch, "ready").await;
    freeze(&launch);
    for shim in world::shims(&launch) {
        nix::sys::signal::kill(shim, nix::sys::signal::SIGKILL).unwrap();
    }
    world::over(&*handle).await;
    world.runtime.remove(launch.instance).await.unwrap();
    assert_eq!(world::remains(&launch), Vec::<String>::new());
}

/// As a node's admin may, or an instance of an earlier version to itself.
fn freeze(launch: &Launch) {
    let group = |parent: &str| Path::new(parent).join("freehold").join(launch.instance.to_string());
    let v1 = group("/sys/fs/cgroup/freezer").join("freezer.state");
    if !v1.exists() {
        return fs::write(group("/sys/fs/cgroup").join("cgroup.freeze"), "1").unwrap();
    }
    fs::write(&v1, "FROZEN").unwrap();
    let deadline = std::time::Instant::now() + world::PATIENCE;
    while fs::read_to_string(&v1).unwrap().trim() != "FROZEN" {
        assert!(std::time::Instant::now() < deadline, "it does not freeze");
        std::thread::yield_now();
    }
}
