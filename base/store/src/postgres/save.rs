//! Ends a group: writes what became of it and commits, in one round trip.

use super::{connect::Session, desk::Desk, prune};
use crate::row::parent_text;
use freehold_model::{Link, Seq};
use futures::try_join;
use tokio_postgres::{Error, types::ToSql};

const DELETE: &str = "DELETE FROM freehold.resources WHERE id = ANY($1)";
const WRITE: &str = "INSERT INTO freehold.resources
        (id, kind, parent, name, labels, generation, version, created, deleting, spec, status)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
        $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[])
    ON CONFLICT (id) DO UPDATE SET parent = excluded.parent, name = excluded.name,
        labels = excluded.labels, generation = excluded.generation, version = excluded.version,
        created = excluded.created, deleting = excluded.deleting, spec = excluded.spec,
        status = excluded.status";
const RELEASE_ALL: &str = "DELETE FROM freehold.claims WHERE owner = ANY($1)";
const RELEASE: &str = "DELETE FROM freehold.claims c USING unnest($1::text[], $2::text[]) AS n (scope, key)
    WHERE c.scope = n.scope AND c.key = n.key";
const TAKE: &str = "INSERT INTO freehold.claims (scope, key, owner)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
    ON CONFLICT (scope, key) DO UPDATE SET owner = excluded.owner";
const APPEND: &str = "INSERT INTO freehold.events (seq, time, actor, request, subject, what, data, hash)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
        $7::text[], $8::bytea[])";
const ANSWER: &str = "INSERT INTO freehold.idempotency (key, time, answer)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[])";
const ADVANCE: &str =
    "INSERT INTO freehold.cursors (name, seq) SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (name) DO UPDATE SET seq = greatest(cursors.seq, excluded.seq)";
const HEAD: &str = "UPDATE freehold.head SET seq = $1, hash = $2";
const GROUP: &str = "INSERT INTO freehold.writers (writer, groups) VALUES ($1, $2)
    ON CONFLICT (writer) DO UPDATE SET groups = excluded.groups, at = now()";
const NOTIFY: &str = "SELECT pg_notify('freehold_head', $1)";

/// What a group leaves behind.
pub(super) struct Outcome<'a> {
    pub desk: &'a Desk,
    pub head: &'a Link,
    /// Whether the log grew.
    pub grew: bool,
    pub cursors: &'a [(String, Seq)],
    pub writer: &'a str,
    pub number: i64,
}

/// Writes and commits. The statements are sent together; should one fail, the server undoes all.
pub(super) async fn save(session: &Session, outcome: &Outcome<'_>) -> Result<(), Error> {
    let all = [DELETE, WRITE, RELEASE_ALL, RELEASE, TAKE, APPEND, ANSWER, ADVANCE, HEAD, GROUP, NOTIFY];
    for sql in all {
        session.prepare(sql).await?;
    }
    let rows = Rows::of(outcome.desk);
    let claims = Claims::of(outcome.desk);
    let events = Events::of(outcome.desk);
    let answers = Answers::of(outcome.desk);
    let cursors = cursors(outcome.cursors);
    let seq = outcome.head.seq as i64;
    let hash = hex::decode(&outcome.head.hash).expect("a chain hash is hex");
    let told = outcome.head.seq.to_string();
    prune::save(session, outcome.desk).await?;
    let run = |wanted: bool, sql: &'static str, with: Vec<_>| run(session, wanted, sql, with);
    try_join!(
        run(!rows.deleted.is_empty(), DELETE, vec![&rows.deleted]),
        run(!rows.id.is_empty(), WRITE, rows.columns()),
        run(!claims.gone.is_empty(), RELEASE_ALL, vec![&claims.gone]),
        run(!claims.freed.0.is_empty(), RELEASE, vec![&claims.freed.0, &claims.freed.1]),
        run(!claims.taken.0.is_empty(), TAKE, vec![&claims.taken.0, &claims.taken.1, &claims.taken.2]),
        run(!events.seq.is_empty(), APPEND, events.columns()),
        run(!answers.0.is_empty(), ANSWER, vec![&answers.0, &answers.1, &answers.2]),
        run(!cursors.0.is_empty(), ADVANCE, vec![&cursors.0, &cursors.1]),
        run(outcome.grew, HEAD, vec![&seq, &hash]),
        run(true, GROUP, vec![&outcome.writer, &outcome.number]),
        run(outcome.grew, NOTIFY, vec![&told]),
        session.client.batch_execute("COMMIT"),
    )?;
    Ok(())
}

/// Runs a prepared statement, unless there is nothing to write with it.
async fn run(
    session: &Session,
    wanted: bool,
    sql: &str,
    with: Vec<&(dyn ToSql + Sync)>,
) -> Result<(), Error> {
    if wanted {
        let statement = session.prepare(sql).await?;
        session.client.execute(&statement, &with).await?;
    }
    Ok(())
}

