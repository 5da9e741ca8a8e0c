//! What instances print, from their pipes to the reader.

use crate::world::{self, world};
use freehold_model::logs::{LogLine, LogStream};
use freehold_runtime::{
    LogLimits, RunState, Runtime,
    logs::{self, Range},
};
use futures::StreamExt;
use std::{fs, path::Path, pin::pin, process::Command};

#[tokio::test]
async fn floods_are_bounded_and_complete_up_to_the_bound() {
    let world = world!().with_log_limits(LogLimits { file_bytes: 200 << 10, files: 3 });
    let launch = world.launch("seq 1 50000");
    world.run(&launch).await;
    let lines = world::log(&launch);
    assert_eq!(lines.last().unwrap().text, "50000");
    let numbers: Vec<u32> = lines.iter().map(|line| line.text.parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "a line is missing");
    assert!(numbers.len() < 50_000);
    assert!(lines.windows(2).all(|pair| pair[0].time < pair[1].time));
    let sizes: Vec<u64> =
        fs::read_dir(&launch.log_dir).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).collect();
    assert_eq!(sizes.len(), 3);
    assert!(sizes.iter().all(|size| *size <= 200 << 10), "{sizes:?}");
}

/// Checks that `lines` count from 1 to `last`, gaps being as large as is said where they are.
fn account(lines: &[LogLine], last: u64) {
    let mut next = 1;
    for line in lines {
        let number: u64 = line.text.split(' ').next().unwrap().parse().expect("a number comes first");
        if line.stream == LogStream::System {
            assert!(line.text.contains("were dropped here") || line.text.contains("were lost here"));
            next += number;
        } else {
            assert_eq!(number, next, "a line is missing, and nothing says so");
            next += 1;
        }
    }
    assert_eq!(next, last + 1);
}

#[tokio::test]
async fn half_a_million_lines_at_full_speed_are_all_there_or_accounted_for() {
    let world = world!();
    let launch = world.launch("exec seq 1 500000");
    let (state, _) = world.run(&launch).await;
    assert!(matches!(state, RunState::Exited(ref exit) if exit.code == Some(0)), "{state:?}");
    account(&world::reader(&launch).tail(1_000_000).unwrap(), 500_000);
}

/// A file system with room for very little. Unmounted in the end.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount(at: &Path, options: &str) -> bool {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(at).status();
        mount.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_costs_lines_that_are_counted_and_not_the_instance() {
    let world = world!();
    let launch = world.launch(
        "seq 1 100000; echo full > /tmp/full; until [ -e /tmp/room ]; do sleep 0.05; done; seq 100001 100010",
    );
    fs::create_dir_all(&launch.log_dir).unwrap();
    assert!(SmallDisk::mount(&launch.log_dir, "size=1m"));
    let disk = SmallDisk(&launch.log_dir);
    let handle = world.runtime.start(&launch).await.unwrap();
    let pid = world::running(&*handle).await;
    let within = |name: &str| format!("/proc/{pid}/root/tmp/{name}");
    world::eventually("the instance to go on", || Path::new(&within("full")).exists()).await;
    // What it printed last may still be in the pipe.
    world::eventually("the disk to be full", || fs::write(launch.log_dir.join("x"), [0; 9000]).is_err())
        .await;
    assert!(SmallDisk::mount(&launch.log_dir, "remount,size=64m"));
    fs::write(within("room"), "").unwrap();
    world::over(&*handle).await;
    let lines = world::log(&launch);
    account(&lines, 100_010);
    let lost: Vec<_> = lines.iter().filter(|line| line.stream == LogStream::System).collect();
    assert!(lost.len() == 1 && lost[0].text.contains("No space left"), "{lost:#?}");
    drop(disk);
}

#[tokio::test]
async fn bytes_of_every_kind_come_through() {
    let world = world!();
    let script = r"printf 'nul\0nul\n\377\376\nno end'; head -c 1000000 /dev/zero >&2";
    let (_, lines) = world.run(&world.launch(script)).await;
    let of = |stream| lines.iter().filter(move |line| line.stream == stream);
    let texts: Vec<&str> = of(LogStream::Stdout).map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["nul\0nul", "\u{fffd}\u{fffd}", "no end"]);
    let zeros: Vec<usize> = of(LogStream::Stderr).map(|line| line.text.len()).collect();
    assert_eq!(zeros, [1_000_000]);
}

#[tokio::test]
async fn a_followed_log_comes_as_it_is_printed() {
    let world = world!();
    let launch = world.launch("echo one; until [ -e /tmp/go ]; do sleep 0.05; done; echo two; sleep 1000");
    let handle = world.runtime.start(&launch).await.unwrap();
    let (_gone, alive) = tokio::sync::watch::channel(true);
    let batches = world::reader(&launch).lines(Range::default(), None, Some(alive));
    let mut lines = pin!(batches.flat_map(|batch| futures::stream::iter(batch.unwrap().lines)));
    assert_eq!(lines.next().await.unwrap().text, "one");
    logs::append_system(&launch.log_dir, "a word from Freehold").unwrap();
    assert_eq!(lines.next().await.unwrap().text, "a word from Freehold");
    let pid = world::running(&*handle).await;
    fs::write(format!("/proc/{pid}/root/tmp/go"), "").unwrap();
    let two = lines.next().await.unwrap();
    assert_eq!((two.text.as_str(), two.instance), ("two", launch.instance));
    world::end(&world.runtime, &handle).await;
    assert_eq!(world::reader(&launch).tail(10).unwrap().len(), 3, "kept after the instance is gone");
}
