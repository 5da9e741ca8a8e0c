//! Decides one transaction on a [`Desk`]: the same order, checks and events as in SQLite. Pure.
//!
//! The order is: fence, idempotency key, expected versions, writes, releases, claims, events, pruning. Versions and
//! generations that writes name are compared with what was stored *before* the transaction.

use super::desk::{Desk, Stored, name_of};
use crate::{
    caused::{Before, Caused, stale},
    job::{Prepared, Step},
    log::Stamp,
    row::{Row, same_json},
};
use freehold_model::{Anchor, AnyId, CommitError, Committed, Fence, Link, NewEvent, Seq};
use jiff::Timestamp;
use std::{collections::BTreeMap, sync::Arc};

/// No indexed text may be longer: PostgreSQL's index entries have a limit of about 2,700 bytes.
const LONGEST: usize = 1024;

/// Applies `txn` after `head`, and moves `head` on. After a refusal both are as they were.
pub(super) fn apply(
    desk: &mut Desk,
    head: &mut Link,
    txn: &Prepared,
    now: Timestamp,
) -> Result<Committed, CommitError> {
    let decided = decide(desk, head, txn, now);
    match &decided {
        Ok(_) => desk.keep(),
        Err(_) => desk.discard(),
    }
    decided
}

fn decide(
    desk: &mut Desk,
    head: &mut Link,
    txn: &Prepared,
    now: Timestamp,
) -> Result<Committed, CommitError> {
    if let Some(Fence { lease, version: held }) = &txn.fence {
        let (held, found) = (*held, desk.lease(lease));
        if found != held {
            return Err(CommitError::LeaseLost { lease: lease.clone(), held, found });
        }
    }
    if let Some(asked) = &txn.idempotency {
        if let Some(answer) = desk.answer(&asked.key) {
            let answer = crate::row::json("answer", answer);
            let answer = answer.map_err(|error| CommitError::Engine(error.to_string()))?;
            return Ok(Committed { version: head.seq, replayed: Some(answer) });
        }
        desk.record(asked.key.clone(), now.to_string(), asked.answer.to_string());
    }
    let cut = cut(desk, txn)?;
    let said: Vec<NewEvent> = txn.events.iter().cloned().chain(cut.iter().map(|cut| cut.1.clone())).collect();
    let guess = head.seq + (txn.writes.len() + said.len()) as u64;
    let mut work = Work { desk, guess, now, before: BTreeMap::new(), caused: vec![] };
    work.all(txn)?;
    let version = head.seq + (work.caused.len() + said.len()) as u64;
    let caused = work.caused;
    desk.settle(version);
    let stamp = Stamp { time: now, actor: &txn.actor, request: &txn.request };
    let caused = caused.into_iter().map(|caused| caused.event(version, &txn.reason));
    for event in caused.chain(said) {
        let event = stamp.append(head, event);
        desk.events.push(event);
    }
    if let Some((anchor, _)) = cut {
        desk.prune(Anchor { said: head.seq, time: now, ..anchor });
    }
    Ok(Committed { version: head.seq, replayed: None })
}

/// Behind which the log begins once it is pruned as `txn` says, and the event about it.
fn cut(desk: &Desk, txn: &Prepared) -> Result<Option<(Anchor, NewEvent)>, CommitError> {
    let Some(prune) = &txn.prune else { return Ok(None) };
    let here = desk.events.iter().find(|event| event.seq == prune.last).map(|event| &event.hash);
    let hash = desk.beginning.hashes.get(&prune.last).or(here);
    let event = prune.plan(desk.anchor().map_or(0, |anchor| anchor.seq), hash.map(String::as_str))?;
    Ok(event.zip(hash).map(|(event, hash)| {
        let (hash, policy) = (hash.clone(), prune.policy.clone());
        (Anchor { seq: prune.last, hash, said: 0, time: Timestamp::UNIX_EPOCH, policy }, event)
    }))
}

