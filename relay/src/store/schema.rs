//! Tables, as numbered migrations that are never edited once released.

use rusqlite_migration::{M, Migrations};

const STEPS: &[M<'_>] = &[
    M::up(
        "CREATE TABLE groups (
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
    CREATE INDEX blobs_expiry ON blobs(expires_ms);",
    ),
    // accepted_ms 0: accepted before that was noted, and so long settled. A group without a quota has the configured one.
    M::up(
        "ALTER TABLE statements ADD COLUMN accepted_ms INTEGER NOT NULL DEFAULT 0;
        CREATE TABLE invites (
            no INTEGER PRIMARY KEY,
            token_hash BLOB NOT NULL UNIQUE,
            note TEXT NOT NULL,
            quota INTEGER,
            groups INTEGER NOT NULL,
            used INTEGER NOT NULL,
            created_ms INTEGER NOT NULL,
            expires_ms INTEGER NOT NULL,
            revoked INTEGER NOT NULL
        ) STRICT;
        ALTER TABLE groups ADD COLUMN invite_no INTEGER REFERENCES invites(no);
        ALTER TABLE groups ADD COLUMN quota INTEGER;",
    ),
];

/// The version of a database that all of them were run on.
pub(super) const fn latest() -> usize {
    STEPS.len()
}

/// Every migration up to this version's.
pub(super) fn migrations() -> Migrations<'static> {
    Migrations::from_slice(STEPS)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_migrations_run() {
        super::migrations().validate().unwrap();
    }
}
