//! Runs a reconciler as the real loop does, but slowly, and with crashes: time passes between the
//! decision and its commit, so decisions grow stale; a crash forgets everything but the store.
//!
//! One of several control planes leads under a lease; it may be frozen between a decision and its commit, for
//! longer than the lease lasts. Invariant, which it checks: nothing is committed for who has lost the lease.

use super::{
    term::Term,
    world::{Context, Part},
};
use crate::{
    agenda::Agenda,
    ports::{View, ViewExt as _},
    reconciler::Reconciler,
};
use freehold_model::{AnyId, CommitError, Fence, Seq, Txn};
use jiff::Timestamp;

/// Crashes once in so many commits, before and again after it.
const CRASH: u64 = 25;
/// Freezes once in so many decisions, where there are others to go on.
const FREEZE: u64 = 12;
/// Everything is looked at again so often.
const RESYNC: u64 = 30_000;

/// A reconciler in the simulated world.
pub struct SimController {
    reconciler: Box<dyn Reconciler>,
    memory: Option<Memory>,
    /// Under what it decides; alone, if it is the only one.
    term: Option<Term>,
    /// Does nothing until then, whatever happens.
    frozen: Option<Timestamp>,
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
        SimController { reconciler: Box::new(reconciler), memory: None, term: None, frozen: None }
    }

    /// Runs `reconciler` in the control plane called `holder`, whenever that leads.
    pub fn under_lease(reconciler: impl Reconciler, holder: &str) -> SimController {
        // A holder renews all that it holds: what freezes by itself has a name of its own.
        let term = Some(Term::new(reconciler.name(), &format!("{holder}/{}", reconciler.name())));
        SimController { term, ..SimController::new(reconciler) }
    }

    fn crash(&mut self, context: &mut Context, when: &str) -> Option<Timestamp> {
        context.tell(format_args!("{} crashes {when}", self.reconciler.name()));
        self.memory = None;
        if let Some(term) = &mut self.term {
            term.crash();
            self.frozen = Some(context.soon(10, 8_000));
            return self.frozen;
        }
        Some(context.soon(10, 5_000))
    }

    fn commit(&mut self, context: &mut Context) -> Option<Option<Timestamp>> {
        let (subject, txn, wake) = self.memory.as_mut()?.decided.take()?;
        if context.mishap(CRASH) {
            return Some(self.crash(context, "before its commit"));
        }
        let reason = txn.reason.clone();
        let fenced = txn.fence.is_some();
        let outcome = context.store.commit_now(txn);
        if let Some(term) = self.term.as_ref().filter(|_| outcome.is_ok()) {
            assert!(fenced && term.holds(context), "committed without the lease: {subject}: {reason}");
        }
        context.tell(format_args!("{}: {subject}: {reason}: {outcome:?}", self.reconciler.name()));
        if context.mishap(CRASH) {
            return Some(self.crash(context, "after its commit"));
        }
        let agenda = &mut self.memory.as_mut()?.agenda;
        match outcome {
            Err(CommitError::LeaseLost { .. }) => self.memory = None,
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
        let events = view.events(memory.cursor, usize::MAX, None).unwrap_or_else(|pruned| {
            // Something was missed: everything is looked at.
            memory.resync = now;
            memory.cursor = view.beginning().expect("memory does not fail");
            view.events(memory.cursor, usize::MAX, None).unwrap_or_else(|_| panic!("{pruned}"))
        });
        for event in events {
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
        if self.frozen.is_some_and(|until| until > context.now()) {
            return self.frozen;
        }
        if self.frozen.take().is_some() && self.memory.as_ref().is_some_and(|it| it.decided.is_some()) {
            // It wakes up in the middle of its commit, before it hears of anything.
            if let Some(crashed) = self.commit(context) {
                return crashed;
            }
        }
        let Some(term) = &mut self.term else { return self.work(context, None) };
        term.tick(context);
        let (fence, due) = (term.fence(), term.due());
        let Some(fence) = fence else {
            self.memory = None;
            return due;
        };
        let next = self.work(context, Some(fence));
        // A tick comes in time unless it froze or crashed.
        if self.frozen.is_some() { self.frozen } else { next.into_iter().chain(due).min() }
    }
}

impl SimController {
    fn work(&mut self, context: &mut Context, fence: Option<Fence>) -> Option<Timestamp> {
        if let Some(crashed) = self.commit(context) {
            return crashed;
        }
        let now = context.now();
        let wall = self.term.as_ref().map_or(now, |term| term.wall(now));
        while let Some(subject) = self.follow(context).agenda.take(now) {
            let view = context.store.view_now();
            let decision = self
                .reconciler
                .decide(subject, &view, wall, &mut context.ids)
                .expect("resources can be read");
            let wake = decision.wake.map(|wake| self.term.as_ref().map_or(wake, |term| term.world(wake)));
            let memory = self.memory.as_mut()?;
            match decision.txn.filter(|txn| !txn.is_empty()) {
                Some(mut txn) => {
                    txn.fence = fence;
                    memory.decided = Some((subject, txn, wake));
                    if self.term.is_some() && context.mishap(FREEZE) {
                        self.frozen = Some(context.soon(500, 12_000));
                        context.tell(format_args!("{} freezes", self.reconciler.name()));
                        return self.frozen;
                    }
                    let slow = context.random.one_in(3);
                    return Some(context.soon(0, if slow { 3_000 } else { 30 }));
                }
                None => memory.agenda.settle(subject, wake),
            }
        }
        let memory = self.memory.as_ref()?;
        Some(memory.agenda.next().map_or(memory.resync, |next| next.min(memory.resync)))
    }
}
