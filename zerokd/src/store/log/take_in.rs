//! Another device's bundle is stored, and what has no hole before it is released.

use rusqlite::{Connection, OptionalExtension, params};
use zerok_core::{Bundle, Entry, Hlc};
use zerok_protocol::{ChainId, DeviceId, Hash};

use super::{GroupRow, INSERT_ENTRY, Positions, StoreError, set_next, unordered};
use crate::store::effects;

/// What became of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenIn {
    /// It is new and stored.
    New,
    /// It was here already.
    Known,
    /// Its author signed something else under this number, or it does not continue its chain.
    Contradicts,
    /// An entry in it breaks the limits.
    BadEntry,
}

struct ChainRow {
    row: i64,
    own: bool,
    seq: u64,
    hash: Option<Hash>,
    entries: u64,
}

/// Stores a bundle whose signature and hashes were checked.
pub(crate) fn take_in(
    connection: &Connection,
    grp: GroupRow,
    bundle: &Bundle,
    now_ms: u64,
) -> Result<TakenIn, StoreError> {
    let header = &bundle.header;
    let mut parsed = Vec::with_capacity(bundle.entries.len());
    for bytes in &bundle.entries {
        let entry = bytes.as_ref().map(|bytes| Entry::parse(bytes).map(|entry| (bytes, entry))).transpose();
        match entry {
            Ok(entry) => parsed.push(entry),
            Err(_) => return Ok(TakenIn::BadEntry),
        }
    }
    let chain = chain(connection, grp, &header.device, &header.chain)?;
    if chain.own {
        return Ok(TakenIn::Known);
    }
    if let Some(hash) = stored_hash(connection, chain.row, header.seq)? {
        return Ok(if hash == bundle.hash { TakenIn::Known } else { TakenIn::Contradicts });
    }
    let in_order = header.seq == chain.seq + 1;
    if in_order && (header.prev != chain.hash || header.first != chain.entries + 1) {
        return Ok(TakenIn::Contradicts);
    }
    connection
        .prepare_cached(
            "INSERT INTO bundle(chain, seq, hash, prev, first, count, header, signature) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            chain.row,
            header.seq,
            bundle.hash.as_bytes(),
            header.prev.map(|h| h.0),
            header.first,
            header.entries.len() as u64,
            bundle.header_bytes(),
            bundle.signature().as_bytes(),
        ])?;
    let mut positions = Positions::new(connection, grp);
    let mut insert = connection.prepare_cached(INSERT_ENTRY)?;
    for (n, entry) in (header.first..).zip(parsed) {
        let Some((bytes, entry)) = entry else { continue };
        let (channel, next) = positions.channel(&entry.channel)?;
        let pos = (in_order || unordered(&entry.channel)).then(|| {
            *next += 1;
            effects::released(&entry.channel);
            *next - 1
        });
        insert.execute(params![chain.row, n, channel, pos, entry.hlc.0, entry.key, &bytes[..]])?;
    }
    positions.write_back()?;
    observe(connection, grp, header.hlc, now_ms)?;
    if in_order {
        let last = header.first + header.entries.len() as u64 - 1;
        advance(connection, chain.row, header.seq, bundle.hash, last)?;
    }
    Ok(TakenIn::New)
}

/// Moves the chain's contiguous end over what was stored beyond the hole that is now closed, and releases it.
fn advance(
    connection: &Connection,
    chain: i64,
    seq: u64,
    hash: Hash,
    entries: u64,
) -> Result<(), StoreError> {
    let (mut seq, mut hash, mut last) = (seq, hash, entries);
    let mut find = connection
        .prepare_cached("SELECT hash, prev, first, count FROM bundle WHERE chain = ?1 AND seq = ?2")?;
    loop {
        let next = find
            .query_row(params![chain, seq + 1], |row| {
                Ok((
                    row.get::<_, [u8; 32]>(0)?,
                    row.get::<_, Option<[u8; 32]>>(1)?,
                    row.get::<_, u64>(2)?,
                    row.get::<_, u64>(3)?,
                ))
            })
            .optional()?;
        let Some((next_hash, prev, first, count)) = next else { break };
        if prev != Some(hash.0) || first != last + 1 {
            break; // its author contradicts itself: it stays beyond the hole, visible as one
        }
        (seq, hash, last) = (seq + 1, Hash(next_hash), last + count);
        release(connection, chain, first, last)?;
    }
    connection
        .prepare_cached("UPDATE chain SET seq = ?2, hash = ?3, entries = ?4 WHERE id = ?1")?
        .execute(params![chain, seq, hash.0, last])?;
    Ok(())
}

fn release(connection: &Connection, chain: i64, first: u64, last: u64) -> Result<(), StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT entry.id, channel.id, channel.next, channel.name FROM entry JOIN channel ON channel.id = entry.channel \
         WHERE chain = ?1 AND n BETWEEN ?2 AND ?3 AND pos IS NULL ORDER BY n LIMIT 1",
    )?;
    let mut place = connection.prepare_cached("UPDATE entry SET pos = ?2 WHERE id = ?1")?;
    while let Some((entry, channel, next, name)) = find
        .query_row(params![chain, first, last], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, u64>(2)?,
                row.get::<_, String>(3)?,
            ))
        })
        .optional()?
    {
        place.execute(params![entry, next])?;
        set_next(connection, channel, next + 1)?;
        effects::released(&name);
    }
    Ok(())
}

fn chain(
    connection: &Connection,
    grp: GroupRow,
    device: &DeviceId,
    chain: &ChainId,
) -> Result<ChainRow, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT id, own, seq, hash, entries FROM chain WHERE grp = ?1 AND device = ?2 AND chain = ?3",
    )?;
    let found = find
        .query_row(params![grp, device.as_bytes(), chain.as_bytes()], |row| {
            Ok(ChainRow {
                row: row.get(0)?,
                own: row.get(1)?,
                seq: row.get(2)?,
                hash: row.get::<_, Option<[u8; 32]>>(3)?.map(Hash),
                entries: row.get(4)?,
            })
        })
        .optional()?;
    if let Some(found) = found {
        return Ok(found);
    }
    connection
        .prepare_cached("INSERT INTO chain(grp, device, chain, own) VALUES (?1, ?2, ?3, 0)")?
        .execute(params![grp, device.as_bytes(), chain.as_bytes()])?;
    Ok(ChainRow { row: connection.last_insert_rowid(), own: false, seq: 0, hash: None, entries: 0 })
}

fn stored_hash(connection: &Connection, chain: i64, seq: u64) -> Result<Option<Hash>, StoreError> {
    let mut find = connection.prepare_cached("SELECT hash FROM bundle WHERE chain = ?1 AND seq = ?2")?;
    Ok(find.query_row(params![chain, seq], |row| row.get::<_, [u8; 32]>(0)).optional()?.map(Hash))
}

fn observe(connection: &Connection, grp: GroupRow, remote: Hlc, now_ms: u64) -> Result<(), StoreError> {
    let own = super::own_chain(connection, grp)?;
    let hlc = Hlc::observe(own.hlc, remote, now_ms);
    connection.prepare_cached("UPDATE chain SET hlc = ?2 WHERE id = ?1")?.execute(params![own.row, hlc.0])?;
    Ok(())
}
