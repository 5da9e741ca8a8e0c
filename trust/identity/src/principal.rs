//! Who acts, once they proved it: their name, what proved it, and what they are where.
//!
//! Doors make one for each request and ask [`crate::decide`] with it.

use crate::Place;
use freehold_model::{Actor, Binding, NodeId, OrgId, Role, SessionId, TokenId, UserId};

/// Somebody who proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Their name, unique among those of the same identity's kind.
    pub name: String,
    /// What they are.
    pub identity: Identity,
    /// What they may be, and where.
    pub bindings: Vec<Binding>,
    /// The org that the house belongs to; who is something there is that in the house.
    pub house: Option<OrgId>,
}

/// The kinds of principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Whoever has the token of the data directory: the owner of the house, who may do everything.
    Root,
    /// A person who signed in.
    User {
        /// Who.
        user: UserId,
        /// By which session.
        session: SessionId,
    },
    /// A machine with a token.
    Token(TokenId),
    /// A node with a certificate: it may act as itself, and nothing else.
    Node(NodeId),
}

impl Principal {
    /// The owner of the data directory.
    pub fn root() -> Principal {
        Principal { name: "admin".into(), identity: Identity::Root, bindings: vec![], house: None }
    }

    /// A node.
    pub fn node(id: NodeId) -> Principal {
        Principal { name: id.to_string(), identity: Identity::Node(id), bindings: vec![], house: None }
    }

    /// As events and receipts name them.
    pub fn actor(&self) -> Actor {
        match self.identity {
            Identity::Root | Identity::User { .. } => Actor::User(self.name.clone()),
            Identity::Token(_) => Actor::Token(self.name.clone()),
            Identity::Node(_) => Actor::Node(self.name.clone()),
        }
    }

    /// Whether this is the owner of the data directory.
    pub fn is_root(&self) -> bool {
        self.identity == Identity::Root
    }

    /// What they are at `place`.
    pub fn role_at(&self, place: Place) -> Option<Role> {
        if self.is_root() {
            return Some(Role::Owner);
        }
        self.binding_at(place).map(|binding| binding.role)
    }

    /// The binding that says so: the strongest that holds there.
    pub fn binding_at(&self, place: Place) -> Option<&Binding> {
        let holds = |binding: &&Binding| match place {
            Place::Anywhere => true,
            Place::House => Some(binding.org) == self.house && binding.project.is_none(),
            Place::Org(org) => binding.org == org && binding.project.is_none(),
            Place::Project { org, project } => {
                binding.org == org && binding.project.is_none_or(|only| only == project)
            }
        };
        self.bindings.iter().filter(holds).max_by_key(|binding| binding.role)
    }

    /// Whether they may know that `place` is there.
    pub(crate) fn knows(&self, place: Place) -> bool {
        match place {
            Place::Org(org) => self.is_root() || self.bindings.iter().any(|binding| binding.org == org),
            Place::Project { .. } => self.role_at(place).is_some(),
            Place::House | Place::Anywhere => true,
        }
    }
}
