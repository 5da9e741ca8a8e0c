//! Who may do what: one pure function, through which every access decision of every door goes.
//!
//! A new role is a new row in [`Role::may`] and in the table test; no door changes.

use crate::Peer;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Somebody who proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// As it appears in events and receipts.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// What a principal may do, as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
}

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// To see whether the server is ready, and what it offers: open to anybody who can reach it.
    Probe,
    /// To see resources, events, receipts and what the machine can do.
    Read,
    /// To read what workloads print.
    ReadLogs,
    /// To see what an operation would change.
    Plan,
    /// To deploy, roll back and remove.
    Deploy,
    /// To run a command inside an instance.
    Exec,
    /// To read images from the registry.
    PullImage,
    /// To write images to the registry, or have it fetch them.
    PushImage,
    /// To delete images from the registry.
    DeleteImage,
    /// To make, copy, restore and delete volumes.
    ManageVolume,
    /// To set secrets and to remove them. Nothing lets anybody read one.
    SetSecret,
    /// To replace the root key.
    RotateKey,
    /// To see, make and take back join tokens, and to revoke machines.
    EnrolMachine,
    /// To replace the root or the intermediate of the certificate authority.
    RotateAuthority,
    /// To become a machine of the house: the join token is the proof.
    Join,
    /// To be told what a node should run, and to report on it: for that node, with its certificate.
    ActAsNode,
}

impl Action {
    /// Every action.
    pub const ALL: &'static [Action] = &[
        Action::Probe,
        Action::Read,
        Action::ReadLogs,
        Action::Plan,
        Action::Deploy,
        Action::Exec,
        Action::PullImage,
        Action::PushImage,
        Action::DeleteImage,
        Action::ManageVolume,
        Action::SetSecret,
        Action::RotateKey,
        Action::EnrolMachine,
        Action::RotateAuthority,
        Action::Join,
        Action::ActAsNode,
    ];
}

impl fmt::Display for Action {
    /// Completes the sentence "This token may not …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Probe => "see the server's health",
            Action::Read => "read resources",
            Action::ReadLogs => "read logs",
            Action::Plan => "plan operations",
            Action::Deploy => "deploy, roll back or remove apps",
            Action::Exec => "run commands in instances",
            Action::PullImage => "read images",
            Action::PushImage => "write images",
            Action::DeleteImage => "delete images",
            Action::ManageVolume => "make, copy, restore or delete volumes",
            Action::SetSecret => "set or remove secrets",
            Action::RotateKey => "replace the root key",
            Action::EnrolMachine => "let machines join, or revoke them",
            Action::RotateAuthority => "rotate the certificate authority",
            Action::Join => "join as a machine",
            Action::ActAsNode => "act as a node",
        })
    }
}

/// The answer to "may they".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// They may.
    Granted,
    /// Nobody knows who it is: signing in can help.
    NotSignedIn,
    /// It is known who it is, and they may not.
    NotAllowed,
}

/// Whether `principal` (`None`: nobody known) may do `action`.
pub fn decide(principal: Option<&Principal>, action: Action) -> Access {
    match principal {
        _ if action == Action::Probe => Access::Granted,
        None => Access::NotSignedIn,
        // No token is a machine: see `decide_peer`.
        Some(_) if matches!(action, Action::ActAsNode | Action::Join) => Access::NotAllowed,
        Some(principal) if principal.role.may(action) => Access::Granted,
        Some(_) => Access::NotAllowed,
    }
}

/// Whether the machine behind a client certificate (`None`: there was none) may do `action`.
pub fn decide_peer(peer: Option<&Peer>, action: Action) -> Access {
    match (peer, action) {
        // The token in the request is the proof.
        (_, Action::Join) => Access::Granted,
        (None, _) => Access::NotSignedIn,
        (Some(_), Action::ActAsNode) => Access::Granted,
        (Some(_), _) => Access::NotAllowed,
    }
}

impl Role {
    fn may(self, _action: Action) -> bool {
        match self {
            Role::Admin => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Access::*;

    /// One row per action: what an anonymous caller gets, what an admin gets.
    const TABLE: &[(Action, Access, Access)] = &[
        (Action::Probe, Granted, Granted),
        (Action::Read, NotSignedIn, Granted),
        (Action::ReadLogs, NotSignedIn, Granted),
        (Action::Plan, NotSignedIn, Granted),
        (Action::Deploy, NotSignedIn, Granted),
        (Action::Exec, NotSignedIn, Granted),
        (Action::PullImage, NotSignedIn, Granted),
        (Action::PushImage, NotSignedIn, Granted),
        (Action::DeleteImage, NotSignedIn, Granted),
        (Action::ManageVolume, NotSignedIn, Granted),
        (Action::SetSecret, NotSignedIn, Granted),
        (Action::RotateKey, NotSignedIn, Granted),
        (Action::EnrolMachine, NotSignedIn, Granted),
        (Action::RotateAuthority, NotSignedIn, Granted),
        (Action::Join, NotSignedIn, NotAllowed),
        (Action::ActAsNode, NotSignedIn, NotAllowed),
    ];

    #[test]
    fn a_machine_may_act_as_a_node_and_nothing_else() {
        let key = crate::KeyFingerprint::of(b"key");
        let peer = Peer { node: "nod_00000000000000000000000000".parse().unwrap(), key };
        for action in Action::ALL {
            let (known, unknown) = match action {
                Action::Join => (Granted, Granted),
                Action::ActAsNode => (Granted, NotSignedIn),
                _ => (NotAllowed, NotSignedIn),
            };
            assert_eq!(decide_peer(Some(&peer), *action), known, "{action:?}");
            assert_eq!(decide_peer(None, *action), unknown, "{action:?}");
        }
    }

    #[test]
    fn every_action_and_role_is_in_the_table_and_decided_as_it_says() {
        let admin = Principal { name: "admin".into(), role: Role::Admin };
        let listed: Vec<Action> = TABLE.iter().map(|row| row.0).collect();
        assert_eq!(listed, Action::ALL);
        for (action, anonymous, admins) in TABLE {
            assert_eq!(decide(None, *action), *anonymous, "anonymous, {action:?}");
            assert_eq!(decide(Some(&admin), *action), *admins, "admin, {action:?}");
        }
    }
}
