//! The world: parts that act one after another, each at its time.

use super::{
    random::Random,
    time::{SimClock, SimIds},
};
use crate::{memory::MemoryStore, ports::Clock};
use jiff::Timestamp;
use std::{collections::BTreeSet, fmt::Display, sync::Arc};

/// Something that acts: a controller, a node, an edge, a user.
pub trait Part {
    /// Acts now; says when it wants to act again if nothing is committed before.
    fn step(&mut self, context: &mut Context) -> Option<Timestamp>;

    /// How many milliseconds after a commit it hears of it: at least, and less than.
    fn latency(&self) -> (u64, u64) {
        (1, 50)
    }
}

/// What a part acts upon.
pub struct Context {
    /// The time.
    pub clock: Arc<SimClock>,
    /// Chance.
    pub random: Random,
    /// Fresh ids.
    pub ids: SimIds,
    /// The resources.
    pub store: Arc<MemoryStore>,
    /// Whether things may go wrong. A scenario ends with a time of peace.
    pub chaos: bool,
    trace: u64,
    lines: Option<Vec<String>>,
}

impl Context {
    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tells what happens; part of the trace.
    pub fn tell(&mut self, what: impl Display) {
        let line = format!("{} {what}", self.now());
        for byte in line.bytes() {
            // FNV-1a, 64 bits.
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// True once in `n` times on average, in chaos alone.
    pub fn mishap(&mut self, n: u64) -> bool {
        self.random.one_in(n) && self.chaos
    }

    /// A time `low` to `high` milliseconds from now.
    pub fn soon(&mut self, low: u64, high: u64) -> Timestamp {
        let wait = self.random.between(low, high);
        self.clock.after(wait)
    }
}

/// Parts, their times, and what they act upon.
pub struct World {
    /// What the parts act upon.
    pub context: Context,
    parts: Vec<Box<dyn Part>>,
    wakes: Vec<Option<Timestamp>>,
    agenda: BTreeSet<(Timestamp, usize)>,
}

impl World {
    /// An empty world. `verbose` keeps what is told, to be printed.
    pub fn new(seed: u64, verbose: bool) -> World {
        let clock = Arc::new(SimClock::new());
        let store = Arc::new(MemoryStore::new(clock.clone()));
        let (random, ids) = (Random::new(seed), SimIds::new(seed));
        let lines = verbose.then(Vec::new);
        let context = Context { clock, random, ids, store, chaos: true, trace: seed, lines };
        World { context, parts: vec![], wakes: vec![], agenda: BTreeSet::new() }
    }

    /// Adds a part, which acts at once.
    pub fn add(&mut self, part: impl Part + 'static) {
        let index = self.parts.len();
        self.parts.push(Box::new(part));
        self.wakes.push(None);
        self.wake(index, self.context.now());
    }

    /// Lets one part act. False when no part wants to act before `end`; then it is `end`.
    pub fn step(&mut self, end: Timestamp) -> bool {
        let Some((time, index)) = self.agenda.first().copied().filter(|(time, _)| *time <= end) else {
            self.context.clock.set(end);
            return false;
        };
        self.agenda.pop_first();
        self.wakes[index] = None;
        self.context.clock.set(time);
        let before = self.context.store.version();
        let again = self.parts[index].step(&mut self.context);
        if let Some(again) = again {
            self.wake(index, again.max(self.context.now()));
        }
        let after = self.context.store.version();
        if after > before {
            self.context.tell(format_args!("part {index}: version {after}"));
            self.spread();
        }
        true
    }

    /// What happened, as one number: equal for equal seeds.
    pub fn trace(&self) -> u64 {
        self.context.trace
    }

    /// What was told, if the world is verbose.
    pub fn lines(&self) -> &[String] {
        self.context.lines.as_deref().unwrap_or_default()
    }

    /// Every part hears of a commit, each a little later.
    fn spread(&mut self) {
        for index in 0..self.parts.len() {
            let (low, high) = self.parts[index].latency();
            let time = self.context.soon(low, high);
            self.wake(index, time);
        }
    }

    fn wake(&mut self, index: usize, time: Timestamp) {
        match self.wakes[index] {
            Some(sooner) if sooner <= time => return,
            Some(later) => self.agenda.remove(&(later, index)),
            None => false,
        };
        self.wakes[index] = Some(time);
        self.agenda.insert((time, index));
    }
}
