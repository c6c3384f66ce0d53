//! How long blobs live: until every counted member other than the pusher has acknowledged them (with a recipient: that
//! one), until their time is over, or until the quota needs the room and somebody else has them. A blob never goes
//! merely because nobody else is there yet.

use std::collections::HashMap;
use std::sync::PoisonError;

use rusqlite::{Connection, OptionalExtension, params};
use zerok_protocol::{DeviceId, GroupId};

use super::StoreError;
use super::blobs::{COLUMNS, Missing, from_sql, read_blob, to_sql};
use super::writer::Work;
use crate::clock;

/// How much may be removed in one transaction, so that pushes never wait long: a large blob costs more than a small one.
pub(super) struct Budget {
    blobs: u64,
    bytes: u64,
}

impl Budget {
    pub(super) const BLOBS: u64 = 500;
    const BYTES: u64 = 16 << 20;

    pub(super) fn of_one_transaction() -> Self {
        Self { blobs: Self::BLOBS, bytes: Self::BYTES }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.blobs == 0 || self.bytes == 0
    }

    /// Takes a blob out of it, if it is not spent.
    fn take(&mut self, size: u64) -> bool {
        let may = !self.is_spent();
        if may {
            self.blobs -= 1;
            self.bytes = self.bytes.saturating_sub(size);
        }
        may
    }
}

/// Acknowledgements that were written.
pub(super) struct Flushed {
    pub(super) acks: HashMap<(GroupId, DeviceId), u64>,
    /// All that they free is removed: else they are to be written once more.
    pub(super) all: bool,
}

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

/// Writes pending acknowledgements, which stay pending until that is committed, and removes what they free.
pub(super) fn flush_acks(work: &mut Work<'_>) -> Result<Flushed, StoreError> {
    let pending = work.acks.lock().unwrap_or_else(PoisonError::into_inner).clone();
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
    let mut budget = Budget::of_one_transaction();
    for (no, acks) in &groups {
        for (device, cursor) in acks {
            remove_for_recipient(work, *no, device, *cursor, &mut budget)?;
        }
        remove_acknowledged(work, *no, &mut budget)?;
    }
    Ok(Flushed { acks: pending, all: !budget.is_spent() })
}

/// Removes what every other counted member has.
pub(super) fn remove_acknowledged(
    work: &mut Work<'_>,
    no: i64,
    budget: &mut Budget,
) -> Result<(), StoreError> {
    let standing = Standing::read(work.connection, no)?;
    for pusher in &standing.pushers {
        let upto = standing.everybody_has(pusher);
        if upto > 0 && !budget.is_spent() {
            let sql = "SELECT id, size FROM blobs
                       WHERE group_no = ?1 AND pusher = ?2 AND cursor <= ?3 AND recipient IS NULL
                       ORDER BY cursor LIMIT ?4";
            remove(work, no, sql, pusher, upto, budget)?;
        }
    }
    Ok(())
}

fn remove_for_recipient(
    work: &mut Work<'_>,
    no: i64,
    recipient: &DeviceId,
    upto: u64,
    budget: &mut Budget,
) -> Result<(), StoreError> {
    let sql = "SELECT id, size FROM blobs
               WHERE group_no = ?1 AND recipient = ?2 AND cursor <= ?3 ORDER BY cursor LIMIT ?4";
    remove(work, no, sql, recipient, upto, budget)
}

fn remove(
    work: &mut Work<'_>,
    no: i64,
    select: &str,
    device: &DeviceId,
    upto: u64,
    budget: &mut Budget,
) -> Result<(), StoreError> {
    let c = work.connection;
    let found = c
        .prepare_cached(select)?
        .query_map(params![no, device.as_bytes(), to_sql(upto), to_sql(budget.blobs)], |r| {
            Ok((r.get(0)?, from_sql(r.get(1)?)))
        })?
        .collect::<rusqlite::Result<Vec<(i64, u64)>>>()?;
    let (mut blobs, mut bytes) = (0, 0);
    for (id, size) in found {
        if !budget.take(size) {
            break;
        }
        delete(c, id)?;
        blobs += 1;
        bytes += size;
    }
    work.books.removed(c, no, blobs, bytes)
}

fn delete(c: &Connection, id: i64) -> Result<(), StoreError> {
    c.prepare_cached("DELETE FROM blobs WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Removes blobs that were found damaged, if they still are; returns how many.
pub(super) fn remove_damaged(work: &mut Work<'_>, ids: &[i64]) -> Result<u64, StoreError> {
    let c = work.connection;
    let mut removed = 0;
    for id in ids {
        let row = c
            .prepare_cached(&format!("SELECT group_no, size, {COLUMNS} FROM blobs WHERE id = ?1"))?
            .query_row([id], |r| Ok((r.get(0)?, from_sql(r.get(1)?), read_blob(r, 2).is_some())))
            .optional()?;
        if let Some((no, size, false)) = row {
            delete(c, *id)?;
            work.books.removed(c, no, 1, size)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Frees room for `size` bytes in a group: what is acknowledged by all, then the oldest that somebody else has. Works
/// on the rows: the books are written before and forgotten after.
pub(super) fn make_room(work: &mut Work<'_>, id: &GroupId, size: u64) -> Result<(), StoreError> {
    flush_acks(work)?;
    work.books.forget();
    let group = work.books.group(work.connection, id)?;
    let Some(mut missing) = Missing::of(work, &group, size) else { return Ok(()) };
    let standing = Standing::read(work.connection, group.no)?;
    let candidates = oldest_held_by_others(work.connection, group.no, &standing)?;
    let (mut blobs, mut bytes) = (0, 0);
    for (blob, size) in candidates {
        delete(work.connection, blob)?;
        blobs += 1;
        bytes += size;
        if missing.gone(size) {
            break;
        }
    }
    work.books.removed(work.connection, group.no, blobs, bytes)
}

/// Row and size of blobs that at least one other member has, oldest first, at most [`Budget::BLOBS`].
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
        let mut rows = select.query(params![no, pusher.as_bytes(), upto, to_sql(Budget::BLOBS)])?;
        while let Some(row) = rows.next()? {
            found.push((from_sql(row.get(0)?), row.get(1)?, from_sql(row.get(2)?)));
        }
    }
    found.sort_unstable();
    found.truncate(usize::try_from(Budget::BLOBS).unwrap_or(usize::MAX));
    Ok(found.into_iter().map(|(_, id, size)| (id, size)).collect())
}

/// Removes blobs whose time is over, as far as one transaction goes; returns how many, and whether these are all.
pub(super) fn expire(work: &mut Work<'_>) -> Result<(u64, bool), StoreError> {
    let c = work.connection;
    let now = to_sql(clock::unix_millis());
    let mut budget = Budget::of_one_transaction();
    let found = c
        .prepare_cached(
            "SELECT id, group_no, size FROM blobs WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2",
        )?
        .query_map(params![now, to_sql(budget.blobs)], |r| Ok((r.get(0)?, r.get(1)?, from_sql(r.get(2)?))))?
        .collect::<rusqlite::Result<Vec<(i64, i64, u64)>>>()?;
    let mut gone: HashMap<i64, (u64, u64)> = HashMap::new();
    let mut total = 0;
    for (id, no, size) in found {
        if !budget.take(size) {
            break;
        }
        delete(c, id)?;
        let (blobs, bytes) = gone.entry(no).or_default();
        *blobs += 1;
        *bytes += size;
        total += 1;
    }
    for (no, (blobs, bytes)) in gone {
        work.books.removed(c, no, blobs, bytes)?;
    }
    Ok((total, !budget.is_spent()))
}
