//! The log of Freehold's own parts: what goes to standard error, and how often.
//!
//! Invariant: a loop that fails again and again does not fill the disk. One line is written a few times a
//! minute at most, and one place in the program some hundred times; how many were left out is said.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tracing::{
    Event, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer, layer::Context, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// The window after which counts begin at zero again.
const WINDOW: Duration = Duration::from_secs(60);
/// The most times that the same line is written within it.
const SAME: u32 = 5;
/// The most lines that one place in the program writes within it.
const PLACE: u32 = 300;
/// The most lines that are remembered at a time.
const REMEMBERED: usize = 2000;

/// Begins to write; `RUST_LOG` chooses how much.
pub(crate) fn begin(colours: bool) {
    let wanted = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,freehold=info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    tracing_subscriber::registry().with(wanted).with(Seldom::default()).with(lines).init();
}

/// Leaves out what is said too often.
#[derive(Default)]
struct Seldom(Mutex<Budget<Identifier>>);

impl<S: Subscriber> Layer<S> for Seldom {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let mut line = Line(DefaultHasher::new());
        event.metadata().callsite().hash(&mut line.0);
        event.record(&mut line);
        let mut budget = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match budget.admit(event.metadata().callsite(), line.0.finish(), Instant::now()) {
            None => false,
            Some(0) => true,
            Some(left_out) => {
                eprintln!("  ({left_out} lines like the next one were left out)");
                true
            }
        }
    }
}

/// What one event says, as a number.
struct Line(DefaultHasher);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        field.name().hash(&mut self.0);
        let mut into = Hashed(&mut self.0);
        let _ = write!(into, "{value:?}");
    }
}

/// Hashes text piece by piece.
struct Hashed<'a>(&'a mut DefaultHasher);

impl fmt::Write for Hashed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// What was said within the present window, by line and by place.
struct Budget<P> {
    lines: HashMap<u64, Said>,
    places: HashMap<P, Said>,
}

impl<P> Default for Budget<P> {
    fn default() -> Budget<P> {
        Budget { lines: HashMap::new(), places: HashMap::new() }
    }
}

struct Said {
    since: Instant,
    times: u32,
}

impl<P: Eq + Hash> Budget<P> {
    /// Whether a line may be written now; then, how many like it were left out before.
    fn admit(&mut self, place: P, line: u64, now: Instant) -> Option<u32> {
        if self.lines.len() >= REMEMBERED {
            self.lines.retain(|_, said| now.duration_since(said.since) < WINDOW && said.times > SAME);
        }
        if self.lines.len() >= REMEMBERED {
            self.lines.clear();
        }
        let fresh = Said { since: now, times: 0 };
        let same = self.lines.entry(line).or_insert(fresh).admit(SAME, now);
        let of_place = self.places.entry(place).or_insert(Said { since: now, times: 0 });
        match same {
            None => None,
            Some(left_out) => of_place.admit(PLACE, now).map(|others| left_out.max(others)),
        }
    }
}

impl Said {
    fn admit(&mut self, most: u32, now: Instant) -> Option<u32> {
        let mut left_out = 0;
        if now.duration_since(self.since) >= WINDOW {
            left_out = self.times.saturating_sub(most);
            *self = Said { since: now, times: 0 };
        }
        self.times = self.times.saturating_add(1);
        (self.times <= most).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_line_is_written_a_few_times_a_minute_and_the_rest_is_counted() {
        let (mut budget, begin, place) = (Budget::default(), Instant::now(), "here");
        let written = (0..10_000).filter(|_| budget.admit(place, 1, begin).is_some()).count();
        assert_eq!(written as u32, SAME);
        assert_eq!(budget.admit(place, 2, begin), Some(0), "another line is not held up");
        assert_eq!(budget.admit(place, 1, begin + WINDOW), Some(10_000 - SAME));
        assert_eq!(budget.admit(place, 1, begin + WINDOW), Some(0));
    }

    #[test]
    fn a_place_that_says_something_else_each_time_is_held_up_too_and_takes_no_memory() {
        let (mut budget, begin, place) = (Budget::default(), Instant::now(), "here");
        let written = (0..100_000).filter(|n| budget.admit(place, *n, begin).is_some()).count();
        assert_eq!(written as u32, PLACE);
        assert!(budget.lines.len() <= REMEMBERED);
    }
}
