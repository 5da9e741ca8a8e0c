//! The file after its keys and types were checked: plain data that still knows its places.

use super::{keys::PROBES, report::Span};
use std::collections::BTreeMap;

/// A value, with the place of its key and its own.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where its key is; for an element of a list, where the element is.
    pub(super) key: Span,
    pub(super) span: Span,
    pub(super) data: Data,
}

/// What a value holds.
#[derive(Debug, Clone)]
pub(super) enum Data {
    Text(String),
    Integer(i64),
    True,
    List(Vec<Node>),
    Table(Fields),
    /// It is there, and it is wrong: it was reported, and nothing more is to be said about it.
    Broken,
}

/// The entries of a table.
pub(super) type Fields = BTreeMap<String, Node>;

impl Node {
    /// The entry of a table.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.fields()?.get(name)
    }

    /// The entries of a table.
    pub(super) fn fields(&self) -> Option<&Fields> {
        if let Data::Table(fields) = &self.data { Some(fields) } else { None }
    }

    /// The elements of a list; none, where it is not there or broken.
    pub(super) fn list(&self, name: &str) -> &[Node] {
        if let Some(Node { data: Data::List(list), .. }) = self.get(name) { list } else { &[] }
    }

    /// The text of an entry, if it is there and whole.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        if let Data::Text(text) = &self.get(name)?.data { Some(text) } else { None }
    }

    /// The number of an entry, if it is there and whole.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        if let Data::Integer(number) = self.get(name)?.data { Some(number) } else { None }
    }

    /// This with `over` laid over it: tables key by key, anything else replaced.
    pub(super) fn merged(&self, over: &Node) -> Node {
        let (Data::Table(base), Data::Table(over_fields)) = (&self.data, &over.data) else {
            return over.clone();
        };
        let mut fields = base.clone();
        for (name, value) in over_fields {
            let merged = match base.get(name) {
                Some(old) if name == "check" => old.without_replaced_probe(value).merged(value),
                Some(old) => old.merged(value),
                None => value.clone(),
            };
            fields.insert(name.clone(), merged);
        }
        Node { data: Data::Table(fields), ..over.clone() }
    }

    /// A check has one probe: one laid over another takes its place.
    fn without_replaced_probe(&self, over: &Node) -> Node {
        let mut check = self.clone();
        if let Data::Table(fields) = &mut check.data
            && PROBES.iter().any(|probe| over.get(probe).is_some())
        {
            let unused = if over.get("command").is_some() { "port" } else { "" };
            fields.retain(|name, _| !PROBES.contains(&name.as_str()) && name != unused);
        }
        check
    }
}
