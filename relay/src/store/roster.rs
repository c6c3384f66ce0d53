//! Groups, their statements and members as rows.

use rusqlite::{Connection, OptionalExtension, params};
use zerok_protocol::roster::Append;
use zerok_protocol::{DeviceId, GroupId, LastPush, LogId};

use super::blobs::{from_sql, to_sql};
use super::books::read_last_push;
use super::retention::{Budget, remove_acknowledged};
use super::writer::Work;
use super::{GroupRecord, Maker, MemberRecord, NewStatements, StoreError, StoredStatement, invites};
use crate::clock;

/// Appends statements if the stored roster is the one that they were judged on.
pub(super) fn append(work: &mut Work<'_>, new: &NewStatements) -> Result<(), StoreError> {
    let c = work.connection;
    let no = match group_row(c, &new.group)? {
        Some((no, _, _)) => no,
        None if new.expected == 0 => create(work, &new.group, &new.maker)?,
        None => return Err(StoreError::UnknownGroup),
    };
    let next: i64 = c
        .prepare_cached("SELECT coalesce(max(n) + 1, 0) FROM statements WHERE group_no = ?1")?
        .query_row([no], |r| r.get(0))?;
    if from_sql(next) != new.expected {
        return Err(StoreError::RosterMoved);
    }
    c.prepare_cached("DELETE FROM statements WHERE group_no = ?1 AND n >= ?2")?
        .execute(params![no, to_sql(new.first)])?;
    let now = to_sql(clock::unix_millis());
    for (n, append) in (new.first..).zip(&new.statements) {
        let body = encode(append)?;
        c.prepare_cached("INSERT INTO statements (group_no, n, body, accepted_ms) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![no, to_sql(n), body, now])?;
    }
    c.prepare_cached("UPDATE members SET counted = 0 WHERE group_no = ?1")?.execute([no])?;
    for (device, counted) in &new.members {
        c.prepare_cached(
            "INSERT INTO members (group_no, device, counted) VALUES (?1, ?2, ?3)
             ON CONFLICT (group_no, device) DO UPDATE SET counted = excluded.counted",
        )?
        .execute(params![no, device.as_bytes(), counted])?;
    }
    // A member that left no longer has to acknowledge.
    remove_acknowledged(work, no, &mut Budget::of_one_transaction())?;
    Ok(())
}

fn create(work: &mut Work<'_>, group: &GroupId, maker: &Maker) -> Result<i64, StoreError> {
    if work.disk_short {
        return Err(StoreError::DiskFull);
    }
    if work.books.totals.groups >= work.quotas.groups {
        return Err(StoreError::TooManyGroups);
    }
    let (invite, quota) = match maker {
        Maker::Anybody => (None, None),
        Maker::Invited(token) => {
            let (invite, quota) = invites::redeem(work, token.as_deref())?;
            (Some(invite), quota)
        }
    };
    let mut log_id = [0u8; LogId::LEN];
    getrandom::fill(&mut log_id).map_err(|e| StoreError::Database(e.to_string().into()))?;
    let sql = "INSERT INTO groups (id, log_id, last_cursor, blobs, bytes, invite_no, quota)
               VALUES (?1, ?2, 0, 0, 0, ?3, ?4)";
    work.connection.prepare_cached(sql)?.execute(params![group.as_bytes(), log_id, invite, quota])?;
    work.books.totals.groups += 1;
    Ok(work.connection.last_insert_rowid())
}

fn group_row(c: &Connection, group: &GroupId) -> Result<Option<(i64, LogId, u64)>, StoreError> {
    let row = c
        .prepare_cached("SELECT no, log_id, last_cursor FROM groups WHERE id = ?1")?
        .query_row([group.as_bytes()], |r| Ok((r.get(0)?, LogId(r.get(1)?), from_sql(r.get(2)?))))
        .optional()?;
    Ok(row)
}

pub(super) fn load(c: &Connection, group: &GroupId) -> Result<Option<GroupRecord>, StoreError> {
    let Some((no, log_id, _)) = group_row(c, group)? else { return Ok(None) };
    let statements =
        read_statements(c, no, 0, usize::MAX, |append, accepted_ms| StoredStatement { append, accepted_ms })?;
    Ok(Some(GroupRecord { log_id, statements }))
}

pub(super) fn statements(
    c: &Connection,
    group: &GroupId,
    from: u64,
    bytes: usize,
) -> Result<Vec<Append>, StoreError> {
    let (no, _, _) = group_row(c, group)?.ok_or(StoreError::UnknownGroup)?;
    read_statements(c, no, from, bytes, |append, _| append)
}

fn read_statements<T>(
    c: &Connection,
    no: i64,
    from: u64,
    limit: usize,
    make: impl Fn(Append, u64) -> T,
) -> Result<Vec<T>, StoreError> {
    let mut select = c.prepare_cached(
        "SELECT body, accepted_ms FROM statements WHERE group_no = ?1 AND n >= ?2 ORDER BY n",
    )?;
    let mut rows = select.query(params![no, to_sql(from)])?;
    let (mut statements, mut bytes) = (Vec::new(), 0usize);
    while let Some(row) = rows.next()? {
        let body = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        bytes = bytes.saturating_add(body.len());
        if bytes > limit && !statements.is_empty() {
            break;
        }
        statements.push(make(decode(body)?, from_sql(row.get(1)?)));
    }
    Ok(statements)
}

pub(super) fn member(c: &Connection, group: &GroupId, device: &DeviceId) -> Result<MemberRecord, StoreError> {
    let (no, _, last_cursor) = group_row(c, group)?.ok_or(StoreError::UnknownGroup)?;
    let acked: Option<i64> = c
        .prepare_cached("SELECT acked FROM members WHERE group_no = ?1 AND device = ?2")?
        .query_row(params![no, device.as_bytes()], |r| r.get(0))
        .optional()?
        .flatten();
    let last_push =
        read_last_push(c, no, device)?.map(|last| LastPush { blob_id: last.blob_id, cursor: last.at.cursor });
    Ok(MemberRecord { last_cursor, acked: acked.map(from_sql), last_push })
}

fn encode(append: &Append) -> Result<Vec<u8>, StoreError> {
    rmp_serde::to_vec_named(append).map_err(|e| StoreError::Database(e.to_string().into()))
}

fn decode(body: &[u8]) -> Result<Append, StoreError> {
    // It was encoded here: these are not the bytes that were written.
    rmp_serde::from_slice(body).map_err(|_| StoreError::Damaged)
}
