//! The regular expressions that lines are looked for with: in linear time, whatever the expression
//! (crate `regex`), and no larger than a request may be.

use regex::bytes::{Regex, RegexBuilder};
use std::ops::Range;

/// A compiled expression may take so much memory.
const SIZE: usize = 1 << 18;

/// What lines must match: one of several regular expressions, or none at all.
#[derive(Debug, Clone, Default)]
pub struct Patterns(Vec<Regex>);

/// A text that is no regular expression; says where in it and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is no regular expression: {why}")]
pub struct PatternError {
    pattern: String,
    why: String,
}

impl Patterns {
    /// Compiles every one of `texts`.
    ///
    /// # Errors
    /// Of the first that is no regular expression (syntax of the crate `regex`), or is too large.
    pub fn new<T: AsRef<str>>(texts: &[T]) -> Result<Patterns, PatternError> {
        texts.iter().map(|text| compile(text.as_ref())).collect::<Result<_, _>>().map(Patterns)
    }

    /// Whether a line is wanted.
    pub fn fit(&self, text: &[u8]) -> bool {
        self.0.is_empty() || self.0.iter().any(|regex| regex.is_match(text))
    }

    /// What to mark in a line: every match, in order, none within another.
    pub fn matches(&self, text: &str) -> Vec<Range<usize>> {
        let found =
            self.0.iter().flat_map(|regex| regex.find_iter(text.as_bytes()).map(|found| found.range()));
        let whole = |range: &Range<usize>| {
            !range.is_empty() && text.is_char_boundary(range.start) && text.is_char_boundary(range.end)
        };
        let mut all: Vec<Range<usize>> = found.filter(whole).collect();
        all.sort_by_key(|range| (range.start, range.end));
        all.dedup_by(|later, earlier| {
            let joined = later.start <= earlier.end;
            earlier.end = if joined { earlier.end.max(later.end) } else { earlier.end };
            joined
        });
        all
    }
}

fn compile(pattern: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(pattern).size_limit(SIZE).dfa_size_limit(SIZE).build().map_err(|error| {
        let why = match error {
            regex::Error::CompiledTooBig(_) => "it is too large; a shorter one may do".into(),
            // Points at the place with a caret, on lines of its own.
            other => other.to_string().trim_start_matches("regex parse error:\n").trim_end().to_owned(),
        };
        let why = if why.contains('\n') { format!("\n{why}") } else { why };
        PatternError { pattern: pattern.into(), why }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_suffices_and_none_lets_all_through() {
        let patterns = Patterns::new(&["err(or)?", "(?i)WARN"]).unwrap();
        assert!(patterns.fit(b"an error") && patterns.fit(b"a warning") && !patterns.fit(b"all well"));
        assert!(patterns.fit(b"\xff err \xfe"), "bytes that are no text do not hide a match");
        assert!(Patterns::default().fit(b"anything"));
    }

    #[test]
    fn matches_are_marked_once() {
        let patterns = Patterns::new(&["ab", "bc", "x*"]).unwrap();
        assert_eq!(patterns.matches("abc äxx ab"), [0..3, 6..8, 9..11]);
    }

    #[test]
    fn an_error_points_at_its_place() {
        let text = Patterns::new(&["ok", "a(b"]).unwrap_err().to_string();
        assert!(text.contains("`a(b`") && text.contains("^") && text.contains("unclosed group"), "{text}");
        let text = Patterns::new(&[r"\w{500}{500}"]).unwrap_err().to_string();
        assert!(text.contains("too large"), "{text}");
    }

    #[test]
    fn no_expression_takes_more_than_linear_time() {
        let patterns = Patterns::new(&["(a*)*b"]).unwrap();
        assert!(!patterns.fit(&[b'a'; 200_000]), "a backtracking engine would not come back");
    }
}
