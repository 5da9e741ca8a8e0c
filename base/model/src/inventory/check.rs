//! What a schema cannot say of an inventory: names are unique, and whoever is named is there.

use super::{FORMAT, Inventory, Listed};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{collections::BTreeSet, fmt::Display};

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct Fault {
    /// As in `addresses[3].owner`; `line 7 column 2` where it is no such document at all.
    pub at: String,
    /// What is wrong, and the way out.
    pub problem: String,
}

fn fault(at: impl Display, problem: impl Into<String>) -> Fault {
    Fault { at: at.to_string(), problem: problem.into() }
}

impl Inventory {
    /// Reads a document.
    ///
    /// # Errors
    /// Everything that is wrong with it, or the first thing where it cannot be read at all.
    pub fn parse(text: &[u8]) -> Result<Inventory, Vec<Fault>> {
        let read: Result<Inventory, _> = serde_json::from_slice(text);
        let inventory = read.map_err(|error| {
            let at = format!("line {} column {}", error.line(), error.column());
            let text = error.to_string();
            let problem = text.split(" at line ").next().unwrap_or(&text).to_owned();
            vec![fault(at, format!("{problem} (docs/inventory.schema.json says what is)"))]
        })?;
        let faults = inventory.faults();
        if faults.is_empty() { Ok(inventory) } else { Err(faults) }
    }

    fn faults(&self) -> Vec<Fault> {
        let mut faults = vec![];
        if self.format != FORMAT {
            let problem = format!("is {}, and this Freehold reads format {FORMAT}", self.format);
            faults.push(fault("format", problem));
        }
        let mut known = BTreeSet::new();
        let nodes = self.nodes.iter().map(|node| Listed::Node(node.name.clone()));
        let devices = self.devices.iter().map(|device| Listed::Device(device.name.clone()));
        let placed = |list: &'static str| move |(n, one): (usize, Listed)| (format!("{list}[{n}].name"), one);
        let all = nodes.enumerate().map(placed("nodes")).chain(devices.enumerate().map(placed("devices")));
        for (at, one) in all {
            if !known.insert(one.clone()) {
                faults.push(fault(at, format!("there are two called {one}: give one of them another name")));
            }
        }
        for (n, device) in self.devices.iter().enumerate() {
            if let Some(key) = device.public_key.as_ref().filter(|key| !is_key(key)) {
                let problem = format!("is {} characters and no WireGuard key: 32 bytes in base64", key.len());
                faults.push(fault(format!("devices[{n}].public_key"), problem));
            }
        }
        let absent = |one: &Listed| format!("there is no {one} in the document: add it, or name another");
        let mut taken = BTreeSet::new();
        for (n, listed) in self.addresses.iter().enumerate() {
            if !taken.insert(listed.address) {
                let problem = format!("{} is listed twice: an address has one owner", listed.address);
                faults.push(fault(format!("addresses[{n}].address"), problem));
            }
            if !known.contains(&listed.owner) {
                faults.push(fault(format!("addresses[{n}].owner"), absent(&listed.owner)));
            }
        }
        for (n, entry) in self.audit.iter().enumerate() {
            if !known.contains(&entry.subject) {
                faults.push(fault(format!("audit[{n}].subject"), absent(&entry.subject)));
            }
            if !is_verb(&entry.what) {
                let problem = format!("`{}` is not written as `kind.verb`, in small letters", entry.what);
                faults.push(fault(format!("audit[{n}].what"), problem));
            }
            if entry.actor.trim().is_empty() {
                faults.push(fault(format!("audit[{n}].actor"), "says nobody"));
            }
        }
        faults
    }
}

fn is_key(text: &str) -> bool {
    STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

fn is_verb(text: &str) -> bool {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
    text.split_once('.').is_some_and(|(kind, verb)| word(kind) && word(verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let faults = Inventory::parse(text.as_bytes()).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_fault_is_told_at_its_place() {
        let text = r#"{"format": 2, "nodes": [{"name": "nas"}, {"name": "nas"}],
            "devices": [{"name": "phone", "public_key": "c2hvcnQ="}],
            "addresses": [{"address": "10.0.0.1", "owner": "node/nas"}, {"address": "10.0.0.1", "owner": "device/tv"}],
            "audit": [{"time": "2020-01-01T00:00:00Z", "actor": " ", "what": "Enrolled", "subject": "node/gone"}]}"#;
        let said = said(text);
        for place in [
            "format: is 2",
            "nodes[1].name: there are two called node/nas",
            "devices[0].public_key: ",
            "addresses[1].address: 10.0.0.1 is listed twice",
            "addresses[1].owner: there is no device/tv",
            "audit[0].subject: there is no node/gone",
            "audit[0].what: `Enrolled`",
            "audit[0].actor: ",
        ] {
            assert!(said.contains(place), "`{place}` is not in\n{said}");
        }
    }

    #[test]
    fn what_is_no_such_document_says_where() {
        assert!(said("{\"format\": 1,\n \"nodse\": []}").contains("line 2 column"));
        assert!(
            said("{\"format\": 1, \"addresses\": [{\"address\": \"10.0.0\", \"owner\": \"node/a\"}]}")
                .contains("line 1")
        );
        assert!(said("[]").contains("line 1"));
        assert!(said("").contains("line 1"));
        let deep = "[".repeat(100_000);
        assert!(said(&format!("{{\"format\": 1, \"nodes\": {deep}")).contains("line 1"));
    }
}
