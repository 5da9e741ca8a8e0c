-- The same tables as in SQLite, in a schema of their own. Texts are compared byte by byte ("C"); JSON and
-- times are texts, because hashes were made over exactly these.

CREATE TABLE freehold.resources (
    id         text COLLATE "C" PRIMARY KEY,
    kind       text COLLATE "C" NOT NULL,
    parent     text COLLATE "C" NOT NULL,    -- '' for none, so that names are unique at the top as well
    name       text COLLATE "C" NOT NULL,
    labels     text NOT NULL,                -- JSON object of strings
    generation bigint NOT NULL,
    version    bigint NOT NULL,              -- last event of the transaction that last wrote the row
    created    text NOT NULL,
    deleting   text,
    spec       text NOT NULL,                -- JSON
    status     text NOT NULL,                -- JSON
    -- Deferred: the rows of a group of transactions are written at once, in no order.
    CONSTRAINT resources_by_name UNIQUE (kind, parent, name) DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE freehold.claims (
    scope text COLLATE "C" NOT NULL,
    key   text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    PRIMARY KEY (scope, key)
);

CREATE INDEX claims_by_owner ON freehold.claims (owner);

CREATE TABLE freehold.events (
    seq     bigint PRIMARY KEY,              -- from 1, without gaps
    time    text NOT NULL,                   -- as it was hashed, to the nanosecond
    actor   text NOT NULL,
    request text NOT NULL,
    subject text COLLATE "C" NOT NULL,
    what    text NOT NULL,
    data    text NOT NULL,                   -- JSON, as it was hashed
    hash    bytea NOT NULL                   -- SHA-256 over the hash of the row before and this row
);

CREATE INDEX events_by_subject ON freehold.events (subject, seq);

CREATE TABLE freehold.idempotency (
    key    text COLLATE "C" PRIMARY KEY,
    time   text NOT NULL,
    answer text NOT NULL                     -- JSON
);

CREATE TABLE freehold.cursors (
    name text COLLATE "C" PRIMARY KEY,
    seq  bigint NOT NULL
);

-- The end of the log: one row. Whoever commits locks it first and until he has committed, so numbers are
-- given out, and become visible, in order.
CREATE TABLE freehold.head (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq  bigint NOT NULL,
    hash bytea NOT NULL
) WITH (fillfactor = 10);

INSERT INTO freehold.head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- The last group that each process committed: asked after a lost connection whether it happened.
CREATE TABLE freehold.writers (
    writer text COLLATE "C" PRIMARY KEY,
    groups bigint NOT NULL,
    at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);
