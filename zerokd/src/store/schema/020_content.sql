-- Contents in chunks that this device can read, so that it can upload, serve and reuse them. See content.rs.

-- Where the plaintext lies is not here: a file with this hash, as the folders' indexes say.
-- state: 0 to be uploaded, 1 done or received, 2 gone (the file changed before it was uploaded).
CREATE TABLE content (
    id    INTEGER PRIMARY KEY,
    grp   INTEGER NOT NULL REFERENCES grp(id),
    root  BLOB NOT NULL,               -- address of the root chunk
    epoch INTEGER NOT NULL,            -- of the lists; a chunk may have an older one
    tag   INTEGER NOT NULL,            -- u64 as i64
    size  INTEGER NOT NULL,
    hash  BLOB NOT NULL,               -- BLAKE3 of the plaintext
    state INTEGER NOT NULL,
    UNIQUE (grp, root)
) STRICT;
CREATE INDEX content_waiting ON content(id) WHERE state = 0;
CREATE INDEX content_hash ON content(hash);

-- fingerprint: first 16 bytes of BLAKE3 of the chunk's plaintext, keyed by the group. Lists (leaves, then the root) have
-- none, and as offset their place; they are made anew from the rows of their content when somebody wants them.
CREATE TABLE chunk (
    content     INTEGER NOT NULL REFERENCES content(id) ON DELETE CASCADE,
    list        INTEGER NOT NULL,      -- 0 data, 1 leaf or root
    offset      INTEGER NOT NULL,
    length      INTEGER NOT NULL,
    address     BLOB NOT NULL,
    epoch       INTEGER NOT NULL,
    tag         INTEGER NOT NULL,      -- u64 as i64
    fingerprint BLOB,
    PRIMARY KEY (content, list, offset, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX chunk_address ON chunk(address);
CREATE INDEX chunk_fingerprint ON chunk(fingerprint) WHERE list = 0;
