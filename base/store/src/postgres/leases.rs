//! Leases in PostgreSQL, on a connection of their own: a renewal waits for no commit.
//!
//! A renewal may be lost with the server; that a lease changed hands may not, or two could come to hold
//! one version. Nothing here blocks for long: whoever is held up is not heard, and tries again.

use super::{connect::PostgresOptions, connect::Session, engine};
use freehold_model::{Lease, LeaseChange};
use freehold_reconcile::StoreError;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio_postgres::{Error, Row};

/// The connection; made when it is first needed and whenever it broke.
pub(super) struct Leases {
    options: PostgresOptions,
    session: Mutex<Option<Session>>,
}

const ALL: &str = "SELECT name, holder, version, renewals, note,
                          (extract(epoch FROM since) * 1000000)::bigint FROM freehold.leases ORDER BY name";
const TAKE: &str = "INSERT INTO freehold.leases AS l (name, holder, version, renewals, note)
    VALUES ($1, $2, 1, 1, $3)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, version = l.version + 1,
        renewals = l.renewals + 1, since = clock_timestamp(), note = excluded.note
    WHERE l.version = $4 AND l.renewals = $5";
const RENEW: &str = "UPDATE freehold.leases SET renewals = renewals + 1 WHERE holder = $1";
const RELEASE: &str = "UPDATE freehold.leases
    SET holder = '', version = version + 1, since = clock_timestamp() WHERE holder = $1";

const GIVE_UP: &str = "UPDATE freehold.leases
    SET holder = '', version = version + 1, since = clock_timestamp() WHERE holder = $1 AND name = $2";

impl Leases {
    pub(super) fn new(options: PostgresOptions) -> Leases {
        Leases { options, session: Mutex::default() }
    }

    /// Every lease, in order of names.
    pub(super) async fn all(&self) -> Result<Vec<Lease>, StoreError> {
        let rows = self.with(async |session| session.client.query(&session.prepare(ALL).await?, &[]).await);
        rows.await?.iter().map(|row| lease(row).map_err(failed)?).collect()
    }

    /// Applies one change.
    pub(super) async fn change(&self, change: &LeaseChange) -> Result<(), StoreError> {
        self.with(async |session| match change {
            LeaseChange::Take { name, holder, note, seen } => {
                let take = session.prepare(TAKE).await?;
                session.client.batch_execute("BEGIN; SET LOCAL synchronous_commit = on").await?;
                session
                    .client
                    .execute(&take, &[name, holder, note, &(seen.0 as i64), &(seen.1 as i64)])
                    .await?;
                session.client.batch_execute("COMMIT").await
            }
            LeaseChange::Renew { holder } => {
                let renew = session.prepare(RENEW).await?;
                session.client.execute(&renew, &[holder]).await.map(drop)
            }
            LeaseChange::Release { holder } => {
                let release = session.prepare(RELEASE).await?;
                session.client.batch_execute("BEGIN; SET LOCAL synchronous_commit = on").await?;
                session.client.execute(&release, &[holder]).await?;
                session.client.batch_execute("COMMIT").await
            }
            LeaseChange::GiveUp { name, holder } => {
                let give_up = session.prepare(GIVE_UP).await?;
                session.client.batch_execute("BEGIN; SET LOCAL synchronous_commit = on").await?;
                session.client.execute(&give_up, &[holder, name]).await?;
                session.client.batch_execute("COMMIT").await
            }
        })
        .await
    }

    /// Forgets old answers of requests; nothing else that a reader or a writer does waits for it.
    pub(super) async fn forget_answers(&self, before: &str, limit: i64) -> Result<u64, StoreError> {
        let sql = "DELETE FROM freehold.idempotency
                   WHERE key IN (SELECT key FROM freehold.idempotency WHERE time < $1 COLLATE \"C\" LIMIT $2)";
        self.with(async |session| {
            session.client.execute(&session.prepare(sql).await?, &[&before, &limit]).await
        })
        .await
    }

    /// Lets the connection go.
    pub(super) async fn close(&self) {
        *self.session.lock().await = None;
    }

    /// Does `work` on the connection, which goes if that fails or is given up: what a transaction under way
    /// held is free again then.
    async fn with<T>(&self, work: impl AsyncFnOnce(&Session) -> Result<T, Error>) -> Result<T, StoreError> {
        let mut kept = self.session.lock().await;
        let session = match kept.take().filter(|session| !session.client.is_closed()) {
            Some(session) => session,
            None => self.connect().await.map_err(failed)?,
        };
        let done = work(&session).await.map_err(failed)?;
        *kept = Some(session);
        Ok(done)
    }

    async fn connect(&self) -> Result<Session, Error> {
        let session = self.options.connect().await?;
        let sql = "SET idle_in_transaction_session_timeout = '2s'; SET statement_timeout = '2s';
                   SET synchronous_commit = off";
        session.client.batch_execute(sql).await?;
        Ok(session)
    }
}

fn lease(row: &Row) -> Result<Result<Lease, StoreError>, Error> {
    let since = Timestamp::from_microsecond(row.try_get(5)?);
    let lease = Lease {
        name: row.try_get(0)?,
        holder: row.try_get(1)?,
        version: row.try_get::<_, i64>(2)? as u64,
        renewals: row.try_get::<_, i64>(3)? as u64,
        note: row.try_get(4)?,
        since: Timestamp::UNIX_EPOCH,
    };
    Ok(since.map(|since| Lease { since, ..lease }).map_err(|error| StoreError::Engine(error.to_string())))
}

fn failed(error: Error) -> StoreError {
    StoreError::Engine(engine(&error))
}
