//! What to do next about one instance: a pure function of what is wanted and what is.
//!
//! Called by the worker of the instance after every change and every wake-up. Invariants: nothing is
//! started that may still run; nothing is removed before it has ended; SIGKILL comes only after the stop
//! signal and its patience; a stop that has begun is finished, even if the wish changes meanwhile.

use jiff::Timestamp;
use std::time::Duration;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// It runs, and is started again when it ends.
    Run,
    /// It is stopped and removed.
    Stop,
    /// Nobody has said yet: leave it as it is.
    Leave,
}

/// What is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observed {
    /// The run.
    pub(crate) run: Run,
    /// Not started again before.
    pub(crate) start_at: Option<Timestamp>,
    /// The last signal or removal failed, or may need to be repeated: not before.
    pub(crate) act_at: Option<Timestamp>,
    /// It is signalled this long before it is killed.
    pub(crate) patience: Duration,
    /// Others must start, or stop, first.
    pub(crate) held: bool,
    /// It takes more than it may: it is stopped, and then started again.
    pub(crate) excess: bool,
    /// It is unhealthy: not healthy until then, it is stopped and started again.
    pub(crate) restart_at: Option<Timestamp>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// Nothing of it is on the node.
    Absent,
    /// It is being started: it cannot be signalled yet.
    Starting,
    /// It runs; the time is when it was asked to stop.
    Live(Option<Timestamp>),
    /// It ended; its files are still there.
    Over,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Prepare the image and start it.
    Start,
    /// Send the stop signal.
    Signal,
    /// Send SIGKILL.
    Kill,
    /// Remove what it left.
    Remove,
    /// Nothing of it is left and nothing is wanted: forget it.
    Forget,
    /// Nothing, until something changes or this time comes.
    Wait(Option<Timestamp>),
}

/// Nothing is unhealthy for longer without being started again, unless it never is: `restart_after` is shorter.
const UNHEALTHY: Duration = Duration::from_secs(2 * 3600);
/// No wait is longer, patience aside: a clock that was set back must not freeze an instance.
const LONGEST: Duration = Duration::from_secs(300);

/// What to do now.
pub(crate) fn decide(goal: Goal, observed: &Observed, now: Timestamp) -> Action {
    match (goal, observed.run) {
        (_, Run::Live(Some(asked))) => {
            let deadline = asked + observed.patience;
            let longest = observed.patience + LONGEST;
            within(longest, Some(deadline), now, || when(observed.act_at, now, || Action::Kill))
        }
        (Goal::Stop, Run::Live(None)) | (Goal::Run, Run::Absent | Run::Over) if observed.held => {
            Action::Wait(None)
        }
        (Goal::Stop, Run::Live(None)) => when(observed.act_at, now, || Action::Signal),
        (Goal::Run, Run::Live(None)) if observed.excess => when(observed.act_at, now, || Action::Signal),
        (Goal::Run, Run::Live(None)) if observed.restart_at.is_some() => {
            within(UNHEALTHY, observed.restart_at.max(observed.act_at), now, || Action::Signal)
        }
        (Goal::Stop, Run::Over) => when(observed.act_at, now, || Action::Remove),
        (Goal::Stop, Run::Absent) => Action::Forget,
        (Goal::Run, Run::Absent | Run::Over) => when(observed.start_at, now, || Action::Start),
        (_, Run::Starting) | (Goal::Run, Run::Live(None)) | (Goal::Leave, _) => Action::Wait(None),
    }
}

/// `action` once the time has come; before, waiting for it.
fn when(time: Option<Timestamp>, now: Timestamp, action: impl FnOnce() -> Action) -> Action {
    within(LONGEST, time, now, action)
}

