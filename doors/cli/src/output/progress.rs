//! What a command says while it works, on standard error: a spinner with the present step on a
//! terminal, plain lines elsewhere.

use super::{Paint, printable::printable};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{self, IsTerminal},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The progress of one command. Clones share one spinner.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// The colours of standard error.
    pub(crate) paint: Paint,
    live: bool,
    spinner: Arc<Mutex<Option<ProgressBar>>>,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress { paint: Paint::stderr(), live: io::stderr().is_terminal(), spinner: Arc::default() }
    }

    /// Whether somebody watches.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// A line that stays.
    pub(crate) fn line(&self, text: &str) {
        let text = printable(text);
        match &*self.spinner() {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// What is being done now; shown on a terminal alone.
    pub(crate) fn now(&self, text: impl Into<String>) {
        if self.live {
            self.spinner().get_or_insert_with(spin).set_message(text.into());
        }
    }

    /// Takes the spinner away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = self.spinner().take() {
            bar.finish_and_clear();
        }
    }

    fn spinner(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.spinner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spin() -> ProgressBar {
    let style = ProgressStyle::with_template("  {spinner:.green} {msg} {elapsed:.dim}");
    let bar = ProgressBar::new_spinner();
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
