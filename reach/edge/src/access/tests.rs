use super::*;
use freehold_model::traffic::{AccessEnd, AccessQuery};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::timeout;
use ulid::Ulid;

fn endpoint(n: u128) -> EndpointId {
    EndpointId(Ulid(n))
}

fn line(n: u64) -> AccessLine {
    AccessLine {
        time: Timestamp::from_second(n as i64).unwrap(),
        endpoint: endpoint(1),
        client: "[fd00::1]:4000".parse().unwrap(),
        instance: None,
        bytes_in: n,
        bytes_out: 0,
        duration_ms: 5,
        end: AccessEnd::Done,
    }
}

async fn all(folder: &Path, query: AccessQuery) -> Vec<u64> {
    let mut chunks = read(folder.to_owned(), endpoint(1), query);
    let mut found = vec![];
    while let Some(lines) = chunks.recv().await {
        found.extend(lines.unwrap().iter().map(|line| line.bytes_in));
    }
    found
}

#[tokio::test]
async fn what_is_noted_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (access, writing) = Access::start(Some(folder.path().join("access")));
    (0..10).for_each(|n| access.note(line(n)));
    access.note(AccessLine { endpoint: endpoint(2), ..line(99) });
    drop(writing);
    let folder = folder.path().join("access");
    assert_eq!(all(&folder, AccessQuery::default()).await, (0..10).collect::<Vec<_>>());
    assert_eq!(all(&folder, AccessQuery { tail: Some(2), ..AccessQuery::default() }).await, [8, 9]);
    let since = Some(Timestamp::from_second(7).unwrap());
    assert_eq!(all(&folder, AccessQuery { since, ..AccessQuery::default() }).await, [7, 8, 9]);
    assert_eq!(access.lost(endpoint(1)), 0);
}

#[tokio::test]
async fn a_log_is_bounded_and_its_newest_lines_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (access, writing) = Access::start(Some(folder.path().to_owned()));
    let mut next = 0;
    // Some 200 bytes a line: five times what two files hold.
    for _ in 0..8 {
        for _ in 0..90_000 {
            access.note(line(next));
            next += 1;
        }
        while access.0.as_ref().unwrap().queue().lines.len() > 10_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    drop(writing);
    let sizes: Vec<u64> =
        std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).collect();
    assert!(sizes.len() == 2 && sizes.iter().sum::<u64>() < 60 << 20, "{sizes:?}");
    let kept = all(folder.path(), AccessQuery::default()).await;
    assert_eq!(kept.len() as u64 + kept[0], next - access.lost(endpoint(1)), "a gap");
    assert_eq!(kept.last(), Some(&(next - 1)));
}

#[tokio::test]
async fn more_lines_than_can_wait_are_counted_and_not_waited_for() {
    let (access, _writing) = Access::start(Some("/proc/no-such-folder".into()));
    let shared = access.0.as_ref().unwrap();
    shared.queue().lines = vec![line(1); WAITING];
    access.note(line(2));
    assert_eq!(access.lost(endpoint(1)), 1);
    // And so are those that cannot be written.
    shared.writer.unpark();
    let written = async {
        while access.lost(endpoint(1)) < 1 + WAITING as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), written).await.expect("they are lost without a word");
}

#[tokio::test]
async fn a_log_is_followed_over_its_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let (access, _writing) = Access::start(Some(folder.path().to_owned()));
    let query = AccessQuery { follow: true, ..AccessQuery::default() };
    let mut chunks = read(folder.path().to_owned(), endpoint(1), query);
    let mut next = async |wanted: u64| {
        let chunk = timeout(Duration::from_secs(10), chunks.recv()).await.expect("it comes");
        assert_eq!(chunk.unwrap().unwrap()[0].bytes_in, wanted);
    };
    access.note(line(1));
    next(1).await;
    let (now, old) = (path(folder.path(), endpoint(1), false), path(folder.path(), endpoint(1), true));
    std::fs::rename(&now, old).unwrap();
    let mut text = serde_json::to_vec(&line(2)).unwrap();
    text.push(b'\n');
    std::fs::write(now, text).unwrap();
    next(2).await;
}
