//! What the writer keeps in memory of the groups it is writing to, so that a push costs one insert: counters and last
//! pushes go to their rows once per transaction.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};
use zerok_protocol::{BlobId, DeviceId, GroupId, Hash};

use super::{Pushed, Quotas, StoreError, Totals};
use crate::store::blobs::{from_sql, to_sql};

/// Groups and members remembered at most; beyond that the memory is emptied, which only costs reading them again.
const REMEMBERED: usize = 4096;

/// How long a vain search for room is not repeated.
const VAIN: Duration = Duration::from_millis(50);

#[derive(Clone, Copy)]
pub(super) struct Group {
    pub(super) no: i64,
    pub(super) last_cursor: u64,
    pub(super) blobs: u64,
    pub(super) bytes: u64,
    /// Its own, from an invitation.
    quota: Option<u64>,
    dirty: bool,
}

impl Group {
    /// Bytes that it may store.
    pub(super) fn quota(&self, quotas: Quotas) -> u64 {
        self.quota.unwrap_or(quotas.group_bytes)
    }

    pub(super) fn add(&mut self, cursor: u64, size: u64) {
        self.last_cursor = cursor;
        self.blobs += 1;
        self.bytes += size;
        self.dirty = true;
    }
}

/// The last push of a member, kept even when the blob is gone.
#[derive(Clone, Copy)]
pub(super) struct LastPush {
    pub(super) blob_id: BlobId,
    pub(super) hash: Hash,
    pub(super) at: Pushed,
}

#[derive(Default)]
pub(super) struct Books {
    groups: HashMap<GroupId, Group>,
    last: HashMap<(i64, DeviceId), (Option<LastPush>, bool)>,
    /// Groups in which room was looked for in vain, and until when it is not looked for again.
    vain: HashMap<GroupId, Instant>,
    pub(super) totals: Totals,
}

impl Books {
    pub(super) fn open(connection: &Connection) -> Result<Self, StoreError> {
        let mut books = Self::default();
        books.recount(connection)?;
        Ok(books)
    }

    /// Counts everything anew: at the start, and when a transaction was lost.
    pub(super) fn recount(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.forget();
        let sql = "SELECT count(*), coalesce(sum(blobs), 0), coalesce(sum(bytes), 0) FROM groups";
        self.totals = connection.query_row(sql, [], |r| {
            Ok(Totals { groups: from_sql(r.get(0)?), blobs: from_sql(r.get(1)?), bytes: from_sql(r.get(2)?) })
        })?;
        Ok(())
    }

    /// Was room looked for in vain a moment ago? Looking costs more than a push, and refusing must not.
    pub(super) fn is_vain(&self, id: &GroupId) -> bool {
        self.vain.get(id).is_some_and(|until| *until > Instant::now())
    }

    pub(super) fn note_vain(&mut self, id: GroupId) {
        if self.vain.len() >= REMEMBERED {
            self.vain.clear();
        }
        self.vain.insert(id, Instant::now() + VAIN);
    }

    pub(super) fn forget(&mut self) {
        self.groups.clear();
        self.last.clear();
    }

    pub(super) fn group(&mut self, c: &Connection, id: &GroupId) -> Result<Group, StoreError> {
        if let Some(group) = self.groups.get(id) {
            return Ok(*group);
        }
        let group = c
            .prepare_cached("SELECT no, last_cursor, blobs, bytes, quota FROM groups WHERE id = ?1")?
            .query_row([id.as_bytes()], |r| {
                Ok(Group {
                    no: r.get(0)?,
                    last_cursor: from_sql(r.get(1)?),
                    blobs: from_sql(r.get(2)?),
                    bytes: from_sql(r.get(3)?),
                    quota: r.get::<_, Option<i64>>(4)?.map(from_sql),
                    dirty: false,
                })
            })
            .optional()?
            .ok_or(StoreError::UnknownGroup)?;
        self.groups.insert(*id, group);
        Ok(group)
    }

    pub(super) fn last_push(
        &mut self,
        c: &Connection,
        group_no: i64,
        device: &DeviceId,
    ) -> Result<Option<LastPush>, StoreError> {
        if let Some((last, _)) = self.last.get(&(group_no, *device)) {
            return Ok(*last);
        }
        let last = read_last_push(c, group_no, device)?;
        self.last.insert((group_no, *device), (last, false));
        Ok(last)
    }

    /// Notes a stored blob.
    pub(super) fn note(&mut self, id: &GroupId, group: Group, device: &DeviceId, last: LastPush, size: u64) {
        self.totals.blobs += 1;
        self.totals.bytes += size;
        self.last.insert((group.no, *device), (Some(last), true));
        self.groups.insert(*id, group);
    }

    /// Notes that blobs of a group are gone; the rows must have been written before.
    pub(super) fn removed(
        &mut self,
        c: &Connection,
        group_no: i64,
        blobs: u64,
        bytes: u64,
    ) -> Result<(), StoreError> {
        if blobs > 0 {
            c.prepare_cached("UPDATE groups SET blobs = blobs - ?2, bytes = bytes - ?3 WHERE no = ?1")?
                .execute(params![group_no, to_sql(blobs), to_sql(bytes)])?;
            self.totals.blobs = self.totals.blobs.saturating_sub(blobs);
            self.totals.bytes = self.totals.bytes.saturating_sub(bytes);
        }
        Ok(())
    }

    /// Writes the rows of all that changed.
    pub(super) fn write(&mut self, c: &Connection) -> Result<(), StoreError> {
        let mut update =
            c.prepare_cached("UPDATE groups SET last_cursor = ?2, blobs = ?3, bytes = ?4 WHERE no = ?1")?;
        for group in self.groups.values_mut().filter(|g| g.dirty) {
            let row = params![group.no, to_sql(group.last_cursor), to_sql(group.blobs), to_sql(group.bytes)];
            update.execute(row)?;
            group.dirty = false;
        }
        let mut update = c.prepare_cached(
            "UPDATE members SET push_id = ?3, push_hash = ?4, push_cursor = ?5, push_ms = ?6
             WHERE group_no = ?1 AND device = ?2",
        )?;
        for ((group_no, device), (last, dirty)) in &mut self.last {
            let (Some(last), true) = (last, *dirty) else { continue };
            update.execute(params![
                group_no,
                device.as_bytes(),
                last.blob_id.as_bytes(),
                last.hash.as_bytes(),
                to_sql(last.at.cursor),
                to_sql(last.at.timestamp)
            ])?;
            *dirty = false;
        }
        if self.groups.len() > REMEMBERED || self.last.len() > REMEMBERED {
            self.forget();
        }
        Ok(())
    }
}

pub(super) fn read_last_push(
    c: &Connection,
    group_no: i64,
    device: &DeviceId,
) -> Result<Option<LastPush>, StoreError> {
    let sql = "SELECT push_id, push_hash, push_cursor, push_ms FROM members
               WHERE group_no = ?1 AND device = ?2 AND push_id IS NOT NULL";
    let row = c.prepare_cached(sql)?.query_row(params![group_no, device.as_bytes()], |r| {
        Ok(LastPush {
            blob_id: BlobId(r.get(0)?),
            hash: Hash(r.get(1)?),
            at: Pushed { cursor: from_sql(r.get(2)?), timestamp: from_sql(r.get(3)?) },
        })
    });
    Ok(row.optional()?)
}
