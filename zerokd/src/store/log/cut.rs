//! Own entries become bundles.

use bytes::Bytes;
use rusqlite::{Connection, params};
use zerok_core::{Bundle, DeviceKeys, Hlc, Room};
use zerok_protocol::{GroupId, Hash, MAX_BUNDLE_ENTRIES};

use super::read::own_chain;
use super::{GroupRow, StoreError};
use crate::store::effects::{self, CutBundle, Outgoing};

/// At the end of each group of jobs: if a link would send at once and a job appended something, cut it now. So a lone
/// push costs one fsync and no delay for company.
pub(crate) fn cut_when_ready(
    connection: &Connection,
    keys: &DeviceKeys,
    links: &Outgoing,
) -> Result<(), StoreError> {
    if !links.ready() || !effects::has_outgoing() {
        return Ok(());
    }
    let mut groups = connection.prepare_cached(
        "SELECT grp.id FROM grp JOIN chain ON chain.grp = grp.id WHERE own = 1 AND next_n - 1 > entries",
    )?;
    let groups: Vec<GroupRow> = groups.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for grp in groups {
        cut_pending(connection, grp, keys, usize::MAX)?;
    }
    Ok(())
}

/// Cuts what waits into at most `most` bundles; the number of bundles cut.
pub(crate) fn cut_pending(
    connection: &Connection,
    grp: GroupRow,
    keys: &DeviceKeys,
    most: usize,
) -> Result<usize, StoreError> {
    let own = own_chain(connection, grp)?;
    let (mut seq, mut prev, mut first) = (own.seq, own.hash, own.entries + 1);
    let mut done = 0;
    while done < most {
        let (hlc, entries) = next_entries(connection, own.row, first)?;
        if entries.is_empty() {
            break;
        }
        let group = group_id(connection, grp)?;
        let count = entries.len() as u64;
        let bundle = Bundle::cut(keys, group, own.chain, seq + 1, prev, first, hlc, false, &entries);
        connection
            .prepare_cached(
                "INSERT INTO bundle(chain, seq, hash, prev, first, count, header, signature) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                own.row,
                seq + 1,
                bundle.hash.as_bytes(),
                prev.map(|h| h.0),
                first,
                count,
                bundle.header_bytes(),
                bundle.signature().as_bytes(),
            ])?;
        seq += 1;
        first += count;
        prev = Some(bundle.hash);
        effects::cut(CutBundle { grp, seq, hash: bundle.hash, bytes: bundle.bytes });
        done += 1;
    }
    if done > 0 {
        connection
            .prepare_cached("UPDATE chain SET seq = ?2, hash = ?3, entries = ?4 WHERE id = ?1")?
            .execute(params![own.row, seq, prev.map(|h: Hash| h.0), first - 1])?;
    }
    Ok(done)
}

fn next_entries(connection: &Connection, chain: i64, first: u64) -> Result<(Hlc, Vec<Bytes>), StoreError> {
    let mut find = connection
        .prepare_cached("SELECT bytes, hlc FROM entry WHERE chain = ?1 AND n >= ?2 ORDER BY n LIMIT ?3")?;
    let mut rows = find.query(params![chain, first, MAX_BUNDLE_ENTRIES as u64])?;
    let (mut room, mut hlc, mut entries) = (Room::default(), Hlc(0), Vec::new());
    while let Some(row) = rows.next()? {
        let bytes: Vec<u8> = row.get(0)?;
        if !room.take(bytes.len()) {
            break;
        }
        hlc = Hlc(row.get(1)?);
        entries.push(Bytes::from(bytes));
    }
    Ok((hlc, entries))
}

fn group_id(connection: &Connection, grp: GroupRow) -> Result<GroupId, StoreError> {
    let mut find = connection.prepare_cached("SELECT gid FROM grp WHERE id = ?1")?;
    let gid: [u8; 32] = find.query_row([grp], |row| row.get(0))?;
    Ok(GroupId(gid))
}
