//! Runs a scenario over many seeds, or over the one that failed.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Runs `scenario` over seeds 0, 1, 2, … up to `count` (or `FREEHOLD_SEEDS`), on every processor; over
/// `FREEHOLD_SEED` alone if that is set. The scenario is given the seed and whether to be verbose.
///
/// # Panics
/// At the lowest failing seed, with how to replay it.
pub fn check_seeds(count: u64, scenario: impl Fn(u64, bool) -> Result<(), String> + Sync) {
    if let Some(seed) = number("FREEHOLD_SEED") {
        return run_seed(seed, true, &scenario).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    let count = number("FREEHOLD_SEEDS").unwrap_or(count);
    let (next, failed) = (AtomicU64::new(0), Mutex::new(None::<(u64, String)>));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
                return;
            }
            if let Err(why) = run_seed(seed, false, &scenario) {
                next.store(count, Ordering::Relaxed);
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                if failed.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                    *failed = Some((seed, why));
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    if let Some((seed, why)) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        panic!("seed {seed}: {why}\nreplay it with FREEHOLD_SEED={seed}");
    }
}

/// Runs one seed; a panic is a failure like any other.
///
/// # Errors
/// What the scenario says, or the panic's message.
pub fn run_seed<T>(
    seed: u64,
    verbose: bool,
    scenario: &impl Fn(u64, bool) -> Result<T, String>,
) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(|| scenario(seed, verbose))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into())).unwrap_or_default())
    })
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}
