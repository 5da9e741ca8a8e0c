//! What fails its check for long is started again, and says what its check said.

use crate::{SECOND, world::World};
use freehold_model::{Millis, Phase, manifest::RestartAfter};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn one_that_fails_its_check_for_long_is_started_again_less_and_less_often() {
    let world = World::new();
    let mut web = world.instance(1);
    let mut check = world.closed_port_check();
    check.restart_after = RestartAfter(Some(Millis(10_000)));
    web.spec.template.check = Some(check);
    world.put(web.clone());
    let agent = world.agent().await;
    let failing = world.wait_for(web.id, |status| status.message.is_some()).await;
    assert_eq!((failing.phase, failing.answers.len()), (Phase::Running, 5), "{failing:#?}");
    let last = failing.answers.last().unwrap();
    assert!(!last.passed && last.said.starts_with("connecting to port "), "{failing:#?}");

    world.wait_for(web.id, |status| status.restarts == 3).await;
    let starts = world.starts(web.id);
    let gaps: Vec<u64> = starts.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    // Its grace, three failures, and then 10 s, 20 s, 40 s.
    for (gap, least) in gaps.iter().zip([10, 20, 40]) {
        assert!((least + 2..least + 10).contains(gap), "{gaps:?}");
    }
    let exit = world.reports(web.id).pop().unwrap().last_exit.unwrap().to_string();
    assert_eq!(exit, "was stopped: it had not passed its check for 40s (`restart_after`)");
    assert_eq!(world.signals(web.id), [15, 15, 15]);
    agent.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn never_is_never() {
    let world = World::new();
    let mut web = world.instance(1);
    let mut check = world.closed_port_check();
    check.restart_after = RestartAfter(None);
    web.spec.template.check = Some(check);
    world.put(web.clone());
    let _agent = world.agent().await;
    world.wait_for(web.id, |status| status.message.is_some()).await;
    let reports = world.reports(web.id).len();
    sleep(3 * 3600 * SECOND).await;
    assert_eq!(world.starts(web.id).len(), 1);
    assert_eq!(world.reports(web.id).len(), reports, "another answer is no news");
}
