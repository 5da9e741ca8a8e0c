//! What a control plane knows of itself and the others that work on the same store.

use freehold_model::{
    Code, Problem,
    controls::{ControlPlane, ControlState, Led, Presence},
};
use freehold_reconcile::{TaskBoard, lease::Watched};
use tokio::sync::watch;

/// Every lease, as the keeper of this process last saw it.
#[derive(Debug, Clone)]
pub struct Controls {
    /// The name of this control plane.
    pub own: String,
    /// Given by the keeper.
    pub leases: watch::Receiver<Vec<Watched>>,
    /// What this process does in the background.
    pub tasks: TaskBoard,
}

impl Controls {
    /// Those of a process that is alone.
    pub fn alone(own: &str) -> Controls {
        Controls { own: own.to_owned(), leases: watch::channel(vec![]).1, tasks: TaskBoard::default() }
    }

    /// Every control plane there was, in order of names.
    pub(crate) fn planes(&self) -> Vec<ControlPlane> {
        let leases = self.leases.borrow();
        leases.iter().filter_map(|it| plane(&self.own, it, &leases)).collect()
    }

    /// Where else an image may lie that is not here: the other control planes that live.
    pub(crate) fn elsewhere(&self) -> Option<String> {
        let planes = self.planes();
        let others: Vec<String> = planes
            .iter()
            .filter(|it| !it.answers && it.state == ControlState::Live)
            .map(|it| format!("{} at {}", it.name, it.url))
            .collect();
        (!others.is_empty()).then(|| {
            format!(
                "Images lie with the control plane that they were pushed to, and others fetch them there where it lives and has \
                 a door for nodes (--node-listen). Others that live: {}. Deploy through the one that has it, or push it \
                 here, too.",
                others.join(", ")
            )
        })
    }

    /// Refuses what must not be done while other control planes work.
    pub(crate) fn only_this(&self, what: &str) -> Result<(), Problem> {
        let planes = self.planes();
        let others: Vec<&str> = planes
            .iter()
            .filter(|it| !it.answers && it.state != ControlState::Stopped)
            .map(|it| it.name.as_str())
            .collect();
        if others.is_empty() {
            return Ok(());
        }
        let title = format!("{what} needs the other control planes stopped: {}", others.join(", "));
        Err(Problem::new(Code::Conflict, title).hint(
            "stop them, do it, copy keys/secrets.key to each, start them again; `freehold control list` shows them",
        ))
    }
}

fn plane(own: &str, presence: &Watched, all: &[Watched]) -> Option<ControlPlane> {
    let name = Presence::of(&presence.lease.name)?;
    let said: Presence = serde_json::from_str(&presence.lease.note).ok()?;
    let leads = all.iter().filter(|it| it.lease.holder == name && Presence::of(&it.lease.name).is_none());
    let led =
        |it: &Watched| Led { lease: it.lease.name.clone(), version: it.lease.version, since: it.lease.since };
    Some(ControlPlane {
        name: name.to_owned(),
        url: said.url,
        version: said.version,
        node: said.node,
        node_url: said.node_url,
        state: match presence {
            Watched { live: true, .. } => ControlState::Live,
            Watched { lease, .. } if lease.holder.is_empty() => ControlState::Stopped,
            _ => ControlState::Silent,
        },
        since: presence.lease.since,
        answers: name == own,
        leads: leads.map(led).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::Lease;
    use std::time::Duration;

    fn lease(name: &str, holder: &str, live: bool) -> Watched {
        let note = r#"{"url":"http://x","version":"1","node":false}"#.to_owned();
        let since = jiff::Timestamp::UNIX_EPOCH;
        let lease = Lease { name: name.into(), holder: holder.into(), version: 3, renewals: 1, since, note };
        Watched { lease, silent: Duration::ZERO, live }
    }

    #[test]
    fn each_control_plane_is_told_with_what_it_leads_and_whether_it_lives() {
        let all = vec![
            lease("control/a", "a", true),
            lease("control/b", "b", false),
            lease("control/c", "", false),
            lease("rollout", "a", true),
            lease("teardown", "b", false),
        ];
        let controls = Controls { leases: watch::channel(all).1, ..Controls::alone("a") };
        let planes = controls.planes();
        let states: Vec<_> = planes.iter().map(|it| (it.name.as_str(), it.state, it.leads.len())).collect();
        assert_eq!(
            states,
            [("a", ControlState::Live, 1), ("b", ControlState::Silent, 1), ("c", ControlState::Stopped, 0)]
        );
        assert!(planes[0].answers && planes[0].leads[0].lease == "rollout");
        let refused = controls.only_this("it").unwrap_err();
        assert!(refused.title.contains(": b"), "one that is silent may wake up: {refused:?}");
        assert!(Controls::alone("a").only_this("it").is_ok());
        let elsewhere = Controls { own: "b".into(), ..controls }.elsewhere().unwrap();
        assert!(elsewhere.contains("a at http://x") && !elsewhere.contains("c at"), "{elsewhere}");
        assert_eq!(Controls::alone("a").elsewhere(), None);
    }
}
