//! Relays and how far each has come with each group.

use rusqlite::{Connection, OptionalExtension, params};
use zerok_protocol::{DeviceId, LogId, RelayAddr};

use super::log::GroupRow;
use super::{StoreError, effects};

/// A relay's row in the database.
pub(crate) type RelayRow = i64;

/// A relay as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRelay {
    /// Its row.
    pub row: RelayRow,
    /// Its address, token included.
    pub address: RelayAddr,
}

/// How far a relay has come with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Names the relay's log; when it changes, the relay starts from 0.
    pub log_id: LogId,
    /// Everything up to here from this relay is taken in.
    pub cursor: u64,
    /// Own bundles up to here are durable there.
    pub sent: u64,
}

/// Adds a relay, or gives a known one its new address. Returns its row.
pub(crate) fn put(connection: &Connection, address: &RelayAddr, now_ms: u64) -> Result<RelayRow, StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO relay(device, address, added) VALUES (?1, ?2, ?3) ON CONFLICT(device) DO UPDATE SET address = ?2",
        )?
        .execute(params![address.id.as_bytes(), address.expose(), now_ms])?;
    effects::relays();
    let mut find = connection.prepare_cached("SELECT id FROM relay WHERE device = ?1")?;
    Ok(find.query_row([address.id.as_bytes()], |row| row.get(0))?)
}

/// Removes a relay; false if there was none.
pub(crate) fn remove(connection: &Connection, id: &DeviceId) -> Result<bool, StoreError> {
    let gone = connection.prepare_cached("DELETE FROM relay WHERE device = ?1")?.execute([id.as_bytes()])?;
    effects::relays();
    Ok(gone > 0)
}

/// All relays in the order in which they were added.
pub(crate) fn all(connection: &Connection) -> Result<Vec<StoredRelay>, StoreError> {
    let mut find = connection.prepare_cached("SELECT id, address FROM relay ORDER BY id")?;
    let mut rows = find.query([])?;
    let mut relays = Vec::new();
    while let Some(row) = rows.next()? {
        let address = row.get::<_, String>(1)?.parse().map_err(|_| StoreError::Damaged("a relay address"))?;
        relays.push(StoredRelay { row: row.get(0)?, address });
    }
    Ok(relays)
}

/// How far a relay has come with a group; absent before the first session.
pub(crate) fn progress(
    connection: &Connection,
    relay: RelayRow,
    grp: GroupRow,
) -> Result<Option<Progress>, StoreError> {
    let mut find = connection
        .prepare_cached("SELECT log_id, cursor, sent FROM relay_grp WHERE relay = ?1 AND grp = ?2")?;
    let found = find.query_row(params![relay, grp], |row| {
        Ok(Progress { log_id: LogId(row.get(0)?), cursor: row.get(1)?, sent: row.get(2)? })
    });
    Ok(found.optional()?)
}

/// Starts or restarts the count for a relay.
pub(crate) fn set_progress(
    connection: &Connection,
    relay: RelayRow,
    grp: GroupRow,
    progress: Progress,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO relay_grp(relay, grp, log_id, cursor, sent) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![relay, grp, progress.log_id.as_bytes(), progress.cursor, progress.sent])?;
    Ok(())
}

/// Everything up to `cursor` from this relay is taken in.
pub(crate) fn set_cursor(
    connection: &Connection,
    relay: RelayRow,
    grp: GroupRow,
    cursor: u64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE relay_grp SET cursor = MAX(cursor, ?3) WHERE relay = ?1 AND grp = ?2")?
        .execute(params![relay, grp, cursor])?;
    Ok(())
}

/// Own bundles up to `sent` are durable at this relay.
pub(crate) fn set_sent(
    connection: &Connection,
    relay: RelayRow,
    grp: GroupRow,
    sent: u64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE relay_grp SET sent = MAX(sent, ?3) WHERE relay = ?1 AND grp = ?2")?
        .execute(params![relay, grp, sent])?;
    Ok(())
}
