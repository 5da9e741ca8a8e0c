//! Who may do what where: one pure function, through which every access decision of every door goes.
//!
//! A new action is a new row in [`actions`]; no door changes. Roles are ordered, so a row names the least
//! role that may. Invariant: what somebody may not read is to them like what is not there ([`Access::Hidden`]).

use crate::{Identity, Peer, Place, Principal};
use freehold_model::{Role, manifest::Demand};
use std::{fmt, str::FromStr};

/// Who may do an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Anybody who can reach the server.
    Nothing,
    /// Anybody who is signed in.
    SignedIn,
    /// At least this role at the place.
    Role(Role),
    /// A node with a certificate of the house.
    Node,
    /// A node, gateway or device with a certificate of the house.
    Machine,
    /// A control plane with a certificate of the house; at the door for machines alone.
    Control,
    /// A join token in the request, which is proof enough; at the node door alone.
    JoinToken,
}

macro_rules! actions {
    ($($(#[doc = $doc:literal])* $action:ident $name:literal $words:literal $needs:expr;)*) => {
        /// What a request wants to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action { $($(#[doc = $doc])* $action,)* }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Action] = &[$(Action::$action),*];

            /// Its name in the access table and in `freehold access explain`.
            pub fn name(self) -> &'static str {
                match self { $(Action::$action => $name,)* }
            }

            /// Who may do it.
            pub fn needs(self) -> Needs {
                match self { $(Action::$action => $needs,)* }
            }
        }

        impl fmt::Display for Action {
            /// Completes the sentence "They may not …".
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Action::$action => $words,)* })
            }
        }
    };
}

