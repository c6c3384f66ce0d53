-- The tables of version 1 as they were released: never edited.
CREATE TABLE groups (
        no INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        log_id BLOB NOT NULL,
        last_cursor INTEGER NOT NULL,
        blobs INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE statements (
        group_no INTEGER NOT NULL REFERENCES groups(no) ON DELETE CASCADE,
        n INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (group_no, n)
    ) STRICT;
    -- Former members stay, uncounted: their blobs are still delivered.
    CREATE TABLE members (
        group_no INTEGER NOT NULL REFERENCES groups(no) ON DELETE CASCADE,
        device BLOB NOT NULL,
        counted INTEGER NOT NULL,
        acked INTEGER,
        push_id BLOB,
        push_hash BLOB,
        push_cursor INTEGER,
        push_ms INTEGER,
        PRIMARY KEY (group_no, device)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE blobs (
        id INTEGER PRIMARY KEY,
        group_no INTEGER NOT NULL REFERENCES groups(no) ON DELETE CASCADE,
        cursor INTEGER NOT NULL,
        pusher BLOB NOT NULL,
        blob_id BLOB NOT NULL,
        recipient BLOB,
        stored_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL,
        size INTEGER NOT NULL,
        hash BLOB NOT NULL,
        payload BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX blobs_cursor ON blobs(group_no, cursor);
    CREATE UNIQUE INDEX blobs_identity ON blobs(group_no, pusher, blob_id);
    CREATE INDEX blobs_pusher ON blobs(group_no, pusher, cursor) WHERE recipient IS NULL;
    CREATE INDEX blobs_recipient ON blobs(group_no, recipient, cursor) WHERE recipient IS NOT NULL;
    CREATE INDEX blobs_expiry ON blobs(expires_ms);
PRAGMA user_version = 1;
