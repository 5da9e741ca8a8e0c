-- Who leads what. A commit under a lease locks its key (FOR KEY SHARE): name and version are a unique key, so
-- a renewal does not wait for the commit, but a new version does, and a commit that comes after sees it.

CREATE TABLE freehold.leases (
    name     text COLLATE "C" PRIMARY KEY,
    holder   text COLLATE "C" NOT NULL,      -- '' once it was given back
    version  bigint NOT NULL,                -- the fencing token: grows whenever the holder changes
    renewals bigint NOT NULL,                -- grows as long as the holder lives
    since    timestamptz NOT NULL DEFAULT clock_timestamp(),
    note     text NOT NULL,
    UNIQUE (name, version)
) WITH (fillfactor = 10);