actions! {
    /// To see whether the server is ready, and what it offers.
    Probe "probe" "see the server's health" Needs::Nothing;
    /// To sign in, or to take an invite: what is shown is the proof.
    SignIn "sign-in" "sign in" Needs::Nothing;
    /// To see who one is, and to give up one's own credentials.
    Account "account" "see their own account" Needs::SignedIn;
    /// To see resources, events, receipts and what the machine can do.
    Read "read" "read resources" Needs::Role(Role::Viewer);
    /// To read what workloads print.
    ReadLogs "read-logs" "read logs" Needs::Role(Role::Viewer);
    /// To see what an operation would change.
    Plan "plan" "plan operations" Needs::Role(Role::Developer);
    /// To deploy, roll back and remove.
    Deploy "deploy" "deploy, roll back or remove apps" Needs::Role(Role::Developer);
    /// To decide what runs on the machine itself, behind no wall: to deploy it, or to act inside of it.
    DeployProcess "deploy-process" "decide what runs without a container" Needs::Role(Role::Admin);
    /// To open a way to link-local addresses, where a cloud tells its machines their credentials.
    ReachLinkLocal "reach-link-local" "open link-local addresses to an app" Needs::Role(Role::Admin);
    /// To give an app a port that is the machine's own services' by custom, below 1024.
    ListenLow "listen-low" "give an app a port below 1024" Needs::Role(Role::Admin);
    /// To run a command inside an instance.
    Exec "exec" "run commands in instances" Needs::Role(Role::Developer);
    /// To read images from the registry.
    PullImage "pull-image" "read images" Needs::Role(Role::Viewer);
    /// To write images to the registry, or have it fetch them.
    PushImage "push-image" "write images" Needs::Role(Role::Developer);
    /// To delete images from the registry.
    DeleteImage "delete-image" "delete images" Needs::Role(Role::Admin);
    /// To make, copy, restore and delete volumes.
    ManageVolume "manage-volume" "make, copy, restore or delete volumes" Needs::Role(Role::Developer);
    /// To set secrets and to remove them. Nothing lets anybody read one.
    SetSecret "set-secret" "set or remove secrets" Needs::Role(Role::Developer);
    /// To replace the root key.
    RotateKey "rotate-key" "replace the root key" Needs::Role(Role::Owner);
    /// To see who there is, and what they may.
    ReadPeople "read-people" "see users and tokens" Needs::Role(Role::Admin);
    /// To make tokens, and to revoke them.
    ManageTokens "manage-tokens" "make or revoke tokens" Needs::Role(Role::Admin);
    /// To make users, invite, unlock and remove them, and to end their sessions.
    ManageUsers "manage-users" "manage users" Needs::Role(Role::Admin);
    /// To give roles, and to take them away.
    ManageRoles "manage-roles" "give or take away roles" Needs::Role(Role::Admin);
    /// To make projects.
    ManageProjects "manage-projects" "make projects" Needs::Role(Role::Admin);
    /// To give a project or an org another quota: asked of whoever it is a part of.
    SetQuota "set-quota" "set quotas" Needs::Role(Role::Admin);
    /// To say whether an org's people need a second factor or a passkey.
    RequireSecondFactor "require-second-factor" "say whether people need a second factor" Needs::Role(Role::Owner);
    /// To say how long the event log is kept.
    SetRetention "set-retention" "set how long the log is kept" Needs::Role(Role::Owner);
    /// To say with which other providers people sign in to the house.
    ManageSignIn "manage-sign-in" "say how people sign in" Needs::Role(Role::Owner);
    /// To make orgs.
    ManageOrgs "manage-orgs" "make orgs" Needs::Role(Role::Owner);
    /// To cordon, drain, label, taint and remove nodes.
    ManageNode "manage-node" "operate nodes" Needs::Role(Role::Admin);
    /// To see, make and take back join tokens, and to revoke machines.
    EnrolMachine "enrol-machine" "let machines join, or revoke them" Needs::Role(Role::Admin);
    /// To replace the root or the intermediate of the certificate authority.
    RotateAuthority "rotate-authority" "rotate the certificate authority" Needs::Role(Role::Owner);
    /// To become a machine of the house: the join token is the proof.
    Join "join" "join as a machine" Needs::JoinToken;
    /// To be told what a node should run, and to report on it: for that node, with its certificate.
    ActAsNode "act-as-node" "act as a node" Needs::Node;
    /// To be certified anew, and to be told who one is: with a machine's certificate.
    RenewIdentity "renew-identity" "renew a machine's certificate" Needs::Machine;
    /// To hand calls and images on to another control plane: with a control plane's certificate.
    ActAsControl "act-as-control" "act as a control plane" Needs::Control;
}

impl Action {
    /// What it takes, in the house, to bring about what a release asks of the node beyond its project.
    pub fn meeting(demand: Demand) -> Action {
        match demand {
            Demand::BareProcess => Action::DeployProcess,
            Demand::LinkLocal => Action::ReachLinkLocal,
            Demand::LowPort { .. } => Action::ListenLow,
        }
    }
}

