-- Behind which the log begins, once events were pruned: at most one row.

CREATE TABLE freehold.anchor (
    seq    bigint PRIMARY KEY,               -- the last event that went
    hash   bytea NOT NULL,                   -- and the hash that it carried
    said   bigint NOT NULL,                  -- the event that says so
    time   text NOT NULL,
    policy text NOT NULL
);

-- Where resources are, or were, whose first event was pruned.

CREATE TABLE freehold.tombstones (
    id     text COLLATE "C" PRIMARY KEY,
    parent text COLLATE "C" NOT NULL         -- '' for none
);