/// The same, but a time that is further off than `longest` is nonsense and counts as come.
fn within(
    longest: Duration,
    time: Option<Timestamp>,
    now: Timestamp,
    action: impl FnOnce() -> Action,
) -> Action {
    match time {
        Some(time) if now < time && time <= now + longest => Action::Wait(Some(time)),
        _ => action(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn seen(run: Run) -> Observed {
        Observed {
            run,
            start_at: None,
            act_at: None,
            patience: PATIENCE,
            held: false,
            excess: false,
            restart_at: None,
        }
    }

    #[test]
    fn the_table() {
        let later = Some(at(5));
        let table = [
            (Goal::Run, seen(Run::Absent), Action::Start),
            (Goal::Run, seen(Run::Over), Action::Start),
            (Goal::Run, Observed { start_at: later, ..seen(Run::Over) }, Action::Wait(later)),
            (Goal::Run, Observed { start_at: Some(at(0)), ..seen(Run::Over) }, Action::Start),
            (Goal::Run, Observed { start_at: Some(at(9000)), ..seen(Run::Over) }, Action::Start),
            (Goal::Run, seen(Run::Starting), Action::Wait(None)),
            (Goal::Run, seen(Run::Live(None)), Action::Wait(None)),
            (Goal::Run, seen(Run::Live(Some(at(-1)))), Action::Wait(Some(at(9)))),
            (Goal::Run, seen(Run::Live(Some(at(-10)))), Action::Kill),
            (Goal::Stop, seen(Run::Starting), Action::Wait(None)),
            (Goal::Stop, seen(Run::Live(None)), Action::Signal),
            (Goal::Stop, Observed { act_at: later, ..seen(Run::Live(None)) }, Action::Wait(later)),
            (Goal::Stop, seen(Run::Live(Some(at(-9)))), Action::Wait(Some(at(1)))),
            (Goal::Stop, seen(Run::Live(Some(at(-10)))), Action::Kill),
            (Goal::Stop, Observed { act_at: later, ..seen(Run::Live(Some(at(-99)))) }, Action::Wait(later)),
            (Goal::Stop, seen(Run::Over), Action::Remove),
            (Goal::Stop, Observed { act_at: later, ..seen(Run::Over) }, Action::Wait(later)),
            (Goal::Stop, Observed { start_at: later, ..seen(Run::Over) }, Action::Remove),
            (Goal::Stop, seen(Run::Absent), Action::Forget),
            (Goal::Run, Observed { held: true, ..seen(Run::Absent) }, Action::Wait(None)),
            (Goal::Run, Observed { held: true, ..seen(Run::Live(None)) }, Action::Wait(None)),
            (Goal::Stop, Observed { held: true, ..seen(Run::Live(None)) }, Action::Wait(None)),
            (Goal::Stop, Observed { held: true, ..seen(Run::Live(Some(at(-10)))) }, Action::Kill),
            (Goal::Stop, Observed { held: true, ..seen(Run::Over) }, Action::Remove),
            (Goal::Run, Observed { excess: true, ..seen(Run::Live(None)) }, Action::Signal),
            (
                Goal::Run,
                Observed { excess: true, ..seen(Run::Live(Some(at(-1)))) },
                Action::Wait(Some(at(9))),
            ),
            (Goal::Leave, Observed { excess: true, ..seen(Run::Live(None)) }, Action::Wait(None)),
            (Goal::Run, Observed { restart_at: later, ..seen(Run::Live(None)) }, Action::Wait(later)),
            (
                Goal::Run,
                Observed { restart_at: Some(at(3000)), ..seen(Run::Live(None)) },
                Action::Wait(Some(at(3000))),
            ),
            (Goal::Run, Observed { restart_at: Some(at(0)), ..seen(Run::Live(None)) }, Action::Signal),
            (
                Goal::Run,
                Observed { restart_at: Some(at(0)), act_at: later, ..seen(Run::Live(None)) },
                Action::Wait(later),
            ),
            (Goal::Leave, Observed { restart_at: Some(at(0)), ..seen(Run::Live(None)) }, Action::Wait(None)),
            (Goal::Stop, Observed { restart_at: later, ..seen(Run::Live(None)) }, Action::Signal),
            (Goal::Leave, seen(Run::Absent), Action::Wait(None)),
            (Goal::Leave, seen(Run::Over), Action::Wait(None)),
            (Goal::Leave, seen(Run::Live(None)), Action::Wait(None)),
        ];
        for (goal, observed, expected) in table {
            assert_eq!(decide(goal, &observed, at(0)), expected, "{goal:?} {observed:?}");
        }
    }

    #[test]
    fn the_most_patient_is_not_killed_at_once() {
        let patience = Duration::from_secs(7200);
        let observed = Observed { patience, ..seen(Run::Live(Some(at(0)))) };
        assert_eq!(decide(Goal::Stop, &observed, at(1)), Action::Wait(Some(at(7200))));
    }

    prop_compose! {
        fn times()(second in prop::option::of(-100i64..100)) -> Option<Timestamp> { second.map(at) }
    }

    fn runs() -> impl Strategy<Value = Run> {
        prop_oneof![Just(Run::Absent), Just(Run::Starting), Just(Run::Over), times().prop_map(Run::Live),]
    }

    proptest! {
        #[test]
        fn nothing_is_started_twice_killed_early_or_removed_alive(
            goal in prop_oneof![Just(Goal::Run), Just(Goal::Stop), Just(Goal::Leave)],
            run in runs(),
            start_at in times(),
            act_at in times(),
            held: bool,
            excess: bool,
            restart_at in times(),
        ) {
            let observed = Observed { run, start_at, act_at, patience: PATIENCE, held, excess, restart_at };
            match decide(goal, &observed, at(0)) {
                Action::Start => {
                    prop_assert!(goal == Goal::Run && matches!(run, Run::Absent | Run::Over) && !held);
                    prop_assert!(start_at.is_none_or(|time| time <= at(0)));
                }
                Action::Signal => {
                    let stop = goal == Goal::Stop && !held;
                    let overdue = restart_at.is_some_and(|time| time <= at(0));
                    let again = goal == Goal::Run && (excess || overdue);
                    prop_assert!((stop || again) && run == Run::Live(None));
                }
                Action::Kill => {
                    let Run::Live(Some(asked)) = run else { panic!("killed without being asked") };
                    prop_assert!(at(0) >= asked + PATIENCE);
                }
                Action::Remove => prop_assert!(goal == Goal::Stop && run == Run::Over),
                Action::Forget => prop_assert!(goal == Goal::Stop && run == Run::Absent),
                Action::Wait(until) => prop_assert!(until.is_none_or(|time| time > at(0))),
            }
        }

        #[test]
        fn a_stop_comes_to_its_end(run in runs(), start_at in times(), act_at in times()) {
            let mut observed = Observed { start_at, act_at, ..seen(run) };
            let mut now = at(0);
            for _ in 0..10 {
                match decide(Goal::Stop, &observed, now) {
                    Action::Forget => return Ok(()),
                    Action::Remove => observed.run = Run::Absent,
                    Action::Signal => observed.run = Run::Live(Some(now)),
                    Action::Kill => observed.run = Run::Over,
                    Action::Wait(Some(time)) => now = time,
                    Action::Wait(None) => observed.run = Run::Live(None),
                    Action::Start => prop_assert!(false, "started while it should stop"),
                }
            }
            prop_assert!(false, "never forgotten");
        }
    }
}