impl FromStr for Action {
    type Err = String;
    fn from_str(text: &str) -> Result<Action, String> {
        Action::ALL.iter().copied().find(|action| action.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
            format!("is no action: use one of {}", names.join(", "))
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
    /// They may not even know that the place is there.
    Hidden,
    /// It is known who it is, and they may not.
    NotAllowed,
}

/// Whether `principal` (`None`: nobody known) may do `action` at `place`.
pub fn decide(principal: Option<&Principal>, action: Action, place: Place) -> Access {
    let needs = action.needs();
    let Some(principal) = principal else {
        return if needs == Needs::Nothing { Access::Granted } else { Access::NotSignedIn };
    };
    let granted = match (needs, principal.identity) {
        (Needs::Nothing, _) => true,
        (Needs::Node, identity) => matches!(identity, Identity::Node(_)),
        (Needs::JoinToken | Needs::Control | Needs::Machine, _) => false,
        (_, Identity::Node(_)) => false,
        (Needs::SignedIn, _) | (_, Identity::Root) => true,
        (Needs::Role(least), _) => {
            // Whoever is in a project may see which org it belongs to.
            let sees_org = action == Action::Read && matches!(place, Place::Org(_));
            principal.role_at(place) >= Some(least) || (sees_org && principal.knows(place))
        }
    };
    match granted {
        true => Access::Granted,
        false if principal.knows(place) => Access::NotAllowed,
        false => Access::Hidden,
    }
}

/// Whether the machine behind a client certificate (`None`: there was none) may do `action`: act as that node,
/// and nothing else.
pub fn decide_peer(peer: Option<&Peer>, action: Action) -> Access {
    match (peer, action.needs()) {
        (_, Needs::JoinToken) => Access::Granted,
        (None, _) => Access::NotSignedIn,
        (Some(_), Needs::Machine) => Access::Granted,
        (Some(peer), Needs::Node) => match peer.node() {
            Some(node) => decide(Some(&Principal::node(node)), action, Place::House),
            None => Access::NotAllowed,
        },
        (Some(_), _) => Access::NotAllowed,
    }
}

#[cfg(test)]
mod tests {
    use super::{Access::*, *};
    use freehold_model::{Binding, OrgId, ProjectId};
    use ulid::Ulid;

    const OURS: OrgId = OrgId(Ulid(1));
    const THEIRS: OrgId = OrgId(Ulid(2));
    const PROJECT: ProjectId = ProjectId(Ulid(3));
    const OTHER: ProjectId = ProjectId(Ulid(4));

    fn principal(role: Role, org: OrgId, project: Option<ProjectId>) -> Principal {
        Principal {
            name: "x".into(),
            identity: Identity::Token(freehold_model::TokenId(Ulid(9))),
            bindings: vec![Binding { role, org, project }],
            house: Some(OURS),
        }
    }

    /// One row per action: what viewer, developer, admin and owner of the place get.
    const TABLE: &[(Action, [bool; 4])] = &[
        (Action::Probe, [true; 4]),
        (Action::SignIn, [true; 4]),
        (Action::Account, [true; 4]),
        (Action::Read, [true; 4]),
        (Action::ReadLogs, [true; 4]),
        (Action::Plan, [false, true, true, true]),
        (Action::Deploy, [false, true, true, true]),
        (Action::DeployProcess, [false, false, true, true]),
        (Action::ReachLinkLocal, [false, false, true, true]),
        (Action::ListenLow, [false, false, true, true]),
        (Action::Exec, [false, true, true, true]),
        (Action::PullImage, [true; 4]),
        (Action::PushImage, [false, true, true, true]),
        (Action::DeleteImage, [false, false, true, true]),
        (Action::ManageVolume, [false, true, true, true]),
        (Action::SetSecret, [false, true, true, true]),
        (Action::RotateKey, [false, false, false, true]),
        (Action::ReadPeople, [false, false, true, true]),
        (Action::ManageTokens, [false, false, true, true]),
        (Action::ManageUsers, [false, false, true, true]),
        (Action::ManageRoles, [false, false, true, true]),
        (Action::ManageProjects, [false, false, true, true]),
        (Action::SetQuota, [false, false, true, true]),
        (Action::RequireSecondFactor, [false, false, false, true]),
        (Action::SetRetention, [false, false, false, true]),
        (Action::ManageSignIn, [false, false, false, true]),
        (Action::ManageOrgs, [false, false, false, true]),
        (Action::ManageNode, [false, false, true, true]),
        (Action::EnrolMachine, [false, false, true, true]),
        (Action::RotateAuthority, [false, false, false, true]),
    ];

    fn of_machines(action: Action) -> bool {
        matches!(action.needs(), Needs::Node | Needs::Machine | Needs::Control | Needs::JoinToken)
    }

    #[test]
    fn every_action_role_and_place_is_decided_as_the_table_says() {
        let listed: Vec<Action> = TABLE.iter().map(|row| row.0).collect();
        let roles: Vec<Action> = Action::ALL.iter().copied().filter(|action| !of_machines(*action)).collect();
        assert_eq!(listed, roles);
        let project = Place::Project { org: OURS, project: PROJECT };
        let foreign = Place::Project { org: THEIRS, project: OTHER };
        for (action, may) in TABLE {
            for (role, may) in Role::ALL.iter().zip(may) {
                let case = format!("{role} {action:?}");
                let org_wide = principal(*role, OURS, None);
                let in_project = principal(*role, OURS, Some(PROJECT));
                let expected = if *may { Granted } else { NotAllowed };
                for place in [project, Place::Org(OURS), Place::House, Place::Anywhere] {
                    assert_eq!(decide(Some(&org_wide), *action, place), expected, "{case} {place:?}");
                }
                assert_eq!(decide(Some(&in_project), *action, project), expected, "{case}");
                let placeless = matches!(action.needs(), Needs::Nothing | Needs::SignedIn);
                let nothing = if placeless { Granted } else { Hidden };
                for place in [foreign, Place::Org(THEIRS)] {
                    assert_eq!(decide(Some(&org_wide), *action, place), nothing, "{case} {place:?}");
                }
                let sibling = Place::Project { org: OURS, project: OTHER };
                assert_eq!(decide(Some(&in_project), *action, sibling), nothing, "{case} sibling");
                // What is the house's is no secret, but it is not a project's either.
                let house = if placeless { Granted } else { NotAllowed };
                assert_eq!(decide(Some(&in_project), *action, Place::House), house, "{case} house");
                assert_eq!(decide(Some(&principal(*role, THEIRS, None)), *action, Place::House), house);
                // The org of one's project may be read, and no more than that.
                let org = if placeless || *action == Action::Read { Granted } else { NotAllowed };
                assert_eq!(decide(Some(&in_project), *action, Place::Org(OURS)), org, "{case} its org");
            }
        }
    }

    #[test]
    fn strangers_the_admin_of_the_directory_and_nodes() {
        let root = Principal::root();
        let node = Principal::node(freehold_model::NodeId(Ulid(7)));
        let nobody = Principal { bindings: vec![], ..principal(Role::Owner, OURS, None) };
        for action in Action::ALL {
            let open = action.needs() == Needs::Nothing;
            let of_nodes = action.needs() == Needs::Node;
            let of_machines = of_machines(*action);
            for place in [Place::House, Place::Org(THEIRS), Place::Anywhere] {
                assert_eq!(decide(None, *action, place), if open { Granted } else { NotSignedIn });
                assert_eq!(decide(Some(&root), *action, place) == Granted, !of_machines, "root {action:?}");
                assert_eq!(
                    decide(Some(&node), *action, place) == Granted,
                    open || of_nodes,
                    "node {action:?}"
                );
                let may = open || *action == Action::Account;
                assert_eq!(decide(Some(&nobody), *action, place) == Granted, may, "nobody {action:?}");
            }
        }
    }

    #[test]
    fn a_machine_may_act_as_a_node_and_nothing_else() {
        let key = crate::KeyFingerprint::of(b"key");
        let peer = Peer { machine: "nod_00000000000000000000000000".parse().unwrap(), key };
        let device = Peer { machine: "dev_00000000000000000000000000".parse().unwrap(), key };
        for action in Action::ALL {
            let (known, unknown) = match action {
                Action::Join => (Granted, Granted),
                Action::ActAsNode | Action::RenewIdentity => (Granted, NotSignedIn),
                _ => (NotAllowed, NotSignedIn),
            };
            let of_device = if *action == Action::ActAsNode { NotAllowed } else { known };
            assert_eq!(decide_peer(Some(&device), *action), of_device, "{action:?}");
            assert_eq!(decide_peer(Some(&peer), *action), known, "{action:?}");
            assert_eq!(decide_peer(None, *action), unknown, "{action:?}");
        }
    }

    #[test]
    fn actions_read_back_their_names() {
        for action in Action::ALL {
            assert_eq!(action.name().parse(), Ok(*action));
        }
        assert!("fly".parse::<Action>().unwrap_err().contains("deploy"));
    }
}
