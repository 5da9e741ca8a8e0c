//! What a command says while it works, on standard error: a spinner with the present step on a
//! terminal, plain lines elsewhere.

use super::Paint;
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{self, IsTerminal},
    time::Duration,
};

/// The progress of one command.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// The colours of standard error.
    pub(crate) paint: Paint,
    spinner: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        let spinner = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner:.green} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        Progress { paint: Paint::stderr(), spinner }
    }

    /// Whether somebody watches.
    pub(crate) fn is_live(&self) -> bool {
        self.spinner.is_some()
    }

    /// A line that stays.
    pub(crate) fn line(&self, text: &str) {
        match &self.spinner {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// What is being done now; shown on a terminal alone.
    pub(crate) fn now(&self, text: impl Into<String>) {
        if let Some(bar) = &self.spinner {
            bar.set_message(text.into());
            bar.enable_steady_tick(Duration::from_millis(100));
        }
    }

    /// Takes the spinner away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.spinner {
            bar.finish_and_clear();
        }
    }
}
