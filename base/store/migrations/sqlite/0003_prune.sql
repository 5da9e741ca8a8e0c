-- Behind which the log begins, once events were pruned: at most one row.

CREATE TABLE anchor (
    seq    INTEGER PRIMARY KEY,           -- the last event that went
    hash   BLOB NOT NULL,                 -- and the hash that it carried
    said   INTEGER NOT NULL,              -- the event that says so
    time   TEXT NOT NULL,
    policy TEXT NOT NULL
) STRICT;

-- Where resources are, or were, whose first event was pruned.

CREATE TABLE tombstones (
    id     TEXT PRIMARY KEY,
    parent TEXT NOT NULL                  -- '' for none
) STRICT, WITHOUT ROWID;
