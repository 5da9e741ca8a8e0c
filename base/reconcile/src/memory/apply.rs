//! Applies one transaction to a state: the whole new state, or the reason why not. Pure.

use super::{State, log::Log};
use freehold_model::{AnyId, AnyResource, CommitError, Event, Link, NewEvent, Seq, Txn, Write};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

/// The state after `txn`, and the events to append to `log`.
pub(super) fn apply(
    state: &State,
    log: &Log,
    txn: &Txn,
    now: Timestamp,
) -> Result<(State, Vec<Event>), CommitError> {
    for (id, expected) in &txn.expect {
        expect_version(state.resources.get(id).map(|found| found.version), *id, *expected)?;
    }
    let mut draft = Draft {
        start: state,
        state: state.clone(),
        reason: &txn.reason,
        events: vec![],
        touched: BTreeSet::new(),
        now,
    };
    for write in &txn.writes {
        draft.write(write)?;
    }
    for (scope, key) in &txn.releases {
        draft.state.claims.remove(&(scope.clone(), key.clone()));
    }
    for claim in &txn.claims {
        draft.claim(&claim.scope, &claim.key, claim.owner)?;
    }
    let mut said = txn.events.clone();
    if let Some(prune) = &txn.prune {
        said.extend(prune.plan(log.begin(), log.hash(prune.last))?);
    }
    Ok(draft.seal(log, txn, said))
}

struct Draft<'a> {
    /// What was before the transaction: its writes name versions and generations from then.
    start: &'a State,
    state: State,
    reason: &'a str,
    /// What the writes cause.
    events: Vec<NewEvent>,
    /// What gets the version of this commit.
    touched: BTreeSet<AnyId>,
    now: Timestamp,
}

