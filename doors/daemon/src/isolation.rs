//! Records what a node says of its own surroundings: whether it keeps its instances apart, as a condition, and
//! what others had taken away and is there again, as events.

use freehold_agent::{ControlError, NodeReport, Noticed};
use freehold_model::{Actor, CommitError, Condition, Node, NodeId, NodeSpec, NodeStatus, Txn};
use freehold_reconcile::{Store, ViewExt as _};
use jiff::Timestamp;
use serde_json::json;

/// The most tries of a commit that others came before.
const ATTEMPTS: usize = 8;

/// Commits what is news; a node that is gone has none.
pub(crate) async fn record(store: &dyn Store, node: NodeId, report: &NodeReport) -> Result<(), ControlError> {
    for _ in 0..ATTEMPTS {
        let view = store.view().await.map_err(unavailable)?;
        let Some(known) = view.find::<NodeSpec>(node).map_err(unavailable)? else { return Ok(()) };
        drop(view);
        let Some(txn) = news(known, report, Timestamp::now()) else { return Ok(()) };
        match store.commit(txn).await {
            Ok(_) | Err(CommitError::Missing { .. }) => return Ok(()),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(unavailable(error)),
        }
    }
    Err(ControlError::Unavailable("others keep writing to the same node".into()))
}

/// A condition that a node tells of, and how it is said.
struct Told {
    kind: &'static str,
    /// The reasons when it does not hold, and when it does again.
    reasons: [&'static str; 2],
    /// The events, likewise.
    events: [&'static str; 2],
    /// What is said when it holds again.
    well: &'static str,
}

const ISOLATION: Told = Told {
    kind: NodeStatus::ISOLATION,
    reasons: ["PacketFilter", "Guarded"],
    events: ["node.unguarded", "node.guarded"],
    well: "the packet filter is as it was set",
};
const RANGE: Told = Told {
    kind: NodeStatus::RANGE,
    reasons: ["Used", "Free"],
    events: ["node.range_used", "node.range_free"],
    well: "nobody else uses the range of instances",
};

const NETWORK: Told = Told {
    kind: NodeStatus::NETWORK,
    reasons: ["NotPutBack", "Whole"],
    events: ["node.network_broken", "node.network_whole"],
    well: "links, addresses and routes of instances are as they were made",
};

fn news(known: Node, report: &NodeReport, now: Timestamp) -> Option<Txn> {
    let id = known.id;
    let mut txn = Txn::new(Actor::Node(id.to_string()), "observed", "agent");
    let mut status = known.status.clone();
    for (told, why) in
        [(ISOLATION, &report.unguarded), (RANGE, &report.range_used), (NETWORK, &report.lasting)]
    {
        if let Some((event, data)) = told.apply(&mut status, why.as_deref(), now) {
            txn.event(id, event, data);
        }
    }
    if status != known.status {
        txn.put_status(&Node { status, ..known });
    } else if report.healed.is_empty() {
        return None;
    }
    for healed in &report.healed {
        let noticed = match healed.noticed {
            Noticed::Notified => "notified",
            Noticed::Looked => "looked",
        };
        let data = json!({
            "message": healed.what, "noticed": noticed, "gone_ms": healed.gone, "times": healed.times,
        });
        txn.event(id, "node.healed", data);
    }
    Some(txn)
}

impl Told {
    /// Writes it down where it is news, and answers with the event when it begins or ends.
    fn apply(
        &self,
        status: &mut NodeStatus,
        why: Option<&str>,
        now: Timestamp,
    ) -> Option<(&'static str, serde_json::Value)> {
        let old = status.conditions.iter().find(|it| it.kind == self.kind).cloned();
        let was = old.as_ref().filter(|it| !it.state).map(|it| it.message.clone());
        if was.as_deref() == why {
            return None;
        }
        let (state, which) = (why.is_none(), usize::from(why.is_none()));
        let condition = Condition {
            kind: self.kind.into(),
            state,
            reason: self.reasons[which].into(),
            message: why.unwrap_or(self.well).into(),
            since: old.filter(|it| it.state == state).map_or(now, |it| it.since),
        };
        status.conditions.retain(|it| it.kind != self.kind);
        status.conditions.push(condition);
        let turned = was.is_some() != why.is_some();
        turned.then(|| (self.events[which], json!({ "message": why.unwrap_or(self.well) })))
    }
}

fn unavailable(error: impl std::fmt::Display) -> ControlError {
    ControlError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_agent::Healed;
    use freehold_model::Resource;

    fn node(conditions: &[Condition]) -> Node {
        let status = NodeStatus { conditions: conditions.to_vec(), ..NodeStatus::default() };
        let id = "nod_01jd0000000000000000000000".parse().unwrap();
        Resource { status, ..Resource::new(id, "here", None, NodeSpec::default(), Timestamp::UNIX_EPOCH) }
    }

    fn events(txn: &Txn) -> Vec<&str> {
        txn.events.iter().map(|event| event.what.as_str()).collect()
    }

    #[test]
    fn only_what_is_news_is_written() {
        let now = Timestamp::UNIX_EPOCH;
        let healed = Healed { what: "x".into(), noticed: Noticed::Notified, gone: 5, times: 1 };
        let broken = NodeReport { unguarded: Some("the table is gone".into()), ..NodeReport::default() };
        assert!(news(node(&[]), &NodeReport::default(), now).is_none(), "an idle house writes nothing");
        let txn = news(node(&[]), &broken, now).unwrap();
        assert_eq!((txn.writes.len(), events(&txn)), (1, vec!["node.unguarded"]));
        let condition = Condition {
            kind: NodeStatus::ISOLATION.into(),
            state: false,
            reason: "PacketFilter".into(),
            message: "the table is gone".into(),
            since: now,
        };
        assert!(news(node(std::slice::from_ref(&condition)), &broken, now).is_none(), "it is known");
        let well = NodeReport { healed: vec![healed], ..NodeReport::default() };
        let txn = news(node(&[condition]), &well, now).unwrap();
        assert_eq!((txn.writes.len(), events(&txn)), (1, vec!["node.guarded", "node.healed"]));
        let txn = news(node(&[]), &well, now).unwrap();
        assert_eq!((txn.writes.len(), events(&txn)), (0, vec!["node.healed"]));
    }
    #[test]
    fn whoever_comes_into_the_range_is_said_once() {
        let used = NodeReport { range_used: Some("the interface tun0".into()), ..NodeReport::default() };
        let txn = news(node(&[]), &used, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((txn.writes.len(), events(&txn)), (1, vec!["node.range_used"]));
    }
}
