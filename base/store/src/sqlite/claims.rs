//! Claims: taken and given back by one transaction. [`super::apply`] calls these after the writes.

use super::apply::Refusal;
use crate::row::parse;
use freehold_model::{AnyId, Claim, CommitError};
use rusqlite::Connection;

/// Gives a claim back; an absent one is ignored.
pub(super) fn release(db: &Connection, scope: &str, key: &str) -> Result<(), Refusal> {
    db.prepare_cached("DELETE FROM claims WHERE scope = ?1 AND key = ?2")?.execute([scope, key])?;
    Ok(())
}

/// Gives back whatever `owner` holds.
pub(super) fn release_all(db: &Connection, owner: AnyId) -> Result<(), Refusal> {
    db.prepare_cached("DELETE FROM claims WHERE owner = ?1")?.execute([owner.to_string()])?;
    Ok(())
}

/// Takes a claim. Its owner must exist, or nothing would ever give it back.
pub(super) fn take(db: &Connection, claim: &Claim) -> Result<(), Refusal> {
    let owner = claim.owner.to_string();
    if !db.prepare_cached("SELECT 1 FROM resources WHERE id = ?1")?.exists([&owner])? {
        return Err(CommitError::Missing { id: claim.owner }.into());
    }
    let sql = "INSERT INTO claims (scope, key, owner) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    if db.prepare_cached(sql)?.execute([&claim.scope, &claim.key, &owner])? == 1 {
        return Ok(());
    }
    let sql = "SELECT owner FROM claims WHERE scope = ?1 AND key = ?2";
    let mut holder = db.prepare_cached(sql)?;
    let holder: String = holder.query_row([&claim.scope, &claim.key], |row| row.get(0))?;
    if holder == owner {
        return Ok(());
    }
    let owner = parse("id", &holder)?;
    Err(CommitError::Claimed { scope: claim.scope.clone(), key: claim.key.clone(), owner }.into())
}
