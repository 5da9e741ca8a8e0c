//! What becomes of a frame on its way: lost, doubled, late. Decided here, without any IO.

use serde::{Deserialize, Serialize};
use std::{str::FromStr, time::Duration};

/// One direction between two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// Nothing arrives.
    pub cut: bool,
    /// How long a frame is on its way.
    pub delay: Duration,
    /// What share of frames is lost, 0 to 1.
    pub loss: f64,
    /// What share of frames arrives twice, 0 to 1.
    pub duplicate: f64,
}

impl Line {
    /// Nothing arrives.
    pub fn cut() -> Line {
        Line { cut: true, ..Line::default() }
    }
}

impl FromStr for Line {
    type Err = String;

    /// As in `delay=50ms,loss=5%,duplicate=1%`, or `cut`.
    fn from_str(text: &str) -> Result<Line, String> {
        let mut line = Line::default();
        for part in text.split(',') {
            let wrong =
                || format!("`{part}` is not understood: write `cut`, or delay=50ms,loss=5%,duplicate=1%");
            let share = |value: &str| {
                let percent: f64 = value.strip_suffix('%')?.parse().ok()?;
                (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
            };
            match part.split_once('=') {
                None if part == "cut" => line.cut = true,
                Some(("delay", value)) => {
                    let millis = value.strip_suffix("ms").and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
                    line.delay = Duration::from_millis(millis);
                }
                Some(("loss", value)) => line.loss = share(value).ok_or_else(wrong)?,
                Some(("duplicate", value)) => line.duplicate = share(value).ok_or_else(wrong)?,
                _ => return Err(wrong()),
            }
        }
        Ok(line)
    }
}

/// Every direction between hosts.
pub(crate) struct Rules {
    lines: Vec<Vec<Line>>,
    random: u64,
}

impl Rules {
    pub(crate) fn new(hosts: usize, seed: u64) -> Rules {
        Rules { lines: vec![vec![Line::default(); hosts]; hosts], random: seed }
    }

    pub(crate) fn set(&mut self, from: usize, to: usize, line: Line) {
        self.lines[from][to] = line;
    }

    pub(crate) fn heal(&mut self) {
        self.lines.iter_mut().flatten().for_each(|line| *line = Line::default());
    }

    /// After how long a frame arrives: once, twice, or never.
    pub(crate) fn fate(&mut self, from: usize, to: usize) -> (Option<Duration>, Option<Duration>) {
        let line = self.lines[from][to];
        if line.cut || self.happens(line.loss) {
            return (None, None);
        }
        (Some(line.delay), self.happens(line.duplicate).then_some(line.delay))
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.unit() < share
    }

    /// Evenly from 0 to 1 (splitmix64).
    fn unit(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_of_one_direction_and_heals() {
        let mut rules = Rules::new(3, 1);
        rules.set(0, 1, Line::cut());
        assert_eq!(rules.fate(0, 1), (None, None));
        assert_eq!(rules.fate(1, 0), (Some(Duration::ZERO), None));
        rules.heal();
        assert_eq!(rules.fate(0, 1), (Some(Duration::ZERO), None));
    }

    #[test]
    fn shares_are_what_they_say() {
        let mut rules = Rules::new(2, 7);
        rules.set(0, 1, "delay=50ms,loss=20%,duplicate=10%".parse().unwrap());
        let fates: Vec<_> = (0..10_000).map(|_| rules.fate(0, 1)).collect();
        let lost = fates.iter().filter(|fate| fate.0.is_none()).count();
        let doubled = fates.iter().filter(|fate| fate.1.is_some()).count();
        assert!((1800..2200).contains(&lost) && (650..950).contains(&doubled), "{lost} {doubled}");
        assert!(fates.iter().all(|fate| fate.0.is_none_or(|late| late == Duration::from_millis(50))));
    }

    #[test]
    fn lines_are_read_or_refused() {
        assert_eq!("cut".parse(), Ok(Line::cut()));
        for bad in ["", "loss=5", "loss=101%", "delay=1s", "slow", "cut=1"] {
            assert!(bad.parse::<Line>().is_err(), "{bad}");
        }
    }
}
