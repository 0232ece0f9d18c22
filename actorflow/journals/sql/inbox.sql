-- Every statement of the inbox, each under its name. application_id is "aflx".

-- name: tables
SELECT count(*) FROM sqlite_master;

-- name: application_id
PRAGMA application_id;

-- name: mark
PRAGMA application_id = 1634102392;

-- name: secure_delete
PRAGMA secure_delete = ON;

-- name: create
CREATE TABLE requests (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    body  TEXT NOT NULL,
    taken INTEGER NOT NULL DEFAULT 0,
    reply TEXT
);

-- name: begin
BEGIN IMMEDIATE;

-- name: commit
COMMIT;

-- name: post
INSERT INTO requests (body) VALUES (?);

-- name: prune
DELETE FROM requests WHERE id <= ?;

-- name: waiting
SELECT id, body FROM requests WHERE taken = 0 ORDER BY id;

-- name: take
UPDATE requests SET taken = 1 WHERE id = ?;

-- name: answer
UPDATE requests SET reply = ? WHERE id = ?;

-- name: reply
SELECT reply FROM requests WHERE id = ? AND reply IS NOT NULL;

-- name: withdraw
DELETE FROM requests WHERE id = ? AND taken = 0;
