//! Storing a blob and reading a page of them.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use zerok_protocol::{Blob, BlobId, DeviceId, GroupId, Hash};

use super::books::{Group, LastPush};
use super::writer::Work;
use super::{NewBlob, Page, PageLimit, Pushed, StoreError, Stored};
use crate::clock;

/// SQLite's integers are signed; what we store stays far below 2^63.
pub(super) fn to_sql(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn from_sql(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// What a blob takes at least of a quota, however small: its row and what the indexes have of it.
const ROW: u64 = 512;

/// What a quota lacks for one more blob.
pub(super) struct Missing {
    pub(super) bytes: u64,
    pub(super) blobs: u64,
}

impl Missing {
    /// Nothing if a blob of so many bytes fits into what the group and the relay may store.
    pub(super) fn of(work: &Work<'_>, group: &Group, size: u64) -> Option<Self> {
        let (own, all) = (group.quota(work.quotas), work.quotas.total_bytes);
        let totals = &work.books.totals;
        let bytes = |stored: u64, quota| stored.saturating_add(size).saturating_sub(quota);
        let blobs = |stored: u64, quota: u64| (stored + 1).saturating_sub((quota / ROW).max(1));
        let missing = Self {
            bytes: bytes(group.bytes, own).max(bytes(totals.bytes, all)),
            blobs: blobs(group.blobs, own).max(blobs(totals.blobs, all)),
        };
        (missing.bytes > 0 || missing.blobs > 0).then_some(missing)
    }

    /// A blob of so many bytes goes; true if that is enough.
    pub(super) fn gone(&mut self, size: u64) -> bool {
        self.bytes = self.bytes.saturating_sub(size);
        self.blobs = self.blobs.saturating_sub(1);
        self.bytes == 0 && self.blobs == 0
    }
}

impl Stored {
    pub(super) fn new(blob: NewBlob, at: Pushed) -> Self {
        Self {
            group: blob.group,
            recipient: blob.recipient,
            blob: Blob {
                blob_id: blob.blob_id,
                cursor: at.cursor,
                pusher: blob.pusher,
                timestamp: at.timestamp,
                payload: blob.payload,
            },
        }
    }
}

/// Stores a blob and gives it its cursor; true if it is new. A repeat gets the first cursor. Whoever calls this relies on
/// the insert being the only change, and the last that can fail.
pub(super) fn push(work: &mut Work<'_>, blob: &NewBlob) -> Result<(Pushed, bool), StoreError> {
    let size = u64::try_from(blob.payload.len()).unwrap_or(u64::MAX);
    let mut group = work.books.group(work.connection, &blob.group)?;
    if let Some(pushed) = repeated(work, group.no, blob)? {
        return Ok((pushed, false));
    }
    if blob.stale {
        return Err(StoreError::Stale);
    }
    if work.disk_short {
        return Err(StoreError::DiskFull);
    }
    if Missing::of(work, &group, size).is_some() {
        return Err(StoreError::Quota);
    }
    let timestamp = clock::unix_millis();
    let cursor = (group.last_cursor + 1).max(work.cursor_floor);
    let pushed = Pushed { cursor, timestamp };
    insert(work.connection, group.no, blob, pushed)?;
    group.add(cursor, size);
    let last = LastPush { blob_id: blob.blob_id, hash: blob.hash, at: pushed };
    work.books.note(&blob.group, group, &blob.pusher, last, size);
    Ok((pushed, true))
}

fn insert(c: &Connection, group_no: i64, blob: &NewBlob, at: Pushed) -> Result<(), StoreError> {
    let expires = at.timestamp.saturating_add(blob.ttl_seconds.saturating_mul(1000));
    c.prepare_cached(
        "INSERT INTO blobs (group_no, cursor, pusher, blob_id, recipient, stored_ms, expires_ms, size, hash, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        group_no,
        to_sql(at.cursor),
        blob.pusher.as_bytes(),
        blob.blob_id.as_bytes(),
        blob.recipient.as_ref().map(DeviceId::as_bytes),
        to_sql(at.timestamp),
        to_sql(expires),
        i64::try_from(blob.payload.len()).unwrap_or(i64::MAX),
        blob.hash.as_bytes(),
        &blob.payload[..],
    ])?;
    Ok(())
}

/// Where this very blob is stored, or was when it was the pusher's last.
fn repeated(work: &mut Work<'_>, group_no: i64, blob: &NewBlob) -> Result<Option<Pushed>, StoreError> {
    let c = work.connection;
    let last = work.books.last_push(c, group_no, &blob.pusher)?.filter(|last| last.blob_id == blob.blob_id);
    let known = match last {
        Some(last) => Some((last.hash, last.at)),
        None => c
            .prepare_cached(
                "SELECT hash, cursor, stored_ms FROM blobs WHERE group_no = ?1 AND pusher = ?2 AND blob_id = ?3",
            )?
            .query_row(params![group_no, blob.pusher.as_bytes(), blob.blob_id.as_bytes()], |r| {
                let at = Pushed { cursor: from_sql(r.get(1)?), timestamp: from_sql(r.get(2)?) };
                Ok((Hash(r.get(0)?), at))
            })
            .optional()?,
    };
    match known {
        None => Ok(None),
        Some((hash, at)) if hash == blob.hash => Ok(Some(at)),
        Some(_) => Err(StoreError::Conflict),
    }
}

/// What `device` may see after `after`: others' blobs, for everybody or for it; and the rows of those that are damaged.
pub(super) fn page(
    c: &Connection,
    id: &GroupId,
    device: &DeviceId,
    after: u64,
    limit: PageLimit,
) -> Result<(Page, Vec<i64>), StoreError> {
    let (group_no, last_cursor): (i64, u64) = c
        .prepare_cached("SELECT no, last_cursor FROM groups WHERE id = ?1")?
        .query_row([id.as_bytes()], |r| Ok((r.get(0)?, from_sql(r.get(1)?))))
        .optional()?
        .ok_or(StoreError::UnknownGroup)?;
    let mut select = c.prepare_cached(&format!(
        "SELECT id, cursor, size, {COLUMNS} FROM blobs
         WHERE group_no = ?1 AND cursor > ?2 AND pusher <> ?3 AND (recipient IS NULL OR recipient = ?3)
         ORDER BY cursor LIMIT ?4",
    ))?;
    let mut rows =
        select.query(params![group_no, to_sql(after), device.as_bytes(), i64::from(limit.blobs) + 1])?;
    let (mut blobs, mut damaged): (Vec<Blob>, Vec<i64>) = Default::default();
    let (mut seen, mut bytes, mut upto) = (0, 0, after);
    while let Some(row) = rows.next()? {
        let size = usize::try_from(row.get::<_, i64>(2)?).unwrap_or(usize::MAX);
        let full = seen >= limit.blobs.max(1);
        if full || (!blobs.is_empty() && size > limit.bytes.saturating_sub(bytes)) {
            return Ok((Page { blobs, upto, has_more: true }, damaged));
        }
        upto = from_sql(row.get(1)?);
        seen += 1;
        match read_blob(row, 3) {
            Some(blob) => {
                bytes = bytes.saturating_add(size);
                blobs.push(blob);
            }
            None => damaged.push(row.get(0)?),
        }
    }
    Ok((Page { blobs, upto: last_cursor.max(after), has_more: false }, damaged))
}

/// What [`read_blob`] reads.
pub(super) const COLUMNS: &str = "cursor, blob_id, pusher, stored_ms, hash, payload";

/// The blob of a row, if its bytes are those that were stored. `at`: where its columns begin.
pub(super) fn read_blob(row: &Row<'_>, at: usize) -> Option<Blob> {
    let payload = row.get_ref(at + 5).ok()?.as_blob().ok()?;
    let right = Hash::of(payload) == Hash(row.get(at + 4).ok()?);
    right.then_some(Blob {
        cursor: from_sql(row.get(at).ok()?),
        blob_id: BlobId(row.get(at + 1).ok()?),
        pusher: DeviceId(row.get(at + 2).ok()?),
        timestamp: from_sql(row.get(at + 3).ok()?),
        payload: Bytes::copy_from_slice(payload),
    })
}
