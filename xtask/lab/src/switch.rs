//! The switch: one thread reads each card, one hands on what is delayed.
//!
//! A frame goes to the host that its destination names, or to all others. Invariant: what [`Rules`] say of a
//! direction holds for every frame that is read after they were set.

use crate::{hardware, rules::Rules};
use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{Read, Write},
    os::fd::AsFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A reader looks so often whether it is to end.
const LOOK: u16 = 50;
/// No frame is longer.
const LONGEST: usize = 65_536;

/// Ends when it is dropped.
pub(crate) struct Switch {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    cards: Vec<File>,
    rules: Arc<Mutex<Rules>>,
    late: Mutex<Late>,
    more: Condvar,
    ends: AtomicBool,
}

/// When it arrives, its number, the host it goes to, its bytes.
type Frame = (Instant, u64, usize, Vec<u8>);

/// Frames that are on their way, the next to arrive first.
#[derive(Default)]
struct Late {
    heap: BinaryHeap<Reverse<Frame>>,
    count: u64,
}

impl Switch {
    /// Between these cards; the n-th is the host with that index.
    pub(crate) fn start(cards: Vec<File>, rules: Arc<Mutex<Rules>>) -> Result<Switch> {
        let count = cards.len();
        let shared = Shared {
            cards,
            rules,
            late: Mutex::default(),
            more: Condvar::new(),
            ends: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        let mut switch = Switch { shared: shared.clone(), threads: vec![] };
        for from in 0..count {
            let shared = shared.clone();
            switch.spawn(format!("lab-card-{from}"), move || shared.read(from))?;
        }
        switch.spawn("lab-late".into(), move || shared.deliver())?;
        Ok(switch)
    }

    fn spawn(&mut self, name: String, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new().name(name).spawn(work).context("starting the switch")?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        self.shared.more.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn ended(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// Hands on what one host sends.
    fn read(&self, from: usize) {
        let mut card = &self.cards[from];
        let mut frame = vec![0; LONGEST];
        while !self.ended() {
            let mut ready = [PollFd::new(card.as_fd(), PollFlags::POLLIN)];
            if !matches!(poll(&mut ready, PollTimeout::from(LOOK)), Ok(1..)) {
                continue;
            }
            match card.read(&mut frame) {
                Ok(length) if length >= 14 => self.route(from, &frame[..length]),
                // Its host took the card down.
                _ => std::thread::sleep(Duration::from_millis(LOOK.into())),
            }
        }
    }

    fn route(&self, from: usize, frame: &[u8]) {
        let known = (0..self.cards.len()).find(|index| frame[..6] == hardware(*index));
        let everybody = 0..self.cards.len();
        let to: Vec<usize> = known.map_or_else(|| everybody.collect(), |one| vec![one]);
        for to in to.into_iter().filter(|to| *to != from) {
            let (first, second) = lock(&self.rules).fate(from, to);
            for delay in [first, second].into_iter().flatten() {
                self.send(to, frame, delay);
            }
        }
    }

    fn send(&self, to: usize, frame: &[u8], delay: Duration) {
        if delay.is_zero() {
            // A card that is down takes nothing.
            let _ = (&self.cards[to]).write(frame);
            return;
        }
        let mut late = lock(&self.late);
        late.count += 1;
        let count = late.count;
        late.heap.push(Reverse((Instant::now() + delay, count, to, frame.to_vec())));
        self.more.notify_one();
    }

    fn deliver(&self) {
        let mut late = lock(&self.late);
        while !self.ended() {
            let now = Instant::now();
            let wait = late.heap.peek().map(|Reverse((at, ..))| at.saturating_duration_since(now));
            if wait == Some(Duration::ZERO) {
                if let Some(Reverse((_, _, to, frame))) = late.heap.pop() {
                    let _ = (&self.cards[to]).write(&frame);
                }
                continue;
            }
            let wait = wait.unwrap_or(Duration::from_secs(1));
            late = self.more.wait_timeout(late, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
