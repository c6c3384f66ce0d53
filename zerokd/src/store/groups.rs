//! Groups: secrets, roster statements, what other members hold, and blobs that could not be opened.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use zerok_core::{ConstantSecret, EpochSecret, Vector};
use zerok_protocol::roster::Append;
use zerok_protocol::{BlobId, ChainId, DeviceId, EpochId, GroupId};

use super::log::GroupRow;
use super::{StoreError, effects};

/// A group as it is stored.
pub(crate) struct StoredGroup {
    /// Its row.
    pub row: GroupRow,
    /// Its id.
    pub id: GroupId,
    /// Its constant secret.
    pub constant: ConstantSecret,
    /// The epoch secrets that this device holds.
    pub epochs: Vec<(EpochId, EpochSecret)>,
    /// The roster from genesis.
    pub statements: Vec<Append>,
    /// A statement that no relay has answered yet.
    pub pending: Option<Append>,
}

fn encode(append: &Append) -> Vec<u8> {
    rmp_serde::to_vec_named(append).expect("writing plain data to a Vec cannot fail")
}

fn decode(bytes: &[u8]) -> Result<Append, StoreError> {
    rmp_serde::from_slice(bytes).map_err(|_| StoreError::Damaged("a roster statement"))
}

/// A new group with its roster so far and this device's chain in it.
pub(crate) fn create(
    connection: &Connection,
    id: &GroupId,
    constant: &ConstantSecret,
    statements: &[Append],
    epochs: &[(EpochId, EpochSecret)],
    own: (&DeviceId, &ChainId),
    now_ms: u64,
) -> Result<GroupRow, StoreError> {
    connection
        .prepare_cached("INSERT INTO grp(gid, constant, created) VALUES (?1, ?2, ?3)")?
        .execute(params![id.as_bytes(), constant.expose(), now_ms])?;
    let row = connection.last_insert_rowid();
    for (n, append) in (0u64..).zip(statements) {
        put_statement(connection, row, n, append)?;
    }
    for (epoch, secret) in epochs {
        put_epoch(connection, row, *epoch, secret)?;
    }
    connection
        .prepare_cached("INSERT INTO chain(grp, device, chain, own) VALUES (?1, ?2, ?3, 1)")?
        .execute(params![row, own.0.as_bytes(), own.1.as_bytes()])?;
    effects::outgoing();
    Ok(row)
}

/// All groups.
pub(crate) fn all(connection: &Connection) -> Result<Vec<StoredGroup>, StoreError> {
    let mut find = connection.prepare_cached("SELECT id, gid, constant FROM grp ORDER BY id")?;
    let mut rows = find.query([])?;
    let mut groups = Vec::new();
    while let Some(found) = rows.next()? {
        let row: GroupRow = found.get(0)?;
        groups.push(StoredGroup {
            row,
            id: GroupId(found.get(1)?),
            constant: ConstantSecret::from(found.get::<_, [u8; 32]>(2)?),
            epochs: epochs(connection, row)?,
            statements: statements_from(connection, row, 0)?,
            pending: pending(connection, row)?,
        });
    }
    Ok(groups)
}

