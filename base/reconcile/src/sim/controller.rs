//! Runs a reconciler as the real loop does, but slowly, and with crashes: time passes between the
//! decision and its commit, so decisions grow stale; a crash forgets everything but the store.

use super::world::{Context, Part};
use crate::{agenda::Agenda, ports::View, reconciler::Reconciler};
use freehold_model::{AnyId, Seq, Txn};
use jiff::Timestamp;

/// Crashes once in so many commits, before and again after it.
const CRASH: u64 = 25;
/// Everything is looked at again so often.
const RESYNC: u64 = 30_000;

/// A reconciler in the simulated world.
pub struct SimController {
    reconciler: Box<dyn Reconciler>,
    memory: Option<Memory>,
}

/// What a crash forgets.
struct Memory {
    agenda: Agenda,
    cursor: Seq,
    resync: Timestamp,
    decided: Option<(AnyId, Txn, Option<Timestamp>)>,
}

impl SimController {
    /// Runs `reconciler`.
    pub fn new(reconciler: impl Reconciler) -> SimController {
        SimController { reconciler: Box::new(reconciler), memory: None }
    }

    fn crash(&mut self, context: &mut Context, when: &str) -> Option<Timestamp> {
        context.tell(format_args!("{} crashes {when}", self.reconciler.name()));
        self.memory = None;
        Some(context.soon(10, 5_000))
    }

    fn commit(&mut self, context: &mut Context) -> Option<Option<Timestamp>> {
        let (subject, txn, wake) = self.memory.as_mut()?.decided.take()?;
        if context.mishap(CRASH) {
            return Some(self.crash(context, "before its commit"));
        }
        let reason = txn.reason.clone();
        let outcome = context.store.commit_now(txn);
        context.tell(format_args!("{}: {subject}: {reason}: {outcome:?}", self.reconciler.name()));
        if context.mishap(CRASH) {
            return Some(self.crash(context, "after its commit"));
        }
        let agenda = &mut self.memory.as_mut()?.agenda;
        match outcome {
            Ok(_) => agenda.settle(subject, wake),
            Err(error) if error.is_conflict() => agenda.conflicted(subject, context.now()),
            Err(_) => drop(agenda.failed(subject, context.now())),
        }
        None
    }

    fn follow(&mut self, context: &mut Context) -> &mut Memory {
        let view = context.store.view_now();
        let now = context.now();
        let fresh = || Memory {
            agenda: Agenda::default(),
            cursor: view.version().unwrap_or(0),
            resync: now,
            decided: None,
        };
        let memory = self.memory.get_or_insert_with(fresh);
        for event in view.events(memory.cursor, usize::MAX, None).expect("memory does not fail") {
            memory.cursor = event.seq;
            for subject in self.reconciler.concerns(&event, &view).expect("events can be read") {
                memory.agenda.add(subject, now);
            }
        }
        if memory.resync <= now {
            memory.resync = context.clock.after(RESYNC);
            for subject in self.reconciler.subjects(&view).expect("resources can be read") {
                memory.agenda.add(subject, now);
            }
        }
        memory
    }
}

impl Part for SimController {
    fn step(&mut self, context: &mut Context) -> Option<Timestamp> {
        if let Some(crashed) = self.commit(context) {
            return crashed;
        }
        let now = context.now();
        while let Some(subject) = self.follow(context).agenda.take(now) {
            let view = context.store.view_now();
            let decision =
                self.reconciler.decide(subject, &view, now, &mut context.ids).expect("resources can be read");
            let memory = self.memory.as_mut()?;
            match decision.txn.filter(|txn| !txn.is_empty()) {
                Some(txn) => {
                    memory.decided = Some((subject, txn, decision.wake));
                    let slow = context.random.one_in(3);
                    return Some(context.soon(0, if slow { 3_000 } else { 30 }));
                }
                None => memory.agenda.settle(subject, decision.wake),
            }
        }
        let memory = self.memory.as_ref()?;
        Some(memory.agenda.next().map_or(memory.resync, |next| next.min(memory.resync)))
    }
}