/// Resources, column by column.
#[derive(Default)]
struct Rows<'a> {
    deleted: Vec<String>,
    id: Vec<String>,
    kind: Vec<&'static str>,
    parent: Vec<String>,
    name: Vec<&'a str>,
    labels: Vec<&'a str>,
    generation: Vec<i64>,
    version: Vec<i64>,
    created: Vec<&'a str>,
    deleting: Vec<Option<&'a str>>,
    spec: Vec<&'a str>,
    status: Vec<&'a str>,
}

impl<'a> Rows<'a> {
    fn of(desk: &'a Desk) -> Rows<'a> {
        let mut rows = Rows::default();
        for (id, stored) in &desk.changed.rows {
            let Some(stored) = stored else {
                rows.deleted.push(id.to_string());
                continue;
            };
            let row = &stored.row;
            rows.id.push(id.to_string());
            rows.kind.push(row.kind.name());
            rows.parent.push(parent_text(row.parent));
            rows.name.push(&row.name);
            rows.labels.push(&row.labels);
            rows.generation.push(stored.generation as i64);
            rows.version.push(row.version as i64);
            rows.created.push(&row.created);
            rows.deleting.push(row.deleting.as_deref());
            rows.spec.push(&row.spec);
            rows.status.push(&row.status);
        }
        rows
    }

    fn columns(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.id,
            &self.kind,
            &self.parent,
            &self.name,
            &self.labels,
            &self.generation,
            &self.version,
            &self.created,
            &self.deleting,
            &self.spec,
            &self.status,
        ]
    }
}

/// Claims by what becomes of them.
#[derive(Default)]
struct Claims<'a> {
    gone: Vec<String>,
    freed: (Vec<&'a str>, Vec<&'a str>),
    taken: (Vec<&'a str>, Vec<&'a str>, Vec<String>),
}

impl<'a> Claims<'a> {
    fn of(desk: &'a Desk) -> Claims<'a> {
        let mut claims =
            Claims { gone: desk.changed.gone.iter().map(ToString::to_string).collect(), ..Claims::default() };
        for ((scope, key), owner) in &desk.changed.claims {
            match owner {
                None => {
                    claims.freed.0.push(scope);
                    claims.freed.1.push(key);
                }
                Some(owner) => {
                    claims.taken.0.push(scope);
                    claims.taken.1.push(key);
                    claims.taken.2.push(owner.to_string());
                }
            }
        }
        claims
    }
}

/// Events, column by column.
#[derive(Default)]
struct Events<'a> {
    seq: Vec<i64>,
    time: Vec<String>,
    actor: Vec<String>,
    request: Vec<&'a str>,
    subject: Vec<String>,
    what: Vec<&'a str>,
    data: Vec<String>,
    hash: Vec<Vec<u8>>,
}

impl<'a> Events<'a> {
    fn of(desk: &'a Desk) -> Events<'a> {
        let mut events = Events::default();
        // What one of the group prunes already is not written.
        let begin = desk.changed.anchor.as_ref().map_or(0, |anchor| anchor.seq);
        for event in desk.events.iter().filter(|event| event.seq > begin) {
            events.seq.push(event.seq as i64);
            events.time.push(event.time.to_string());
            events.actor.push(event.actor.to_string());
            events.request.push(&event.request);
            events.subject.push(event.subject.to_string());
            events.what.push(&event.what);
            events.data.push(event.data.to_string());
            events.hash.push(hex::decode(&event.hash).expect("a chain hash is hex"));
        }
        events
    }

    fn columns(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.seq,
            &self.time,
            &self.actor,
            &self.request,
            &self.subject,
            &self.what,
            &self.data,
            &self.hash,
        ]
    }
}

struct Answers<'a>(Vec<&'a str>, Vec<&'a str>, Vec<&'a str>);

impl<'a> Answers<'a> {
    fn of(desk: &'a Desk) -> Answers<'a> {
        let mut answers = Answers(vec![], vec![], vec![]);
        for (key, (time, answer)) in &desk.changed.answers {
            answers.0.push(key);
            answers.1.push(time);
            answers.2.push(answer);
        }
        answers
    }
}

/// Each name once, with the furthest place: one statement may not write a row twice.
fn cursors(all: &[(String, Seq)]) -> (Vec<&str>, Vec<i64>) {
    let mut furthest = std::collections::BTreeMap::<&str, i64>::new();
    for (name, seq) in all {
        let seq = i64::try_from(*seq).unwrap_or(i64::MAX);
        let entry = furthest.entry(name).or_insert(seq);
        *entry = seq.max(*entry);
    }
    furthest.into_iter().unzip()
}