impl Draft<'_> {
    fn write(&mut self, write: &Write) -> Result<(), CommitError> {
        match write {
            Write::Put(resource) if resource.version == 0 => self.create(resource),
            Write::Put(resource) => self.replace(resource),
            Write::Spec { id, spec, generation } => self.spec(*id, spec, *generation),
            Write::Status { id, status, version } => self.status(*id, status, *version),
            Write::Deleting { id } => self.deleting(*id),
            Write::Delete { id } => self.delete(*id),
        }
    }

    fn create(&mut self, resource: &AnyResource) -> Result<(), CommitError> {
        if let Some(found) = self.state.resources.get(&resource.id) {
            return Err(stale(resource.id, "that it does not exist", format!("version {}", found.version)));
        }
        self.name_is_free(resource)?;
        let stored = AnyResource { generation: 1, ..resource.clone() };
        let place = json!({ "name": stored.name, "parent": stored.parent });
        self.keep(stored, "created");
        self.locate(place);
        Ok(())
    }

    fn replace(&mut self, resource: &AnyResource) -> Result<(), CommitError> {
        let old = self.existing(resource.id)?;
        expect_version(Some(old.version), resource.id, resource.version)?;
        self.name_is_free(resource)?;
        let generation = old.generation + u64::from(old.spec != resource.spec);
        let new = AnyResource { generation, created: old.created, ..resource.clone() };
        if *old != new {
            self.keep(new, "changed");
        }
        Ok(())
    }

    fn spec(&mut self, id: AnyId, spec: &Value, generation: Option<u64>) -> Result<(), CommitError> {
        let old = self.existing(id)?;
        if let Some(expected) = generation.filter(|expected| *expected != self.generation_before(&old)) {
            let found = format!("generation {}", old.generation);
            return Err(stale(id, format!("generation {expected}"), found));
        }
        if old.spec != *spec {
            let generation = old.generation + 1;
            self.keep(AnyResource { spec: spec.clone(), generation, ..(*old).clone() }, "changed");
        }
        Ok(())
    }

    fn status(&mut self, id: AnyId, status: &Value, version: Option<u64>) -> Result<(), CommitError> {
        let old = self.existing(id)?;
        if let Some(expected) = version {
            expect_version(Some(old.version), id, expected)?;
        }
        if old.status != *status {
            self.keep(AnyResource { status: status.clone(), ..(*old).clone() }, "observed");
        }
        Ok(())
    }

    fn deleting(&mut self, id: AnyId) -> Result<(), CommitError> {
        let old = self.existing(id)?;
        if old.deleting.is_none() {
            self.keep(AnyResource { deleting: Some(self.now), ..(*old).clone() }, "deleting");
        }
        Ok(())
    }

    fn delete(&mut self, id: AnyId) -> Result<(), CommitError> {
        let old = self.existing(id)?;
        self.state.resources.remove(&id);
        self.state.claims.retain(|_, owner| *owner != id);
        self.touched.remove(&id);
        self.note(&old, "deleted");
        self.locate(json!({ "name": old.name, "parent": old.parent }));
        Ok(())
    }

    fn claim(&mut self, scope: &str, key: &str, owner: AnyId) -> Result<(), CommitError> {
        self.existing(owner)?;
        let holder = self.state.claims.entry((scope.to_owned(), key.to_owned())).or_insert(owner);
        if *holder == owner {
            return Ok(());
        }
        Err(CommitError::Claimed { scope: scope.into(), key: key.into(), owner: *holder })
    }

    fn existing(&self, id: AnyId) -> Result<Arc<AnyResource>, CommitError> {
        self.state.resources.get(&id).cloned().ok_or(CommitError::Missing { id })
    }

    /// The generation that the writer can have seen: 0 of what this transaction made.
    fn generation_before(&self, now: &AnyResource) -> u64 {
        let made_here = now.version == 0;
        self.start.resources.get(&now.id).filter(|_| !made_here).map_or(0, |before| before.generation)
    }

    fn name_is_free(&self, wanted: &AnyResource) -> Result<(), CommitError> {
        let taken = self.state.resources.values().find(|other| {
            other.id != wanted.id
                && (other.kind, other.parent, &other.name) == (wanted.kind, wanted.parent, &wanted.name)
        });
        taken.map_or(Ok(()), |other| {
            let (kind, name) = (wanted.kind, wanted.name.clone());
            Err(CommitError::NameTaken { kind, name, owner: other.id })
        })
    }

    fn keep(&mut self, resource: AnyResource, verb: &str) {
        let id = resource.id;
        self.note(&resource, verb);
        self.touched.insert(id);
        self.state.resources.insert(id, Arc::new(resource));
    }

    fn note(&mut self, resource: &AnyResource, verb: &str) {
        let what = format!("{}.{verb}", resource.kind);
        let data = json!({ "generation": resource.generation, "reason": self.reason });
        self.events.push(NewEvent { subject: resource.id, what, data });
    }

    /// Adds to the last event what cannot be asked of the resource before or after.
    fn locate(&mut self, place: Value) {
        if let Some((data, place)) =
            self.events.last_mut().map(|event| &mut event.data).zip(place.as_object())
        {
            place.iter().for_each(|(key, value)| data[key] = value.clone());
        }
    }

    /// Gives everything written the version of the last event, and chains the events to the log.
    fn seal(mut self, log: &Log, txn: &Txn, said: Vec<NewEvent>) -> (State, Vec<Event>) {
        let Link { seq: end, hash: mut previous } = log.end();
        let version = end + (self.events.len() + said.len()) as Seq;
        self.events.iter_mut().for_each(|caused| caused.data["version"] = version.into());
        self.events.extend(said);
        for id in &self.touched {
            if let Some(resource) = self.state.resources.get_mut(id) {
                Arc::make_mut(resource).version = version;
            }
        }
        let mut sealed = Vec::with_capacity(self.events.len());
        for (seq, new) in (end + 1..).zip(self.events) {
            let NewEvent { subject, what, data } = new;
            let (actor, request) = (txn.actor.clone(), txn.request.clone());
            let mut event =
                Event { seq, time: self.now, actor, request, subject, what, data, hash: String::new() };
            event.hash = event.chain(&previous);
            previous.clone_from(&event.hash);
            sealed.push(event);
        }
        (self.state, sealed)
    }
}

fn expect_version(found: Option<u64>, id: AnyId, expected: u64) -> Result<(), CommitError> {
    if found.unwrap_or(0) == expected {
        return Ok(());
    }
    let say = |version: u64| if version == 0 { "nothing".into() } else { format!("version {version}") };
    Err(stale(id, say(expected), say(found.unwrap_or(0))))
}

fn stale(id: AnyId, expected: impl Into<String>, found: impl Into<String>) -> CommitError {
    CommitError::Stale { id, expected: expected.into(), found: found.into() }
}
