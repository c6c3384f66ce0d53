//! Invites that this device made. An invite is decided once: the transaction that decides the joiner also stores the
//! statement that adds it.

use rusqlite::{Connection, OptionalExtension, params};

use super::StoreError;
use super::log::GroupRow;
use super::relays::RelayRow;

/// Wrong requests after which an invite is dead.
const MOST_GUESSES: u64 = 5;

/// An invite as it is stored.
#[derive(Clone)]
pub(crate) struct StoredInvite {
    /// Its row; what the API calls invite_id.
    pub row: i64,
    /// The group's row.
    pub grp: GroupRow,
    /// The relay whose mailbox it uses.
    pub relay: RelayRow,
    /// The invite text, which is its secret.
    pub invite: String,
    /// When it expires, Unix ms.
    pub expires: u64,
    /// The decided joiner's request (MessagePack), while the grant is on its way.
    pub joiner: Option<Vec<u8>>,
}

/// Stores a new invite.
pub(crate) fn put(
    connection: &Connection,
    grp: GroupRow,
    relay: RelayRow,
    invite: &str,
    expires: u64,
) -> Result<i64, StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO invite(grp, relay, invite, expires, state) VALUES (?1, ?2, ?3, ?4, 'open')",
        )?
        .execute(params![grp, relay, invite, expires])?;
    Ok(connection.last_insert_rowid())
}

/// Invites that are still open or being granted.
pub(crate) fn live(connection: &Connection) -> Result<Vec<StoredInvite>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT id, grp, relay, invite, expires, joiner FROM invite WHERE state IN ('open', 'granting') ORDER BY id",
    )?;
    let rows = find.query_map([], |row| {
        Ok(StoredInvite {
            row: row.get(0)?,
            grp: row.get(1)?,
            relay: row.get(2)?,
            invite: row.get(3)?,
            expires: row.get(4)?,
            joiner: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Decides the joiner; false if the invite is no longer open.
pub(crate) fn decide(
    connection: &Connection,
    row: i64,
    joiner: &[u8],
    name: &str,
) -> Result<bool, StoreError> {
    let changed = connection
        .prepare_cached(
            "UPDATE invite SET state = 'granting', joiner = ?2, name = ?3 WHERE id = ?1 AND state = 'open'",
        )?
        .execute(params![row, joiner, name])?;
    Ok(changed == 1)
}

/// Ends an invite; its secret is forgotten.
pub(crate) fn end(connection: &Connection, row: i64, state: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE invite SET state = ?2, invite = '', joiner = NULL WHERE id = ?1")?
        .execute(params![row, state])?;
    Ok(())
}

/// Counts a request that the invite's secret does not open; true when it was one too many and the invite is dead.
pub(crate) fn wrong_guess(connection: &Connection, row: i64) -> Result<bool, StoreError> {
    connection.prepare_cached("UPDATE invite SET guesses = guesses + 1 WHERE id = ?1")?.execute([row])?;
    let mut find = connection.prepare_cached("SELECT guesses FROM invite WHERE id = ?1")?;
    let guesses: Option<u64> = find.query_row([row], |r| r.get(0)).optional()?;
    let dead = guesses.is_none_or(|g| g >= MOST_GUESSES);
    if dead {
        end(connection, row, "dead")?;
    }
    Ok(dead)
}
