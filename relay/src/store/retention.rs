//! How long blobs live: until every counted member other than the pusher has acknowledged them (with a recipient: that
//! one), until their time is over, or until the quota needs the room and somebody else has them. A blob never goes
//! merely because nobody else is there yet.

use std::collections::HashMap;
use std::sync::PoisonError;

use rusqlite::{Connection, OptionalExtension, params};
use zerok_protocol::{DeviceId, GroupId};

use super::StoreError;
use super::blobs::{from_sql, to_sql};
use super::writer::Work;
use crate::clock;

/// Blobs removed in one transaction at most, so that pushes never wait long.
pub(super) const AT_ONCE: u64 = 500;

/// Who has acknowledged what.
struct Standing {
    /// Everybody who ever was a member and may have blobs here.
    pushers: Vec<DeviceId>,
    /// Members that count, with their last acknowledged cursor.
    counted: Vec<(DeviceId, u64)>,
}

impl Standing {
    fn read(c: &Connection, group_no: i64) -> Result<Self, StoreError> {
        let mut standing = Self { pushers: Vec::new(), counted: Vec::new() };
        let mut select =
            c.prepare_cached("SELECT device, counted, acked FROM members WHERE group_no = ?1")?;
        let mut rows = select.query([group_no])?;
        while let Some(row) = rows.next()? {
            let device = DeviceId(row.get(0)?);
            standing.pushers.push(device);
            if row.get(1)? {
                standing.counted.push((device, row.get::<_, Option<i64>>(2)?.map_or(0, from_sql)));
            }
        }
        Ok(standing)
    }

    fn others(&self, pusher: &DeviceId) -> impl Iterator<Item = u64> {
        self.counted.iter().filter(move |(device, _)| device != pusher).map(|(_, acked)| *acked)
    }

    /// Every other counted member has the pusher's blobs up to here; 0 if there is no other.
    fn everybody_has(&self, pusher: &DeviceId) -> u64 {
        self.others(pusher).min().unwrap_or(0)
    }

    /// At least one other counted member has the pusher's blobs up to here.
    fn somebody_has(&self, pusher: &DeviceId) -> u64 {
        self.others(pusher).max().unwrap_or(0)
    }
}

/// Writes pending acknowledgements and removes what they free; true if more than [`AT_ONCE`] is to go.
pub(super) fn flush_acks(work: &mut Work<'_>) -> Result<bool, StoreError> {
    let pending = std::mem::take(&mut *work.acks.lock().unwrap_or_else(PoisonError::into_inner));
    let c = work.connection;
    let mut groups: HashMap<i64, Vec<(DeviceId, u64)>> = HashMap::new();
    for ((group, device), cursor) in &pending {
        let no = c
            .prepare_cached("SELECT no FROM groups WHERE id = ?1")?
            .query_row([group.as_bytes()], |r| r.get::<_, i64>(0))
            .optional()?;
        let Some(no) = no else { continue };
        c.prepare_cached(
            "UPDATE members SET acked = max(coalesce(acked, 0), ?3) WHERE group_no = ?1 AND device = ?2",
        )?
        .execute(params![no, device.as_bytes(), to_sql(*cursor)])?;
        groups.entry(no).or_default().push((*device, *cursor));
    }
    let mut budget = AT_ONCE;
    for (no, acks) in &groups {
        for (device, cursor) in acks {
            budget -= remove_for_recipient(work, *no, device, *cursor, budget)?;
        }
        budget -= remove_acknowledged(work, *no, budget)?;
    }
    if budget == 0 {
        // The rest in the next transaction: said again, the acknowledgements free what is left.
        let mut acks = work.acks.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, cursor) in pending {
            let acked = acks.entry(key).or_default();
            *acked = cursor.max(*acked);
        }
        return Ok(true);
    }
    Ok(false)
}

/// Removes what every other counted member has; returns how many.
pub(super) fn remove_acknowledged(work: &mut Work<'_>, no: i64, limit: u64) -> Result<u64, StoreError> {
    let standing = Standing::read(work.connection, no)?;
    let mut removed = 0;
    for pusher in &standing.pushers {
        let upto = standing.everybody_has(pusher);
        if upto > 0 && removed < limit {
            let sql = "DELETE FROM blobs WHERE id IN (SELECT id FROM blobs
                       WHERE group_no = ?1 AND pusher = ?2 AND cursor <= ?3 AND recipient IS NULL
                       ORDER BY cursor LIMIT ?4) RETURNING size";
            removed += remove(work, no, sql, pusher, upto, limit - removed)?;
        }
    }
    Ok(removed)
}

