//! What the apps of an org or of a project may use together.

use crate::{AnyId, Bytes, Millicores, Rate};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Limits; what is not given is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Processor time of all instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Millicores>,
    /// Memory of all instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// How many instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    /// How many volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<u32>,
    /// What all volumes may hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
    /// How many requests each token, and each person with all their sessions, may make; 6000/min where nothing
    /// is said. Of the house's org alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub rate: Option<Rate>,
    /// The highest priority that processes may have. Of a project 0 where nothing is said; of an org what its
    /// projects may be given: any in the house's org, 0 in others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

impl Quota {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Quota::default()
    }
}

/// What apps use, or may by what is wanted of them: counted as limits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Usage {
    /// Processor time of all instances.
    pub cpu: Millicores,
    /// Memory of all instances.
    pub memory: Bytes,
    /// How many instances.
    pub instances: u32,
    /// How many volumes.
    pub volumes: u32,
    /// What all volumes may hold.
    pub bytes: Bytes,
}

/// An org or a project, what it may use, and what it uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QuotaReport {
    /// Its id.
    #[schema(value_type = String)]
    pub id: AnyId,
    /// Its name.
    pub name: String,
    /// What it may use.
    pub quota: Quota,
    /// What it uses.
    pub used: Usage,
}

/// A limit that would be passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// Which, as in `memory`.
    pub what: &'static str,
    /// The limit.
    pub limit: String,
    /// What is used now.
    pub now: String,
    /// What would be.
    pub then: String,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Usage) -> Usage {
        Usage {
            cpu: Millicores(self.cpu.0.saturating_add(other.cpu.0)),
            memory: Bytes(self.memory.0.saturating_add(other.memory.0)),
            instances: self.instances.saturating_add(other.instances),
            volumes: self.volumes.saturating_add(other.volumes),
            bytes: Bytes(self.bytes.0.saturating_add(other.bytes.0)),
        }
    }

    /// Without the other.
    #[must_use]
    pub fn minus(self, other: Usage) -> Usage {
        Usage {
            cpu: Millicores(self.cpu.0.saturating_sub(other.cpu.0)),
            memory: Bytes(self.memory.0.saturating_sub(other.memory.0)),
            instances: self.instances.saturating_sub(other.instances),
            volumes: self.volumes.saturating_sub(other.volumes),
            bytes: Bytes(self.bytes.0.saturating_sub(other.bytes.0)),
        }
    }

    /// The limits that a change from this to `then` would pass. One that asks for less than there is passes
    /// none, so that who is over a limit can get back under it in steps.
    pub fn excess(&self, then: &Usage, quota: &Quota) -> Vec<Excess> {
        let mut passed = vec![];
        check(&mut passed, "processor time", quota.cpu, self.cpu, then.cpu);
        check(&mut passed, "memory", quota.memory, self.memory, then.memory);
        check(&mut passed, "instances", quota.instances, self.instances, then.instances);
        check(&mut passed, "volumes", quota.volumes, self.volumes, then.volumes);
        check(&mut passed, "bytes in volumes", quota.bytes, self.bytes, then.bytes);
        passed
    }
}

fn check<T: PartialOrd + fmt::Display>(
    passed: &mut Vec<Excess>,
    what: &'static str,
    limit: Option<T>,
    now: T,
    then: T,
) {
    if let Some(limit) = limit.filter(|limit| then > *limit && then > now) {
        let (limit, now, then) = (limit.to_string(), now.to_string(), then.to_string());
        passed.push(Excess { what, limit, now, then });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_grows_past_a_limit_passes_it() {
        let used = |instances, memory| Usage { instances, memory: Bytes(memory), ..Usage::default() };
        let quota = Quota { instances: Some(3), ..Quota::default() };
        let passed = |now, then| used(now, 0).excess(&used(then, 9 << 30), &quota).len();
        assert_eq!([passed(0, 3), passed(3, 4), passed(5, 4), passed(5, 5), passed(5, 6)], [0, 1, 0, 0, 1]);
        let excess = used(3, 0).excess(&used(4, 0), &quota).remove(0);
        assert_eq!((excess.what, excess.limit.as_str(), excess.then.as_str()), ("instances", "3", "4"));
        assert_eq!(used(3, 5).plus(used(1, 1)).minus(used(4, 0)), used(0, 6));
    }

    #[test]
    fn unknown_limits_are_refused() {
        assert!(serde_json::from_str::<Quota>(r#"{"disks": 3}"#).is_err());
        assert!(serde_json::from_str::<Quota>("{}").unwrap().is_empty());
    }
}
