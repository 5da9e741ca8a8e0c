-- Resources, claims, the event log, idempotency keys and consumer cursors.
-- Ids are texts such as `app_01j…`: the prefix carries the kind, so a range of ids is a kind in order.

CREATE TABLE resources (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    parent     TEXT NOT NULL,             -- '' for none, so that names are unique at the top as well
    name       TEXT NOT NULL,
    labels     TEXT NOT NULL,             -- JSON object of strings
    generation INTEGER NOT NULL,
    version    INTEGER NOT NULL,          -- last event of the transaction that last wrote the row
    created    TEXT NOT NULL,
    deleting   TEXT,
    spec       TEXT NOT NULL,             -- JSON
    status     TEXT NOT NULL              -- JSON
) STRICT;

CREATE UNIQUE INDEX resources_by_name ON resources (kind, parent, name);

CREATE TABLE claims (
    scope TEXT NOT NULL,
    key   TEXT NOT NULL,
    owner TEXT NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX claims_by_owner ON claims (owner);

CREATE TABLE events (
    seq     INTEGER PRIMARY KEY,          -- from 1, without gaps
    time    TEXT NOT NULL,                -- as it was hashed, to the nanosecond
    actor   TEXT NOT NULL,
    request TEXT NOT NULL,
    subject TEXT NOT NULL,
    what    TEXT NOT NULL,
    data    TEXT NOT NULL,                -- JSON, as it was hashed
    hash    BLOB NOT NULL                 -- SHA-256 over the hash of the row before and this row
) STRICT;

CREATE INDEX events_by_subject ON events (subject);

CREATE TABLE idempotency (
    key    TEXT PRIMARY KEY,
    time   TEXT NOT NULL,
    answer TEXT NOT NULL                  -- JSON
) STRICT, WITHOUT ROWID;

CREATE TABLE cursors (
    name TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
