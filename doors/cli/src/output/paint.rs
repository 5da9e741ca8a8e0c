//! Colours, where somebody can see them: on a terminal, unless `NO_COLOR` is set (no-color.org).

use clap::builder::styling::{AnsiColor, Effects, Style};
use std::io::{self, IsTerminal};

/// Colours text, or leaves it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    on: bool,
}

/// What a text means; its colour follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// As it should be; added.
    Good,
    /// Wrong; removed.
    Bad,
    /// On its way; changed.
    Note,
    /// Of lesser interest.
    Dim,
    /// A heading.
    Bold,
}

impl Paint {
    /// For standard output.
    pub(crate) fn stdout() -> Paint {
        Paint { on: io::stdout().is_terminal() && wanted() }
    }

    /// For standard error.
    pub(crate) fn stderr() -> Paint {
        Paint { on: io::stderr().is_terminal() && wanted() }
    }

    /// Never any colour.
    pub(crate) fn plain() -> Paint {
        Paint { on: false }
    }

    /// Always colour, to see what comes of it.
    #[cfg(test)]
    pub(crate) fn colourful() -> Paint {
        Paint { on: true }
    }

    /// Whether there is colour at all.
    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    /// `text` in one of several colours that mean nothing but to differ.
    pub(crate) fn hue(self, number: usize, text: &str) -> String {
        const HUES: [AnsiColor; 6] = [
            AnsiColor::Cyan,
            AnsiColor::Magenta,
            AnsiColor::Blue,
            AnsiColor::Green,
            AnsiColor::BrightCyan,
            AnsiColor::BrightMagenta,
        ];
        if !self.on {
            return text.to_owned();
        }
        let style = HUES[number % HUES.len()].on_default();
        format!("{style}{text}{style:#}")
    }

    /// `text` in the colour of `tone`.
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        if !self.on || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = style(tone);
        format!("{style}{text}{style:#}")
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.tone(Tone::Good, text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.tone(Tone::Bad, text)
    }

    pub(crate) fn note(self, text: &str) -> String {
        self.tone(Tone::Note, text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.tone(Tone::Dim, text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.tone(Tone::Bold, text)
    }
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Bad => AnsiColor::Red.on_default() | Effects::BOLD,
        Tone::Note => AnsiColor::Yellow.on_default(),
        Tone::Dim => Style::new().dimmed(),
        Tone::Bold => Style::new().bold(),
    }
}

fn wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_wraps_the_text_and_is_closed() {
        let on = Paint { on: true };
        assert_eq!(on.good("ok"), "\x1b[32mok\x1b[0m");
        assert_eq!(Paint::plain().good("ok"), "ok");
        assert_eq!(on.good(""), "");
    }
}
