//! The rows of the database: do they fit each other, and are their bytes those that were stored?

use rusqlite::{Connection, Row, params};
use zerok_protocol::{GroupId, Hash};

use crate::known::Known;
use crate::store::blobs::from_sql;
use crate::store::{StoreError, roster};

/// Blobs that are read at a time.
const PAGE: i64 = 64;
/// What groups count that is not so; the newest cursor of a group stays although its blob is gone.
const WRONG: &str = "SELECT no FROM groups WHERE
     blobs <> (SELECT count(*) FROM blobs WHERE group_no = no)
  OR bytes <> (SELECT coalesce(sum(size), 0) FROM blobs WHERE group_no = no)
  OR last_cursor < (SELECT coalesce(max(cursor), 0) FROM blobs WHERE group_no = no)";

pub(super) struct Seen {
    pub(super) blobs: u64,
    pub(super) bytes: u64,
    pub(super) damaged: u64,
}

/// Rows of a group that is not there.
pub(super) fn orphans(c: &Connection, repair: bool) -> rusqlite::Result<u64> {
    let mut found = 0;
    for table in ["statements", "members", "blobs"] {
        let of = format!("FROM {table} WHERE group_no NOT IN (SELECT no FROM groups)");
        let count: i64 = c.query_row(&format!("SELECT count(*) {of}"), [], |r| r.get(0))?;
        found += from_sql(count);
        if repair && count > 0 {
            c.execute(&format!("DELETE {of}"), [])?;
        }
    }
    Ok(found)
}

/// Every roster, judged as when it was taken, and whether the members are those that it names. Returns how many there
/// are, and how many are damaged. A group without a roster is of no use: its devices bring the roster, and what they
/// have, to a relay that does not know it.
pub(super) fn rosters(c: &Connection, repair: bool) -> rusqlite::Result<(u64, u64)> {
    let groups: Vec<(i64, Option<GroupId>)> = c
        .prepare("SELECT no, id FROM groups")?
        .query_map([], |r| Ok((r.get(0)?, r.get(1).ok().map(GroupId))))?
        .collect::<rusqlite::Result<_>>()?;
    let (mut seen, mut damaged) = (0, 0);
    for (no, id) in groups {
        seen += 1;
        let holds = match id {
            Some(id) => holds(c, no, id)?,
            None => false,
        };
        if !holds {
            damaged += 1;
            if repair {
                c.execute("DELETE FROM groups WHERE no = ?1", [no])?;
            }
        }
    }
    Ok((seen, damaged))
}

fn holds(c: &Connection, no: i64, id: GroupId) -> rusqlite::Result<bool> {
    let record = match roster::load(c, &id) {
        Ok(Some(record)) => record,
        Ok(None) | Err(StoreError::Damaged) => return Ok(false),
        // It is not known whether it holds: nothing is dropped for that.
        Err(e) => return Err(rusqlite::Error::ToSqlConversionFailure(Box::new(e))),
    };
    let statements = record.statements.into_iter().map(|s| s.append).collect();
    let Ok((known, _)) = Known::extend(None, id, statements) else { return Ok(false) };
    let counted = |device: &[u8]| known.roster.counted().any(|id| id.as_bytes() == device);
    let members: Vec<(Vec<u8>, bool)> = c
        .prepare_cached("SELECT device, counted FROM members WHERE group_no = ?1")?
        .query_map([no], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let as_named = members.iter().all(|(device, counts)| *counts == counted(device));
    Ok(as_named && members.iter().filter(|(_, counts)| *counts).count() == known.roster.counted().count())
}

/// Every blob by its hash.
pub(super) fn blobs(c: &Connection, repair: bool) -> rusqlite::Result<Seen> {
    let mut seen = Seen { blobs: 0, bytes: 0, damaged: 0 };
    let mut after = i64::MIN;
    loop {
        let page: Vec<(i64, Option<u64>)> = c
            .prepare_cached(
                "SELECT id, hash, size, payload, blob_id, pusher, recipient FROM blobs
                 WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?
            .query_map(params![after, PAGE], |r| Ok((r.get(0)?, size_if_right(r))))?
            .collect::<rusqlite::Result<_>>()?;
        let Some((last, _)) = page.last() else { return Ok(seen) };
        after = *last;
        for (id, size) in page {
            seen.blobs += 1;
            match size {
                Some(size) => seen.bytes += size,
                None => {
                    seen.damaged += 1;
                    if repair {
                        c.prepare_cached("DELETE FROM blobs WHERE id = ?1")?.execute([id])?;
                    }
                }
            }
        }
    }
}

/// The size of a blob that is as it was stored.
fn size_if_right(row: &Row<'_>) -> Option<u64> {
    let payload = row.get_ref("payload").ok()?.as_blob().ok()?;
    let right = Hash::of(payload).0.as_slice() == row.get_ref("hash").ok()?.as_blob().ok()?
        && row.get::<_, [u8; 16]>("blob_id").is_ok()
        && row.get::<_, [u8; 32]>("pusher").is_ok()
        && row.get::<_, Option<[u8; 32]>>("recipient").is_ok();
    let size = u64::try_from(payload.len()).ok()?;
    (right && row.get::<_, u64>("size").ok()? == size).then_some(size)
}

/// Groups whose counters are not the sums of their blobs.
pub(super) fn counters(c: &Connection) -> rusqlite::Result<u64> {
    let wrong: i64 = c.query_row(&format!("SELECT count(*) FROM ({WRONG})"), [], |r| r.get(0))?;
    Ok(from_sql(wrong))
}

/// Counts every group anew.
pub(super) fn recount(c: &Connection) -> rusqlite::Result<()> {
    let sums = "UPDATE groups SET
         blobs = (SELECT count(*) FROM blobs WHERE group_no = no),
         bytes = (SELECT coalesce(sum(size), 0) FROM blobs WHERE group_no = no),
         last_cursor = max(last_cursor, (SELECT coalesce(max(cursor), 0) FROM blobs WHERE group_no = no))";
    c.execute(&format!("{sums} WHERE no IN ({WRONG})"), [])?;
    Ok(())
}
