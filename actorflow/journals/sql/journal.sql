-- Every statement of the SQLite journal, each under its name.

-- name: tables
SELECT count(*) FROM sqlite_master;

-- name: application_id
PRAGMA application_id;

-- name: user_version
PRAGMA user_version;

-- name: wal
PRAGMA journal_mode = WAL;

-- name: synchronous_full
PRAGMA synchronous = FULL;

-- name: synchronous_normal
PRAGMA synchronous = NORMAL;

-- name: secure_delete
PRAGMA secure_delete = ON;

-- name: autocheckpoint
PRAGMA wal_autocheckpoint = 128;

-- name: size_limit
PRAGMA journal_size_limit = 532480;

-- name: cell_size_check
PRAGMA cell_size_check = ON;

-- name: checkpoint
PRAGMA wal_checkpoint(PASSIVE);

-- name: checkpoint_all
PRAGMA wal_checkpoint(TRUNCATE);

-- name: do_not_wait
PRAGMA busy_timeout = 0;

-- name: wait
PRAGMA busy_timeout = 5000;

-- name: begin
BEGIN IMMEDIATE;

-- name: commit
COMMIT;

-- name: rollback
ROLLBACK;

-- name: begin_reading
BEGIN;

-- name: next_frame
SELECT coalesce(max(id), 0) + 1 FROM frames;

-- name: tail
SELECT key, dropped, (SELECT seq + count - 1 FROM frames WHERE run = runs.key ORDER BY seq DESC LIMIT 1)
FROM runs WHERE run_id = ?;

-- name: put_run
INSERT INTO runs (
    key, run_id, workflow_id, version, source, status, parent_id, started_at, ended_at, wake_at, fingerprint
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id) DO UPDATE SET
    workflow_id = excluded.workflow_id,
    version = excluded.version,
    source = excluded.source,
    status = excluded.status,
    parent_id = excluded.parent_id,
    started_at = excluded.started_at,
    ended_at = excluded.ended_at,
    wake_at = excluded.wake_at,
    fingerprint = excluded.fingerprint;

-- name: put_frame
INSERT INTO frames (id, run, seq, count, head, texts, crc, values_crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: put_values
INSERT INTO frame_values (id, body) VALUES (?, ?);

-- name: put_snapshot
INSERT OR REPLACE INTO snapshots (run, seq, body, crc) VALUES (?, ?, ?, ?);

-- name: trim_snapshots
DELETE FROM snapshots
WHERE run = :run AND seq < (SELECT seq FROM snapshots WHERE run = :run ORDER BY seq DESC LIMIT 1 OFFSET 1);

-- name: blank_values
UPDATE frame_values SET body = x'' WHERE id IN (SELECT id FROM frames WHERE run = ?);

-- name: drop_values
DELETE FROM frame_values WHERE id IN (SELECT id FROM frames WHERE run = ?);

-- name: drop_snapshots
DELETE FROM snapshots WHERE run = ?;

-- name: mark_dropped
UPDATE runs SET dropped = 1 WHERE key = ?;

-- name: run
SELECT run_id, workflow_id, version, source, status, parent_id, key, started_at, ended_at, wake_at, fingerprint, dropped
FROM runs WHERE run_id = ?;

-- name: snapshots
SELECT seq, body, crc FROM snapshots WHERE run = ? ORDER BY seq DESC;

-- name: frames
SELECT f.seq, f.count, f.head, f.texts, f.crc, f.values_crc, v.body
FROM frames AS f LEFT JOIN frame_values AS v ON v.id = f.id
WHERE f.run = :run
    AND f.seq >= coalesce((SELECT seq FROM frames WHERE run = :run AND seq <= :first ORDER BY seq DESC LIMIT 1), 1)
    AND f.seq <= :last
ORDER BY f.seq;

-- name: runs
-- The part between the marks is left out unless the caller filters by it.
SELECT run_id, workflow_id, version, source, status, parent_id, key, started_at, ended_at, wake_at, fingerprint, dropped
FROM runs
WHERE key < ?
/* workflow_id */ AND workflow_id = ?
/* statuses */ AND status IN (SELECT value FROM json_each(?))
/* excluded */ AND status NOT IN (SELECT value FROM json_each(?))
/* parent_id */ AND parent_id = ? AND parent_id <> ''
ORDER BY key DESC LIMIT ?;
