-- The journal file, version 1. One transaction: a crash leaves either an empty file or a whole one.
-- application_id is "aflw"; user_version is the version of these tables (facts carry versions of their own).
BEGIN IMMEDIATE;
PRAGMA application_id = 1634102391;
PRAGMA user_version = 1;

-- One row per run. `key` orders the runs; `dropped`: the run is over and the values of its store are gone.
CREATE TABLE runs (
    key         INTEGER PRIMARY KEY,
    run_id      TEXT NOT NULL UNIQUE,
    workflow_id TEXT NOT NULL,
    version     TEXT NOT NULL,
    source      TEXT NOT NULL,
    status      TEXT NOT NULL,
    parent_id   TEXT NOT NULL,
    started_at  REAL NOT NULL,
    ended_at    REAL NOT NULL,
    wake_at     REAL NOT NULL,
    fingerprint TEXT NOT NULL,
    dropped     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX runs_of_status ON runs (status, key);
CREATE INDEX runs_of_parent ON runs (parent_id, key) WHERE parent_id <> '';

-- One row per run and commit, in the order of the commits: rows of one commit lie side by side, whatever their runs.
-- A clustered (run, seq) would touch a page per run and commit, and spill all rows over 1 KB to pages of their own.
CREATE TABLE frames (
    id         INTEGER PRIMARY KEY,
    run        INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    head       BLOB NOT NULL,
    texts      BLOB NOT NULL,
    crc        INTEGER NOT NULL,
    values_crc INTEGER
);
CREATE UNIQUE INDEX frames_of_run ON frames (run, seq);

-- The values of the run store that a frame holds, apart, because they go when the run ends.
CREATE TABLE frame_values (
    id   INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);

CREATE TABLE snapshots (
    id   INTEGER PRIMARY KEY,
    run  INTEGER NOT NULL,
    seq  INTEGER NOT NULL,
    body BLOB NOT NULL,
    crc  INTEGER NOT NULL
);
CREATE UNIQUE INDEX snapshots_of_run ON snapshots (run, seq);
COMMIT;