fn remove_for_recipient(
    work: &mut Work<'_>,
    no: i64,
    recipient: &DeviceId,
    upto: u64,
    limit: u64,
) -> Result<u64, StoreError> {
    let sql = "DELETE FROM blobs WHERE id IN (SELECT id FROM blobs
               WHERE group_no = ?1 AND recipient = ?2 AND cursor <= ?3 ORDER BY cursor LIMIT ?4) RETURNING size";
    remove(work, no, sql, recipient, upto, limit)
}

fn remove(
    work: &mut Work<'_>,
    no: i64,
    sql: &str,
    device: &DeviceId,
    upto: u64,
    limit: u64,
) -> Result<u64, StoreError> {
    let (mut blobs, mut bytes) = (0, 0);
    let mut delete = work.connection.prepare_cached(sql)?;
    let mut rows = delete.query(params![no, device.as_bytes(), to_sql(upto), to_sql(limit)])?;
    while let Some(row) = rows.next()? {
        blobs += 1;
        bytes += from_sql(row.get(0)?);
    }
    work.books.removed(work.connection, no, blobs, bytes)?;
    Ok(blobs)
}

/// Frees room for `size` bytes in a group: what is acknowledged by all, then the oldest that somebody else has. Works
/// on the rows: the books are written before and forgotten after.
pub(super) fn make_room(work: &mut Work<'_>, id: &GroupId, size: u64) -> Result<(), StoreError> {
    flush_acks(work)?;
    work.books.forget();
    let group = work.books.group(work.connection, id)?;
    let quotas = work.quotas;
    let over_group = (group.bytes + size).saturating_sub(group.quota(quotas));
    let over_total = (work.books.totals.bytes + size).saturating_sub(quotas.total_bytes);
    let mut missing = over_group.max(over_total);
    let standing = Standing::read(work.connection, group.no)?;
    let candidates = oldest_held_by_others(work.connection, group.no, &standing)?;
    let (mut blobs, mut bytes) = (0, 0);
    for (blob, size) in candidates {
        if missing == 0 {
            break;
        }
        work.connection.prepare_cached("DELETE FROM blobs WHERE id = ?1")?.execute([blob])?;
        missing = missing.saturating_sub(size);
        blobs += 1;
        bytes += size;
    }
    work.books.removed(work.connection, group.no, blobs, bytes)
}

/// Row and size of blobs that at least one other member has, oldest first, at most [`AT_ONCE`].
fn oldest_held_by_others(
    c: &Connection,
    no: i64,
    standing: &Standing,
) -> Result<Vec<(i64, u64)>, StoreError> {
    let mut found: Vec<(u64, i64, u64)> = Vec::new();
    for pusher in &standing.pushers {
        let mut select = c.prepare_cached(
            "SELECT cursor, id, size FROM blobs
             WHERE group_no = ?1 AND pusher = ?2 AND cursor <= ?3 AND recipient IS NULL ORDER BY cursor LIMIT ?4",
        )?;
        let upto = to_sql(standing.somebody_has(pusher));
        let mut rows = select.query(params![no, pusher.as_bytes(), upto, to_sql(AT_ONCE)])?;
        while let Some(row) = rows.next()? {
            found.push((from_sql(row.get(0)?), row.get(1)?, from_sql(row.get(2)?)));
        }
    }
    found.sort_unstable();
    found.truncate(usize::try_from(AT_ONCE).unwrap_or(usize::MAX));
    Ok(found.into_iter().map(|(_, id, size)| (id, size)).collect())
}

/// Removes at most [`AT_ONCE`] blobs whose time is over; returns how many.
pub(super) fn expire(work: &mut Work<'_>) -> Result<u64, StoreError> {
    let now = to_sql(clock::unix_millis());
    let mut gone: HashMap<i64, (u64, u64)> = HashMap::new();
    {
        let mut delete = work.connection.prepare_cached(
            "DELETE FROM blobs WHERE id IN (SELECT id FROM blobs WHERE expires_ms <= ?1 LIMIT ?2)
             RETURNING group_no, size",
        )?;
        let mut rows = delete.query(params![now, to_sql(AT_ONCE)])?;
        while let Some(row) = rows.next()? {
            let (blobs, bytes) = gone.entry(row.get(0)?).or_default();
            *blobs += 1;
            *bytes += from_sql(row.get(1)?);
        }
    }
    let mut total = 0;
    for (no, (blobs, bytes)) in gone {
        work.books.removed(work.connection, no, blobs, bytes)?;
        total += blobs;
    }
    Ok(total)
}
