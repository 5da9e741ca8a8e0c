//! Why instances are where they are, for people: a line of why here, and a few of why not elsewhere.
//!
//! Used by plans and by descriptions of instances.

use super::Paint;
use freehold_model::{Displaced, Elsewhere, Placed};
use serde_json::Value;

/// So many reasons of why not elsewhere are shown; `--json` has all that are kept.
const SHOWN: usize = 4;

/// Why not elsewhere, indented.
pub(crate) fn elsewhere(all: &[Elsewhere], paint: Paint) -> Vec<String> {
    let shown = all.iter().take(SHOWN).map(|one| paint.dim(&format!("    not {one}")));
    let more = all.len().saturating_sub(SHOWN);
    let rest = (more > 0).then(|| paint.dim(&format!("    and {more} more reasons; --json shows them")));
    shown.chain(rest).collect()
}

/// Who makes room, one a line.
pub(crate) fn displaces(all: &[Displaced], paint: Paint) -> Vec<String> {
    all.iter().map(|one| format!("    {} {one}", paint.note("pre-empts"))).collect()
}

/// The placement that an instance's spec keeps.
pub(crate) fn kept(spec: &Value, paint: Paint) -> Vec<String> {
    let placed: Option<Placed> = spec.get("placed").and_then(|it| serde_json::from_value(it.clone()).ok());
    let Some(placed) = placed.filter(|it| !it.reason.is_empty() || it.preempted.is_some()) else {
        return vec![];
    };
    let mut lines = vec![paint.bold("placement, as it was decided")];
    lines.push(format!("  here: {}", placed.reason));
    if !placed.scores.is_empty() {
        lines.push(paint.dim(&format!("    {}", placed.scores)));
    }
    if placed.priority != 0 {
        lines.push(format!("  priority {}", placed.priority));
    }
    lines.extend(displaces(&placed.displaced, paint));
    let others = placed.room_of.iter().filter(|id| placed.displaced.iter().all(|it| it.instance != **id));
    let others: Vec<String> = others.map(ToString::to_string).collect();
    if !others.is_empty() {
        lines.push(format!("  starts when these are gone too: {}", others.join(", ")));
    }
    lines.extend(elsewhere(&placed.elsewhere, paint));
    lines.extend(placed.preempted.iter().map(|it| format!("  {}", paint.note(&it.to_string()))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_why_here_and_why_not_there() {
        let spec = serde_json::json!({"placed": {
            "reason": "the only one of 3 nodes that can take it", "scores": "1GiB of memory left before it",
            "elsewhere": [
                {"nodes": ["attic"], "why": "is cordoned"},
                {"nodes": ["a", "b", "c"], "more": 4, "why": "too little memory left"},
            ],
        }});
        assert_eq!(
            kept(&spec, Paint::plain()).join("\n"),
            "placement, as it was decided\n  here: the only one of 3 nodes that can take it\n    \
             1GiB of memory left before it\n    not attic: is cordoned\n    not a, b, c and 4 more: too little \
             memory left"
        );
        assert!(kept(&serde_json::json!({}), Paint::plain()).is_empty());
    }

    #[test]
    fn it_says_who_made_room_and_for_whom() {
        let (one, two) = ("ins_00000000000000000000000001", "ins_00000000000000000000000002");
        let spec = serde_json::json!({"placed": {
            "reason": "no node has room", "priority": 100, "room_of": [one, two],
            "displaced": [{"instance": one, "of": "wiki/prod web", "priority": -1}],
            "preempted": {"by": two, "of": "db/prod db", "priority": 200, "at": "2026-01-01T00:00:00Z"},
        }});
        let wanted = format!(
            "placement, as it was decided\n  here: no node has room\n  priority 100\n    pre-empts wiki/prod web \
             ({one}, priority -1)\n  starts when these are gone too: {two}\n  pre-empted by db/prod db ({two}, \
             priority 200) at 2026-01-01T00:00:00Z"
        );
        assert_eq!(kept(&spec, Paint::plain()).join("\n"), wanted);
    }
}
