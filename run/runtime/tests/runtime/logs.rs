//! What instances print, from their pipes to the reader.

use crate::world::{self, world};
use freehold_model::logs::{LogQuery, LogStream};
use freehold_runtime::{LogLimits, Runtime, logs};
use futures::StreamExt;
use std::{fs, pin::pin};

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
    assert!(lines.windows(2).all(|pair| pair[0].time <= pair[1].time));
    let sizes: Vec<u64> =
        fs::read_dir(&launch.log_dir).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).collect();
    assert_eq!(sizes.len(), 3);
    // A file ends with the write that reaches its limit: a chunk of 64 KiB with a time on each line.
    assert!(sizes.iter().all(|size| *size < 900 << 10), "{sizes:?}");
}

#[tokio::test]
async fn a_followed_log_comes_as_it_is_printed() {
    let world = world!();
    let launch = world.launch("echo one; sleep 0.3; echo two; sleep 1000");
    let handle = world.runtime.start(&launch).await.unwrap();
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut lines = pin!(world::reader(&launch).lines(&query));
    assert_eq!(lines.next().await.unwrap().unwrap().text, "one");
    logs::append_system(&launch.log_dir, "a word from Freehold").unwrap();
    let mut next = Vec::new();
    for _ in 0..2 {
        next.push(lines.next().await.unwrap().unwrap());
    }
    next.sort_by_key(|line| line.stream == LogStream::System);
    assert_eq!(next[0].text, "two");
    assert_eq!(next[1].text, "a word from Freehold");
    assert_eq!(next[0].instance, launch.instance);
    world::end(&world.runtime, &handle).await;
    assert_eq!(world::reader(&launch).tail(10).unwrap().len(), 3, "kept after the instance is gone");
}
