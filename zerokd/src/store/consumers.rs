//! Durable named offsets, and the answers to pushes that carry an idempotency key.

use rusqlite::{Connection, OptionalExtension, params};

use super::StoreError;
use super::log::{self, Appended, GroupRow};

/// How long an idempotency key is remembered, in milliseconds.
const REMEMBERED_MS: u64 = 24 * 3600 * 1000;

/// A consumer's offset in a channel, 0 at first.
pub(crate) fn offset(
    connection: &Connection,
    grp: GroupRow,
    channel: &str,
    name: &str,
) -> Result<u64, StoreError> {
    let Some(channel) = log::channel_row(connection, grp, channel)? else { return Ok(0) };
    let mut find = connection.prepare_cached("SELECT pos FROM consumer WHERE channel = ?1 AND name = ?2")?;
    Ok(find.query_row(params![channel, name], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Moves a consumer's offset forward; backward it stays where it is. False if the channel does not exist.
pub(crate) fn acknowledge(
    connection: &Connection,
    grp: GroupRow,
    channel: &str,
    name: &str,
    pos: u64,
) -> Result<bool, StoreError> {
    let Some(channel) = log::channel_row(connection, grp, channel)? else { return Ok(false) };
    connection
        .prepare_cached(
            "INSERT INTO consumer(channel, name, pos) VALUES (?1, ?2, ?3) \
             ON CONFLICT(channel, name) DO UPDATE SET pos = MAX(pos, ?3)",
        )?
        .execute(params![channel, name, pos])?;
    Ok(true)
}

/// The first answer to a push with this key, if it is younger than 24 h.
pub(crate) fn answered(
    connection: &Connection,
    grp: GroupRow,
    key: &str,
    now_ms: u64,
) -> Result<Option<Appended>, StoreError> {
    let mut find = connection
        .prepare_cached("SELECT n, pos FROM idempotency WHERE grp = ?1 AND key = ?2 AND at > ?3")?;
    let since = now_ms.saturating_sub(REMEMBERED_MS);
    let found =
        find.query_row(params![grp, key, since], |row| Ok(Appended { n: row.get(0)?, pos: row.get(1)? }));
    Ok(found.optional()?)
}

/// Remembers the answer to a push with this key.
pub(crate) fn remember(
    connection: &Connection,
    grp: GroupRow,
    key: &str,
    answer: Appended,
    now_ms: u64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO idempotency(grp, key, n, pos, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![grp, key, answer.n, answer.pos, now_ms])?;
    Ok(())
}

/// Forgets the answers that are too old. To be called now and then.
pub(crate) fn forget_old(connection: &Connection, now_ms: u64) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM idempotency WHERE at <= ?1")?
        .execute([now_ms.saturating_sub(REMEMBERED_MS)])?;
    Ok(())
}
