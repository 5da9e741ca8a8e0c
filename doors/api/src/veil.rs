//! Names of nodes, for who may see nodes: to everybody else a plan or a refusal says what it says without them.
//!
//! A node's id stands in every instance and tells nothing; its name may tell what it is and where.

use crate::who::Who;
use freehold_identity::{Action, Place};
use freehold_model::{NodeSpec, Plan, Problem};
use freehold_reconcile::{StoreError, View, ViewExt as _};

/// What stands for a name.
const VEILED: &str = "…";

/// The names that somebody may not read.
pub(crate) struct Veil(Vec<String>);

impl Veil {
    /// None for who may see nodes.
    pub(crate) fn of(view: &dyn View, who: &Who) -> Result<Veil, StoreError> {
        if who.may(Action::Read, Place::House) {
            return Ok(Veil(vec![]));
        }
        Ok(Veil(view.all::<NodeSpec>(None)?.into_iter().map(|node| node.name).collect()))
    }

    /// The plan without them; its hash is the same, since they are not part of it.
    pub(crate) fn plan(&self, mut plan: Plan) -> Plan {
        if self.0.is_empty() {
            return plan;
        }
        for placement in &mut plan.placement {
            placement.node_name = placement.node.to_string();
            placement.elsewhere.clear();
        }
        // They say on which nodes.
        plan.notes.clear();
        plan.blockers = plan.blockers.into_iter().map(|problem| self.problem(problem)).collect();
        plan
    }

    /// A problem without them.
    pub(crate) fn problem(&self, problem: Problem) -> Problem {
        let detail = problem.detail.map(|text| self.text(&text));
        Problem { title: self.text(&problem.title), detail, ..problem }
    }

    /// A sentence without them: `node tower lacks …` is `node … lacks …`.
    pub(crate) fn text(&self, text: &str) -> String {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let (mut told, mut rest, mut listing) = (String::new(), text, false);
        while let Some(c) = rest.chars().next() {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(if end == 0 { c.len_utf8() } else { end });
            let named = listing && self.0.iter().any(|name| name == word);
            told += if named { VEILED } else { word };
            // `node a, b and 3 more`: what follows one is another.
            listing = match word {
                "node" | "nodes" => true,
                " " | "," | "and" | "`" => listing,
                _ => named,
            };
            rest = after;
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes_go_and_the_same_words_elsewhere_stay() {
        let veil = Veil(vec!["web".into(), "tower-1".into()]);
        for (text, told) in [
            ("web: 1 of 2 new instances", "web: 1 of 2 new instances"),
            ("node tower-1 lacks 10m; node web is cordoned", "node … lacks 10m; node … is cordoned"),
            (
                "node tower-1, web and 3 more: has no room for web",
                "node …, … and 3 more: has no room for web",
            ),
            ("node attic does", "node attic does"),
        ] {
            assert_eq!(veil.text(text), told);
        }
        assert_eq!(Veil(vec![]).text("node web"), "node web");
    }
}