/// Why the engine cannot hold what `txn` says, if so. Asked before the group is loaded, which would fail
/// as a whole.
pub(super) fn unfit(txn: &Prepared) -> Option<CommitError> {
    let actor = txn.actor.to_string();
    let mut texts: Vec<&str> = vec![&actor, &txn.request];
    let mut keys: Vec<&str> = vec![];
    for step in &txn.writes {
        if let Step::Put(row) = step {
            keys.push(&row.name);
        }
    }
    keys.extend(txn.claims.iter().flat_map(|claim| [&*claim.scope, &*claim.key]));
    keys.extend(txn.releases.iter().flat_map(|(scope, key)| [&**scope, &**key]));
    keys.extend(txn.fence.iter().map(|fence| &*fence.lease));
    texts.extend(txn.prune.iter().map(|prune| &*prune.policy));
    keys.extend(txn.idempotency.iter().map(|asked| &*asked.key));
    texts.extend(txn.events.iter().map(|event| &*event.what));
    let problem = if keys.iter().chain(&texts).any(|text| text.contains('\0')) {
        "a name or key holds the character U+0000, which PostgreSQL cannot store".to_owned()
    } else if let Some(long) = keys.iter().find(|key| key.len() > LONGEST) {
        let start: String = long.chars().take(32).collect();
        format!("the name or key `{start}…` is {} bytes long, and {LONGEST} is the most", long.len())
    } else {
        return None;
    };
    Some(CommitError::Engine(problem))
}

/// One transaction under way.
struct Work<'a> {
    desk: &'a mut Desk,
    /// The version of what is written, as messages show it until the final one is known.
    guess: Seq,
    now: Timestamp,
    /// What each touched resource was before the transaction.
    before: BTreeMap<AnyId, Before>,
    caused: Vec<Caused>,
}

