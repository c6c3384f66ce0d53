-- Groups, their rosters and secrets; the log; relays. See store/log.rs for how the log tables work together.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE grp (
    id       INTEGER PRIMARY KEY,
    gid      BLOB NOT NULL UNIQUE,
    constant BLOB NOT NULL,            -- the group's constant secret
    created  INTEGER NOT NULL          -- Unix ms
) STRICT;

CREATE TABLE epoch (
    grp    INTEGER NOT NULL REFERENCES grp(id),
    number INTEGER NOT NULL,
    tag    INTEGER NOT NULL,           -- u64 as i64
    secret BLOB NOT NULL,
    PRIMARY KEY (grp, number, tag)
) STRICT;

-- The roster: exact signed statements with all that stands beside them (MessagePack of roster::Append).
CREATE TABLE statement (
    grp    INTEGER NOT NULL REFERENCES grp(id),
    n      INTEGER NOT NULL,
    append BLOB NOT NULL,
    PRIMARY KEY (grp, n)
) STRICT;

-- A statement that this device has issued and no relay has answered yet.
CREATE TABLE pending_statement (
    grp    INTEGER PRIMARY KEY REFERENCES grp(id),
    append BLOB NOT NULL
) STRICT;

-- One row a chain. seq, hash: the last bundle held with no hole before it; entries: the number of its last entry.
-- For this device's own chain, next_n is the number of the next entry; entries with n > entries are not cut yet.
CREATE TABLE chain (
    id      INTEGER PRIMARY KEY,
    grp     INTEGER NOT NULL REFERENCES grp(id),
    device  BLOB NOT NULL,
    chain   BLOB NOT NULL,
    own     INTEGER NOT NULL,
    seq     INTEGER NOT NULL DEFAULT 0,
    hash    BLOB,
    entries INTEGER NOT NULL DEFAULT 0,
    next_n  INTEGER NOT NULL DEFAULT 1,
    hlc     INTEGER NOT NULL DEFAULT 0,  -- own chain: the last HLC given out or observed
    UNIQUE (grp, device, chain)
) STRICT;
CREATE UNIQUE INDEX chain_own ON chain(grp) WHERE own = 1;

CREATE TABLE bundle (
    chain     INTEGER NOT NULL REFERENCES chain(id),
    seq       INTEGER NOT NULL,
    hash      BLOB NOT NULL,
    prev      BLOB,
    first     INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    header    BLOB NOT NULL,
    signature BLOB NOT NULL,
    PRIMARY KEY (chain, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE channel (
    id   INTEGER PRIMARY KEY,
    grp  INTEGER NOT NULL REFERENCES grp(id),
    name TEXT NOT NULL,
    next INTEGER NOT NULL DEFAULT 1,   -- the next position in this channel's merged log
    UNIQUE (grp, name)
) STRICT;

-- pos: the place in the channel's merged log; NULL while a hole before it in its chain is open.
CREATE TABLE entry (
    id      INTEGER PRIMARY KEY,
    chain   INTEGER NOT NULL REFERENCES chain(id),
    n       INTEGER NOT NULL,
    channel INTEGER NOT NULL REFERENCES channel(id),
    pos     INTEGER,
    hlc     INTEGER NOT NULL,
    key     TEXT,
    bytes   BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX entry_n ON entry(chain, n);
CREATE UNIQUE INDEX entry_pos ON entry(channel, pos) WHERE pos IS NOT NULL;
CREATE INDEX entry_key ON entry(channel, key, hlc) WHERE key IS NOT NULL;

-- Blobs that could not be opened or verified; kept, tried again, reported.
CREATE TABLE quarantine (
    id      INTEGER PRIMARY KEY,
    grp     INTEGER NOT NULL REFERENCES grp(id),
    blob_id BLOB NOT NULL,
    payload BLOB NOT NULL,
    reason  TEXT NOT NULL,
    at      INTEGER NOT NULL,
    UNIQUE (grp, blob_id)
) STRICT;

CREATE TABLE consumer (
    channel INTEGER NOT NULL REFERENCES channel(id),
    name    TEXT NOT NULL,
    pos     INTEGER NOT NULL,
    PRIMARY KEY (channel, name)
) STRICT;

CREATE TABLE idempotency (
    grp INTEGER NOT NULL REFERENCES grp(id),
    key TEXT NOT NULL,
    n   INTEGER NOT NULL,
    pos INTEGER NOT NULL,
    at  INTEGER NOT NULL,
    PRIMARY KEY (grp, key)
) STRICT, WITHOUT ROWID;

-- address is the text with its token.
CREATE TABLE relay (
    id      INTEGER PRIMARY KEY,
    device  BLOB NOT NULL UNIQUE,
    address TEXT NOT NULL,
    added   INTEGER NOT NULL
) STRICT;

-- cursor: everything up to here from this relay is taken in. sent: own bundles up to here are durable there.
CREATE TABLE relay_grp (
    relay  INTEGER NOT NULL REFERENCES relay(id) ON DELETE CASCADE,
    grp    INTEGER NOT NULL REFERENCES grp(id),
    log_id BLOB NOT NULL,
    cursor INTEGER NOT NULL,
    sent   INTEGER NOT NULL,
    PRIMARY KEY (relay, grp)
) STRICT;

-- What another member said it holds, as of its last Vector signal.
CREATE TABLE peer (
    grp    INTEGER NOT NULL REFERENCES grp(id),
    device BLOB NOT NULL,
    vector BLOB NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (grp, device)
) STRICT;

-- state: open, granting (the member is decided, the grant is on its way), done, dead.
CREATE TABLE invite (
    id       INTEGER PRIMARY KEY,
    grp      INTEGER NOT NULL REFERENCES grp(id),
    relay    INTEGER NOT NULL REFERENCES relay(id) ON DELETE CASCADE,
    invite   TEXT NOT NULL,
    expires  INTEGER NOT NULL,
    state    TEXT NOT NULL,
    guesses  INTEGER NOT NULL DEFAULT 0,
    joiner   BLOB,
    name     TEXT
) STRICT;