fn epochs(connection: &Connection, grp: GroupRow) -> Result<Vec<(EpochId, EpochSecret)>, StoreError> {
    let mut find =
        connection.prepare_cached("SELECT number, tag, secret FROM epoch WHERE grp = ?1 ORDER BY number")?;
    let rows = find.query_map([grp], |row| {
        let epoch = EpochId { number: row.get(0)?, tag: row.get::<_, i64>(1)?.cast_unsigned() };
        Ok((epoch, EpochSecret::from(row.get::<_, [u8; 32]>(2)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The roster's statements from a number on.
pub(crate) fn statements_from(
    connection: &Connection,
    grp: GroupRow,
    from: u64,
) -> Result<Vec<Append>, StoreError> {
    let mut find =
        connection.prepare_cached("SELECT append FROM statement WHERE grp = ?1 AND n >= ?2 ORDER BY n")?;
    let mut rows = find.query(params![grp, from])?;
    let mut statements = Vec::new();
    while let Some(row) = rows.next()? {
        statements.push(decode(&row.get::<_, Vec<u8>>(0)?)?);
    }
    Ok(statements)
}

fn pending(connection: &Connection, grp: GroupRow) -> Result<Option<Append>, StoreError> {
    let mut find = connection.prepare_cached("SELECT append FROM pending_statement WHERE grp = ?1")?;
    let found: Option<Vec<u8>> = find.query_row([grp], |row| row.get(0)).optional()?;
    found.map(|bytes| decode(&bytes)).transpose()
}

/// Stores a statement of the roster; a pending one is settled by it.
pub(crate) fn put_statement(
    connection: &Connection,
    grp: GroupRow,
    n: u64,
    append: &Append,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO statement(grp, n, append) VALUES (?1, ?2, ?3)")?
        .execute(params![grp, n, encode(append)])?;
    connection.prepare_cached("DELETE FROM pending_statement WHERE grp = ?1")?.execute([grp])?;
    effects::outgoing();
    Ok(())
}

/// Stores an epoch's secret.
pub(crate) fn put_epoch(
    connection: &Connection,
    grp: GroupRow,
    epoch: EpochId,
    secret: &EpochSecret,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO epoch(grp, number, tag, secret) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![grp, epoch.number, epoch.tag.cast_signed(), secret.expose()])?;
    Ok(())
}

/// Stores an own statement before any relay sees it.
pub(crate) fn put_pending(connection: &Connection, grp: GroupRow, append: &Append) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO pending_statement(grp, append) VALUES (?1, ?2)")?
        .execute(params![grp, encode(append)])?;
    effects::outgoing();
    Ok(())
}

/// Stores what another member said it holds.
pub(crate) fn put_peer(
    connection: &Connection,
    grp: GroupRow,
    device: &DeviceId,
    vector: &Vector,
    now_ms: u64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO peer(grp, device, vector, at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT(grp, device) DO UPDATE SET vector = ?3, at = ?4",
        )?
        .execute(params![grp, device.as_bytes(), vector.to_bytes(), now_ms])?;
    Ok(())
}

/// What the other members said they hold, and when.
pub(crate) fn peers(
    connection: &Connection,
    grp: GroupRow,
) -> Result<Vec<(DeviceId, Vector, u64)>, StoreError> {
    let mut find = connection.prepare_cached("SELECT device, vector, at FROM peer WHERE grp = ?1")?;
    let mut rows = find.query([grp])?;
    let mut peers = Vec::new();
    while let Some(row) = rows.next()? {
        let vector =
            Vector::from_bytes(&row.get::<_, Vec<u8>>(1)?).map_err(|_| StoreError::Damaged("a vector"))?;
        peers.push((DeviceId(row.get(0)?), vector, row.get(2)?));
    }
    Ok(peers)
}

/// Most bytes that are kept in quarantine for a group.
const QUARANTINE_BYTES: u64 = 64 << 20;

/// Keeps a blob that could not be opened or verified; the oldest make room.
pub(crate) fn quarantine(
    connection: &Connection,
    grp: GroupRow,
    blob: &BlobId,
    payload: &Bytes,
    reason: &str,
    now_ms: u64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO quarantine(grp, blob_id, payload, reason, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![grp, blob.as_bytes(), &payload[..], reason, now_ms])?;
    let held = |connection: &Connection| -> Result<u64, StoreError> {
        let mut sum = connection
            .prepare_cached("SELECT COALESCE(SUM(length(payload)), 0) FROM quarantine WHERE grp = ?1")?;
        Ok(sum.query_row([grp], |row| row.get(0))?)
    };
    while held(connection)? > QUARANTINE_BYTES {
        connection
            .prepare_cached(
                "DELETE FROM quarantine WHERE id = (SELECT MIN(id) FROM quarantine WHERE grp = ?1)",
            )?
            .execute([grp])?;
    }
    Ok(())
}

/// How many blobs are in quarantine, by reason.
pub(crate) fn quarantined(connection: &Connection, grp: GroupRow) -> Result<Vec<(String, u64)>, StoreError> {
    let mut find = connection
        .prepare_cached("SELECT reason, COUNT(*) FROM quarantine WHERE grp = ?1 GROUP BY reason")?;
    Ok(find.query_map([grp], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
}

/// The blobs that could not be opened for lack of a key, to try them again.
pub(crate) fn take_quarantined(
    connection: &Connection,
    grp: GroupRow,
    reason: &str,
) -> Result<Vec<(BlobId, Bytes)>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT blob_id, payload FROM quarantine WHERE grp = ?1 AND reason = ?2 ORDER BY id",
    )?;
    let rows = find.query_map(params![grp, reason], |row| {
        Ok((BlobId(row.get(0)?), Bytes::from(row.get::<_, Vec<u8>>(1)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Lets go of a blob that was opened after all.
pub(crate) fn drop_quarantined(
    connection: &Connection,
    grp: GroupRow,
    blob: &BlobId,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM quarantine WHERE grp = ?1 AND blob_id = ?2")?
        .execute(params![grp, blob.as_bytes()])?;
    Ok(())
}
