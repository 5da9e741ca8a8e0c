//! Which database may be used, and bringing its schema up to date.
//!
//! `freehold.meta` counts the migrations that were applied. A migration that was ever released never
//! changes; a new one is a new file under `migrations/postgres/` and a new row in [`MIGRATIONS`]. All of it
//! happens in one transaction that holds [`MIGRATING`], so that two processes that start at once do not
//! meet.

use super::{connect::Session, error::PostgresError};
use tokio_postgres::Error;

/// Every migration, oldest first; the n-th leads to schema n.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/postgres/0001_initial.sql"),
    include_str!("../../migrations/postgres/0002_leases.sql"),
    include_str!("../../migrations/postgres/0003_prune.sql"),
];

/// The advisory lock of a migration: "frhd" and 1.
const MIGRATING: i64 = 0x6672_6864_0001;

/// PostgreSQL 15, as `server_version_num` has it.
const OLDEST: i32 = 150_000;

/// Checks the database behind `session`, and makes or migrates its tables.
pub(super) async fn open(session: &Session, place: &str) -> Result<(), PostgresError> {
    check_whole(session, place).await?;
    prepare(session, place).await
}

/// The same of one that may be the target of a copy.
pub(super) async fn prepare(session: &Session, place: &str) -> Result<(), PostgresError> {
    let failed = |error: Error| PostgresError::of(place, &error);
    check_server(session, place).await?;
    session.client.batch_execute("BEGIN").await.map_err(failed)?;
    let outcome = migrate(session, place).await;
    let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
    session.client.batch_execute(end).await.map_err(failed)?;
    outcome
}

async fn check_server(session: &Session, place: &str) -> Result<(), PostgresError> {
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
                      current_setting('server_encoding'), pg_is_in_recovery(), current_setting('fsync')";
    let row = session.client.query_one(sql, &[]).await.map_err(|error| PostgresError::of(place, &error))?;
    let place = place.to_owned();
    if row.get::<_, i32>(0) < OLDEST {
        return Err(PostgresError::TooOld { place, found: row.get(1) });
    }
    let encoding: String = row.get(2);
    if encoding != "UTF8" {
        return Err(PostgresError::Encoding { place, encoding });
    }
    if row.get(3) {
        return Err(PostgresError::Standby { place });
    }
    if row.get::<_, &str>(4) != "on" {
        tracing::warn!(place, "the server has fsync off: a power cut may lose or break everything");
    }
    Ok(())
}

async fn migrate(session: &Session, place: &str) -> Result<(), PostgresError> {
    let failed = |error: Error| PostgresError::of(place, &error);
    let client = &session.client;
    client.query_one("SELECT pg_advisory_xact_lock($1)", &[&MIGRATING]).await.map_err(failed)?;
    let found = found(session, place).await?;
    let known = MIGRATIONS.len() as i64;
    let Some(done) = usize::try_from(found).ok().filter(|done| *done <= MIGRATIONS.len()) else {
        return Err(PostgresError::Newer { place: place.to_owned(), found, known });
    };
    if done == 0 {
        let sql = "CREATE SCHEMA freehold;
                   CREATE TABLE freehold.meta (one boolean PRIMARY KEY DEFAULT true CHECK (one),
                       schema bigint NOT NULL, installation text NOT NULL)";
        client.batch_execute(sql).await.map_err(failed)?;
        let sql = "INSERT INTO freehold.meta (schema, installation) VALUES (0, $1)";
        let installation = ulid::Ulid::new().to_string().to_lowercase();
        client.execute(sql, &[&installation]).await.map_err(failed)?;
    }
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(done) {
        client.batch_execute(sql).await.map_err(failed)?;
        let sql = "UPDATE freehold.meta SET schema = $1";
        client.execute(sql, &[&(index as i64 + 1)]).await.map_err(failed)?;
        tracing::info!(schema = index + 1, "migrated the store");
    }
    Ok(())
}

/// Refuses a database that a copy is being written to.
async fn check_whole(session: &Session, place: &str) -> Result<(), PostgresError> {
    let sql = "SELECT to_regclass('freehold.copying') IS NOT NULL";
    let row = session.client.query_one(sql, &[]).await.map_err(|error| PostgresError::of(place, &error))?;
    if row.get(0) { Err(PostgresError::Copying { place: place.to_owned() }) } else { Ok(()) }
}

/// The schema that this program writes.
pub(super) fn current() -> i64 {
    MIGRATIONS.len() as i64
}

/// The schema that is there; 0 where nothing is.
pub(super) async fn found(session: &Session, place: &str) -> Result<i64, PostgresError> {
    let failed = |error: Error| PostgresError::of(place, &error);
    let sql = "SELECT to_regclass('freehold.meta') IS NOT NULL,
                      (SELECT n.nspname || '.' || c.relname FROM pg_class c
                       JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema'
                         AND n.nspname NOT LIKE 'pg\\_%'
                         AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
                       ORDER BY 1 LIMIT 1)";
    let row = session.client.query_one(sql, &[]).await.map_err(failed)?;
    if row.get(0) {
        let row = session.client.query_one("SELECT schema FROM freehold.meta", &[]).await.map_err(failed)?;
        return Ok(row.get(0));
    }
    match row.get::<_, Option<String>>(1) {
        Some(found) => Err(PostgresError::Foreign { place: place.to_owned(), found }),
        None => Ok(0),
    }
}
