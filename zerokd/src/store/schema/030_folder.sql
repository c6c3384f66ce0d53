-- Synced folders. See folder/index.rs for how these tables work together.

-- A folder that was announced, or is added or joined here. path: where it is on this device, NULL when it is not.
-- announced: the HLC of the announcement that name and removed come from. read: position in the channel's merged log
-- up to which records are taken in.
CREATE TABLE folder (
    id         INTEGER PRIMARY KEY,
    grp        INTEGER NOT NULL REFERENCES grp(id),
    fid        BLOB NOT NULL,
    name       TEXT NOT NULL,
    created_by BLOB NOT NULL,
    removed    INTEGER NOT NULL DEFAULT 0,
    announced  INTEGER NOT NULL DEFAULT 0,
    path       TEXT,
    read       INTEGER NOT NULL DEFAULT 0,
    UNIQUE (grp, fid)
) STRICT;

-- Position in the channel $folders up to which announcements are taken in.
CREATE TABLE folder_announced (
    grp  INTEGER PRIMARY KEY REFERENCES grp(id),
    read INTEGER NOT NULL
) STRICT;

-- What was last put on or taken from this disk at a path. kind NULL: a delete was. raw: the whole path as this disk
-- spells it, where that is not the key.
CREATE TABLE folder_path (
    folder  INTEGER NOT NULL REFERENCES folder(id) ON DELETE CASCADE,
    parent  TEXT NOT NULL,
    name    TEXT NOT NULL,
    raw     TEXT,
    version BLOB NOT NULL,
    kind    INTEGER,
    target  TEXT,
    size    INTEGER NOT NULL DEFAULT 0,
    mtime   INTEGER NOT NULL DEFAULT 0,  -- ns
    inode   INTEGER NOT NULL DEFAULT 0,  -- u64 as i64
    device  INTEGER NOT NULL DEFAULT 0,  -- u64 as i64
    mode    INTEGER NOT NULL DEFAULT 0,
    hash    BLOB,
    racy    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (folder, parent, name)
) STRICT, WITHOUT ROWID;
-- Large files are found again by content or inode, so that a move or copy transfers nothing.
CREATE INDEX folder_path_hash ON folder_path(folder, hash) WHERE size > 32768;

-- The records of a path that no other dominates. Inline contents are not here: they stand in the log at (chain, n).
-- origin: the path whose conflict this copy is derived from; NULL for a record of the log.
CREATE TABLE folder_record (
    folder     INTEGER NOT NULL REFERENCES folder(id) ON DELETE CASCADE,
    parent     TEXT NOT NULL,
    name       TEXT NOT NULL,
    digest     INTEGER NOT NULL,        -- of everything that makes it this record
    origin     TEXT,
    raw        TEXT,                    -- the author's spelling, where it is not the key
    kind       INTEGER NOT NULL,
    target     TEXT,
    size       INTEGER NOT NULL,
    mtime      INTEGER NOT NULL,        -- ns
    executable INTEGER NOT NULL,
    owner_only INTEGER NOT NULL,
    deleted    INTEGER NOT NULL,
    hash       BLOB,
    root       BLOB,                    -- of chunked contents; NULL: inline
    epoch      INTEGER,
    tag        INTEGER,                 -- u64 as i64
    version    BLOB NOT NULL,
    by_chain   BLOB NOT NULL,
    hlc        INTEGER NOT NULL,
    chain      BLOB NOT NULL,           -- where in the log it, or what it is derived from, stands
    n          INTEGER NOT NULL,
    PRIMARY KEY (folder, parent, name, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX folder_record_live ON folder_record(folder, parent) WHERE deleted = 0;
CREATE INDEX folder_record_origin ON folder_record(folder, origin) WHERE origin IS NOT NULL;

-- Paths whose disk may differ from their records: the durable work list. not_before: Unix ms.
CREATE TABLE folder_pending (
    id         INTEGER PRIMARY KEY,
    folder     INTEGER NOT NULL REFERENCES folder(id) ON DELETE CASCADE,
    parent     TEXT NOT NULL,
    name       TEXT NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER NOT NULL DEFAULT 0,
    UNIQUE (folder, parent, name)
) STRICT;
CREATE INDEX folder_pending_later ON folder_pending(folder, not_before) WHERE not_before > 0;

-- Exchanges begun: the temporary, and the inode that was staged under it. What stands there with another inode was
-- displaced from the path.
CREATE TABLE folder_intent (
    folder INTEGER NOT NULL REFERENCES folder(id) ON DELETE CASCADE,
    tmp    TEXT NOT NULL,
    parent TEXT NOT NULL,
    name   TEXT NOT NULL,
    inode  INTEGER NOT NULL,            -- u64 as i64
    PRIMARY KEY (folder, tmp)
) STRICT, WITHOUT ROWID;

-- What stands in the way, by path ('' for the folder itself).
CREATE TABLE folder_problem (
    folder INTEGER NOT NULL REFERENCES folder(id) ON DELETE CASCADE,
    path   TEXT NOT NULL,
    code   TEXT NOT NULL,
    text   TEXT NOT NULL,
    hint   TEXT NOT NULL,
    PRIMARY KEY (folder, path, code)
) STRICT, WITHOUT ROWID;
