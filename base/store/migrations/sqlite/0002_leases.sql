-- Who leads what. One process has the file open at a time, so renewals need not survive it: they are counted
-- in memory.

CREATE TABLE leases (
    name    TEXT PRIMARY KEY,
    holder  TEXT NOT NULL,                -- '' once it was given back
    version INTEGER NOT NULL,             -- the fencing token: grows whenever the holder changes
    since   TEXT NOT NULL,
    note    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
