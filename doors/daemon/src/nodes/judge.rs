//! Judges whether a node is lost. Pure: what one control plane heard itself, what is written of the others.
//!
//! Called by [`super::pulses`]. Each control plane adds itself to those that hear a node and takes itself out
//! again; of others it takes out only those that are gone. A node is lost when nobody is left. Invariants: a
//! node that some living control plane hears is not lost, whoever else does not hear it; whoever has not had a
//! whole lease to listen in says nothing of nodes but that it hears them.

use std::collections::BTreeSet;

/// What this control plane heard of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It beats.
    Beats,
    /// It has a lease, and did not use it yet: this control plane began, or woke up, a moment ago.
    Awaited,
    /// Nothing for the length of a lease.
    Silent,
}

/// What is written of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// The control planes that hear it.
    pub(super) by: BTreeSet<String>,
    /// Whether it is lost.
    pub(super) lost: bool,
}

/// What is to be written instead, if anything. `gone` says of other control planes whether they were dead for
/// the length of a lease: so long their nodes had time to be heard by others.
pub(super) fn judge(
    own: &str,
    heard: Heard,
    gone: impl Fn(&str) -> bool,
    written: &Written,
) -> Option<Written> {
    let stays = |name: &str| if name == own { heard != Heard::Silent } else { !gone(name) };
    let mut by: BTreeSet<String> = written.by.iter().filter(|name| stays(name)).cloned().collect();
    if heard == Heard::Beats {
        by.insert(own.to_owned());
    }
    if by.is_empty() && heard == Heard::Awaited {
        return None;
    }
    let judged = Written { lost: by.is_empty(), by };
    (judged != *written).then_some(judged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(by: &[&str], lost: bool) -> Written {
        Written { by: by.iter().map(|it| (*it).to_owned()).collect(), lost }
    }

    #[test]
    fn the_table() {
        use Heard::{Awaited, Beats, Silent};
        let none: &[&str] = &[];
        // What is written, what `a` heard, who is gone, what comes of it.
        let table = [
            (written(none, false), Beats, none, Some(written(&["a"], false))),
            (written(&["a"], false), Beats, none, None),
            (written(&["b"], false), Beats, none, Some(written(&["a", "b"], false))),
            (written(none, true), Beats, none, Some(written(&["a"], false))),
            // Its own silence is its own alone.
            (written(&["a", "b"], false), Silent, none, Some(written(&["b"], false))),
            (written(&["b"], false), Silent, none, None),
            (written(&["a"], false), Silent, none, Some(written(none, true))),
            (written(none, true), Silent, none, None),
            // Written before there was anything to be heard by, and heard by nobody.
            (written(none, false), Silent, none, Some(written(none, true))),
            (written(none, false), Awaited, none, None),
            // A dead control plane's nodes: heard here, or lost.
            (written(&["a", "b"], false), Beats, &["b"], Some(written(&["a"], false))),
            (written(&["b"], false), Silent, &["b"], Some(written(none, true))),
            (written(&["b", "c"], false), Silent, &["b"], Some(written(&["c"], false))),
            // Who has just begun knows nothing yet.
            (written(&["b"], false), Awaited, &["b"], None),
            (written(&["a"], false), Awaited, none, None),
            (written(none, true), Awaited, none, None),
        ];
        for (before, heard, gone, expected) in table {
            let judged = judge("a", heard, |name| gone.contains(&name), &before);
            assert_eq!(judged, expected, "{before:?}, {heard:?}, gone: {gone:?}");
        }
    }

    #[derive(Debug, Clone)]
    enum Happens {
        Hears(usize, bool),
        Dies(usize, bool),
        Judges(usize),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            (0..3usize, any::<bool>()).prop_map(|(who, hears)| Happens::Hears(who, hears)),
            (0..3usize, any::<bool>()).prop_map(|(who, dead)| Happens::Dies(who, dead)),
            (0..3usize).prop_map(Happens::Judges),
        ]
    }

    const NAMES: [&str; 3] = ["a", "b", "c"];

    proptest! {
        /// Three control planes in any order: while one that lives hears the node and has said so, it is not
        /// lost; when all have judged and none that lives hears it, it is; and then nothing changes any more.
        #[test]
        fn they_agree(story in prop::collection::vec(happens(), 0..60)) {
            let (mut hears, mut dead) = ([false; 3], [false; 3]);
            let mut now = written(&[], false);
            let turn = |who: usize, hears: &[bool; 3], dead: &[bool; 3], now: &Written| {
                let heard = if hears[who] { Heard::Beats } else { Heard::Silent };
                let gone = |name: &str| dead[NAMES.iter().position(|it| *it == name).unwrap()];
                judge(NAMES[who], heard, gone, now)
            };
            for happened in story {
                match happened {
                    Happens::Hears(who, it) => hears[who] = it,
                    Happens::Dies(who, it) => dead[who] = it,
                    Happens::Judges(who) if !dead[who] => {
                        now = turn(who, &hears, &dead, &now).unwrap_or(now);
                        prop_assert!(!hears[who] || (!now.lost && now.by.contains(NAMES[who])));
                        prop_assert_eq!(now.lost, now.by.is_empty());
                    }
                    Happens::Judges(_) => {}
                }
            }
            let living: Vec<usize> = (0..3).filter(|who| !dead[*who]).collect();
            for who in &living {
                now = turn(*who, &hears, &dead, &now).unwrap_or(now);
            }
            if !living.is_empty() {
                prop_assert_eq!(now.lost, living.iter().all(|who| !hears[*who]));
                prop_assert!(living.iter().all(|who| turn(*who, &hears, &dead, &now).is_none()));
            }
        }
    }
}