impl Work<'_> {
    fn all(&mut self, txn: &Prepared) -> Result<(), CommitError> {
        for (id, version) in &txn.expect {
            let found = self.desk.row(*id).map_or(0, |found| found.row.version);
            if found != *version {
                return Err(stale(*id, *version, found));
            }
        }
        for step in &txn.writes {
            self.step(step)?;
        }
        for key in &txn.releases {
            self.desk.claim(key.clone(), None);
        }
        for claim in &txn.claims {
            if self.desk.row(claim.owner).is_none() {
                return Err(CommitError::Missing { id: claim.owner });
            }
            let key = (claim.scope.clone(), claim.key.clone());
            match self.desk.holder(&key) {
                None => self.desk.claim(key, Some(claim.owner)),
                Some(owner) if owner == claim.owner => {}
                Some(owner) => return Err(CommitError::Claimed { scope: key.0, key: key.1, owner }),
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), CommitError> {
        step.check()?;
        match step {
            Step::Put(row) if row.version == 0 => self.create(row),
            Step::Put(row) => self.replace(row),
            Step::Spec { id, spec, generation } => self.spec(*id, spec, *generation),
            Step::Status { id, status, version } => self.status(*id, status, *version),
            Step::Deleting { id } => self.deleting(*id),
            Step::Delete { id } => self.delete(*id),
        }
    }

    fn create(&mut self, row: &Row) -> Result<(), CommitError> {
        if let Some(stored) = self.desk.row(row.id) {
            return Err(stale(row.id, 0, stored.row.version));
        }
        self.name_is_free(row)?;
        self.before.entry(row.id).or_default();
        self.write(Stored { row: row.clone(), generation: 1 });
        self.cause(row.id, "created", 1, Some((row.name.clone(), row.parent)));
        Ok(())
    }

    fn replace(&mut self, row: &Row) -> Result<(), CommitError> {
        let (stored, before) = self.touch(row.id)?;
        if before.version != row.version {
            return Err(stale(row.id, row.version, stored.row.version));
        }
        let same_spec = same_json(&stored.row.spec, &row.spec);
        if same_spec && equals_but_for_spec(&stored.row, row) {
            return Ok(());
        }
        self.name_is_free(row)?;
        let generation = stored.generation + u64::from(!same_spec);
        let created = stored.row.created.clone();
        self.write(Stored { row: Row { created, ..row.clone() }, generation });
        self.cause(row.id, "changed", generation, None);
        Ok(())
    }

    fn spec(&mut self, id: AnyId, spec: &str, seen: Option<u64>) -> Result<(), CommitError> {
        let (stored, before) = self.touch(id)?;
        if let Some(seen) = seen.filter(|seen| *seen != before.generation) {
            let (expected, found) =
                (format!("generation {seen}"), format!("generation {}", stored.generation));
            return Err(CommitError::Stale { id, expected, found });
        }
        if same_json(&stored.row.spec, spec) {
            return Ok(());
        }
        let generation = stored.generation + 1;
        self.write(Stored { row: Row { spec: spec.to_owned(), ..stored.row.clone() }, generation });
        self.cause(id, "changed", generation, None);
        Ok(())
    }

    fn status(&mut self, id: AnyId, status: &str, seen: Option<u64>) -> Result<(), CommitError> {
        let (stored, before) = self.touch(id)?;
        if let Some(seen) = seen.filter(|seen| *seen != before.version) {
            return Err(stale(id, seen, stored.row.version));
        }
        if same_json(&stored.row.status, status) {
            return Ok(());
        }
        let generation = stored.generation;
        self.write(Stored { row: Row { status: status.to_owned(), ..stored.row.clone() }, generation });
        self.cause(id, "observed", generation, None);
        Ok(())
    }

    fn deleting(&mut self, id: AnyId) -> Result<(), CommitError> {
        let (stored, _) = self.touch(id)?;
        if stored.row.deleting.is_some() {
            return Ok(());
        }
        let (deleting, generation) = (Some(self.now.to_string()), stored.generation);
        self.write(Stored { row: Row { deleting, ..stored.row.clone() }, generation });
        self.cause(id, "deleting", generation, None);
        Ok(())
    }

    fn delete(&mut self, id: AnyId) -> Result<(), CommitError> {
        let (stored, _) = self.touch(id)?;
        self.desk.remove(id);
        // Whatever takes the id from here on starts from nothing.
        self.before.insert(id, Before::default());
        let place = (stored.row.name.clone(), stored.row.parent);
        self.cause(id, "deleted", stored.generation, Some(place));
        Ok(())
    }

    fn write(&mut self, mut stored: Stored) {
        stored.row.version = self.guess;
        self.desk.put(stored);
    }

    fn cause(
        &mut self,
        id: AnyId,
        verb: &'static str,
        generation: u64,
        place: Option<(String, Option<AnyId>)>,
    ) {
        self.caused.push(Caused { id, verb, generation, place });
    }

    /// The stored row of `id`, which must exist, and what it was before the transaction.
    fn touch(&mut self, id: AnyId) -> Result<(Arc<Stored>, Before), CommitError> {
        let stored = self.desk.row(id).cloned().ok_or(CommitError::Missing { id })?;
        let now = Before { version: stored.row.version, generation: stored.generation };
        let before = *self.before.entry(id).or_insert(now);
        Ok((stored, before))
    }

    fn name_is_free(&self, row: &Row) -> Result<(), CommitError> {
        match self.desk.named(&name_of(row)) {
            Some(owner) if owner != row.id => {
                Err(CommitError::NameTaken { kind: row.kind, name: row.name.clone(), owner })
            }
            _ => Ok(()),
        }
    }
}

fn equals_but_for_spec(stored: &Row, row: &Row) -> bool {
    stored.name == row.name
        && stored.parent == row.parent
        && stored.labels == row.labels
        && stored.deleting == row.deleting
        && same_json(&stored.status, &row.status)
}
