-- Starts of this agent, counted. One row.
CREATE TABLE boot (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL CHECK (number BETWEEN 1 AND 4294967295)
) STRICT;

-- Commits applied (state 1) and failed (state 2). The applied one is the newest row of state 1.
CREATE TABLE commits (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    parent TEXT NOT NULL,
    subject TEXT NOT NULL,
    time INTEGER NOT NULL,
    state INTEGER NOT NULL CHECK (state IN (1, 2)),
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX commits_by_id ON commits (id, number);

-- The inventory of the applied commit. generation and digest are unsigned 64-bit numbers kept in
-- SQLite's signed ones; so is peers.id.
CREATE TABLE objects (
    file TEXT NOT NULL,
    line INTEGER NOT NULL,
    kind TEXT NOT NULL,
    app TEXT NOT NULL,
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    digest INTEGER NOT NULL,
    PRIMARY KEY (file, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE peers (
    id INTEGER PRIMARY KEY,
    public_key BLOB NOT NULL,
    name TEXT NOT NULL,
    role INTEGER NOT NULL,
    serial INTEGER NOT NULL,
    admission BLOB NOT NULL,
    address_family INTEGER NOT NULL,
    address BLOB NOT NULL,
    port INTEGER NOT NULL,
    revoked INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    secret BLOB NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    uses_left INTEGER NOT NULL CHECK (uses_left BETWEEN 0 AND 4294967295),
    revoked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whom a token admitted: asking again takes no further use.
CREATE TABLE token_admissions (
    token TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    public_key BLOB NOT NULL,
    PRIMARY KEY (token, public_key)
) STRICT, WITHOUT ROWID;

-- Without AUTOINCREMENT, which would write one more page each time: the newest rows are never
-- deleted, so numbers rise all the same.
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    severity INTEGER NOT NULL CHECK (severity IN (1, 2, 3)),
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
