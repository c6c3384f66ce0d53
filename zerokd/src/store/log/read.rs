//! Reading the log: pages of a channel's merged log, bundles for sending, the version vector.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use zerok_core::{Bundle, Entry, Hlc, Position, Vector, Want};
use zerok_protocol::{ChainId, DeviceId, Hash, Signature};

use super::{GroupRow, StoreError};

/// This device's own chain in a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnChain {
    /// Its row.
    pub row: i64,
    /// Its id.
    pub chain: ChainId,
    /// The last bundle cut.
    pub seq: u64,
    /// Its hash.
    pub hash: Option<Hash>,
    /// The last entry that is in a bundle.
    pub entries: u64,
    /// The number of the next entry.
    pub next_n: u64,
    /// The last HLC.
    pub hlc: Hlc,
}

/// This device's own chain.
pub(crate) fn own_chain(connection: &Connection, grp: GroupRow) -> Result<OwnChain, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT id, chain, seq, hash, entries, next_n, hlc FROM chain WHERE grp = ?1 AND own = 1",
    )?;
    Ok(find.query_row([grp], |row| {
        Ok(OwnChain {
            row: row.get(0)?,
            chain: ChainId(row.get(1)?),
            seq: row.get(2)?,
            hash: row.get::<_, Option<[u8; 32]>>(3)?.map(Hash),
            entries: row.get(4)?,
            next_n: row.get(5)?,
            hlc: Hlc(row.get(6)?),
        })
    })?)
}

/// An entry of a merged log.
#[derive(Clone, Debug)]
pub(crate) struct LogRow {
    /// Its place in the channel's merged log.
    pub pos: u64,
    /// Its author.
    pub device: DeviceId,
    /// Its author's chain.
    pub chain: ChainId,
    /// Its number in that chain.
    pub n: u64,
    /// Its time.
    pub hlc: Hlc,
    /// Its key.
    pub key: Option<String>,
    /// The bytes that were pushed.
    pub body: Bytes,
    /// Did this device write it?
    pub own: bool,
}

const COLUMNS: &str = "pos, chain.device, chain.chain, n, entry.hlc, key, bytes, own";

fn log_row(row: &Row<'_>) -> Result<LogRow, StoreError> {
    let bytes = Bytes::from(row.get::<_, Vec<u8>>(6)?);
    let body = Entry::parse(&bytes).map_err(|_| StoreError::Damaged("an entry"))?.body;
    Ok(LogRow {
        pos: row.get(0)?,
        device: DeviceId(row.get(1)?),
        chain: ChainId(row.get(2)?),
        n: row.get(3)?,
        hlc: Hlc(row.get(4)?),
        key: row.get(5)?,
        body,
        own: row.get(7)?,
    })
}

/// The row of a channel, if anything was ever written to it.
pub(crate) fn channel_row(
    connection: &Connection,
    grp: GroupRow,
    name: &str,
) -> Result<Option<i64>, StoreError> {
    let mut find = connection.prepare_cached("SELECT id FROM channel WHERE grp = ?1 AND name = ?2")?;
    Ok(find.query_row(params![grp, name], |row| row.get(0)).optional()?)
}

/// The last position of a channel's merged log.
pub(crate) fn last_pos(connection: &Connection, grp: GroupRow, name: &str) -> Result<u64, StoreError> {
    let mut find = connection.prepare_cached("SELECT next - 1 FROM channel WHERE grp = ?1 AND name = ?2")?;
    Ok(find.query_row(params![grp, name], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// A page of a channel's merged log after a position, bounded by rows and bytes; never empty while there is more.
pub(crate) fn read_after(
    connection: &Connection,
    grp: GroupRow,
    channel: &str,
    after: u64,
    max_rows: usize,
    max_bytes: usize,
) -> Result<Vec<LogRow>, StoreError> {
    let Some(channel) = channel_row(connection, grp, channel)? else { return Ok(Vec::new()) };
    let mut find = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM entry JOIN chain ON chain.id = entry.chain \
         WHERE channel = ?1 AND pos > ?2 ORDER BY pos LIMIT ?3"
    ))?;
    let mut rows = find.query(params![channel, after, u64::try_from(max_rows).unwrap_or(u64::MAX >> 1)])?;
    let (mut page, mut size) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let row = log_row(row)?;
        size += row.body.len();
        if size > max_bytes && !page.is_empty() {
            break;
        }
        page.push(row);
    }
    Ok(page)
}

/// The newest entry of each key of a channel that begins with a prefix: by HLC, then by author.
pub(crate) fn latest_by_key(
    connection: &Connection,
    grp: GroupRow,
    channel: &str,
    prefix: &str,
) -> Result<Vec<LogRow>, StoreError> {
    let Some(channel) = channel_row(connection, grp, channel)? else { return Ok(Vec::new()) };
    let mut find = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM entry JOIN chain ON chain.id = entry.chain \
         WHERE channel = ?1 AND key >= ?2 AND pos IS NOT NULL ORDER BY key, entry.hlc DESC, chain.device DESC"
    ))?;
    let mut rows = find.query(params![channel, prefix])?;
    let mut latest: Vec<LogRow> = Vec::new();
    while let Some(row) = rows.next()? {
        let row = log_row(row)?;
        let Some(key) = &row.key else { continue };
        if !key.starts_with(prefix) {
            break;
        }
        if latest.last().is_none_or(|last| last.key.as_deref() != Some(key)) {
            latest.push(row);
        }
    }
    Ok(latest)
}

/// The exact bytes of a stored bundle, pruned entries as such.
pub(crate) fn bundle_bytes(
    connection: &Connection,
    chain: i64,
    seq: u64,
) -> Result<Option<(Hash, Bytes)>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT hash, header, signature, first, count FROM bundle WHERE chain = ?1 AND seq = ?2",
    )?;
    let found = find
        .query_row(params![chain, seq], |row| {
            Ok((
                row.get::<_, [u8; 32]>(0)?,
                row.get::<_, Vec<u8>>(1)?,
                row.get::<_, [u8; 64]>(2)?,
                row.get::<_, u64>(3)?,
                row.get::<_, u64>(4)?,
            ))
        })
        .optional()?;
    let Some((hash, header, signature, first, count)) = found else { return Ok(None) };
    let length = usize::try_from(count).map_err(|_| StoreError::Damaged("a bundle"))?;
    let mut entries: Vec<Option<Bytes>> = vec![None; length];
    let mut find = connection
        .prepare_cached("SELECT n, bytes FROM entry WHERE chain = ?1 AND n >= ?2 AND n < ?3 ORDER BY n")?;
    let mut rows = find.query(params![chain, first, first + count])?;
    while let Some(row) = rows.next()? {
        let at =
            usize::try_from(row.get::<_, u64>(0)? - first).map_err(|_| StoreError::Damaged("an entry"))?;
        *entries.get_mut(at).ok_or(StoreError::Damaged("an entry"))? =
            Some(Bytes::from(row.get::<_, Vec<u8>>(1)?));
    }
    Ok(Some((Hash(hash), Bundle::assemble(&header, Signature(signature), &entries))))
}

/// Own bundles after `seq`: number, hash, exact bytes; bounded by count and bytes.
pub(crate) fn own_bundles(
    connection: &Connection,
    grp: GroupRow,
    after: u64,
    max: usize,
    max_bytes: usize,
) -> Result<Vec<(u64, Hash, Bytes)>, StoreError> {
    let own = own_chain(connection, grp)?;
    let (mut found, mut size) = (Vec::new(), 0);
    for seq in (after + 1..=own.seq).take(max) {
        let (hash, bytes) =
            bundle_bytes(connection, own.row, seq)?.ok_or(StoreError::Damaged("the own chain"))?;
        size += bytes.len();
        found.push((seq, hash, bytes));
        if size >= max_bytes {
            break;
        }
    }
    Ok(found)
}

/// Bundles of a range that another member asks for, as far as a budget of bytes reaches.
pub(crate) fn bundles_of(
    connection: &Connection,
    grp: GroupRow,
    want: &Want,
    budget: &mut usize,
) -> Result<Vec<Bytes>, StoreError> {
    let mut find =
        connection.prepare_cached("SELECT id FROM chain WHERE grp = ?1 AND device = ?2 AND chain = ?3")?;
    let chain: Option<i64> = find
        .query_row(params![grp, want.device.as_bytes(), want.chain.as_bytes()], |row| row.get(0))
        .optional()?;
    let (Some(chain), mut found) = (chain, Vec::new()) else { return Ok(Vec::new()) };
    for seq in want.from..=want.to {
        let Some((_, bytes)) = bundle_bytes(connection, chain, seq)? else { break };
        let Some(left) = budget.checked_sub(bytes.len()) else { break };
        *budget = left;
        found.push(bytes);
    }
    Ok(found)
}

/// The own chain's position at a bundle; absent for bundle 0.
pub(crate) fn own_position(
    connection: &Connection,
    grp: GroupRow,
    seq: u64,
) -> Result<Option<Position>, StoreError> {
    let own = own_chain(connection, grp)?;
    let mut find = connection.prepare_cached("SELECT hash FROM bundle WHERE chain = ?1 AND seq = ?2")?;
    let hash: Option<[u8; 32]> = find.query_row(params![own.row, seq], |row| row.get(0)).optional()?;
    Ok(hash.map(|hash| Position { seq, hash: Hash(hash) }))
}

/// What this device holds: for each chain the last bundle with no hole before it.
pub(crate) fn vector(connection: &Connection, grp: GroupRow) -> Result<Vector, StoreError> {
    let mut find =
        connection.prepare_cached("SELECT device, chain, seq, hash FROM chain WHERE grp = ?1 AND seq > 0")?;
    let mut rows = find.query([grp])?;
    let mut vector = Vector::default();
    while let Some(row) = rows.next()? {
        let position = Position { seq: row.get(2)?, hash: Hash(row.get(3)?) };
        vector.set(DeviceId(row.get(0)?), ChainId(row.get(1)?), position);
    }
    Ok(vector)
}

/// Own entries that no relay holds yet: all after the last bundle that some relay has acknowledged.
pub(crate) fn outbox(connection: &Connection, grp: GroupRow) -> Result<u64, StoreError> {
    let own = own_chain(connection, grp)?;
    let sent: u64 = connection
        .prepare_cached("SELECT COALESCE(MAX(sent), 0) FROM relay_grp WHERE grp = ?1")?
        .query_row([grp], |row| row.get(0))?;
    let mut find =
        connection.prepare_cached("SELECT first + count - 1 FROM bundle WHERE chain = ?1 AND seq = ?2")?;
    let last: Option<u64> = find.query_row(params![own.row, sent], |row| row.get(0)).optional()?;
    Ok(own.next_n - 1 - last.unwrap_or(0).min(own.next_n - 1))
}

/// The number of the last entry in the own chain's bundle `seq`; 0 before the first.
pub(crate) fn last_entry(connection: &Connection, grp: GroupRow, seq: u64) -> Result<u64, StoreError> {
    let own = own_chain(connection, grp)?;
    let mut find =
        connection.prepare_cached("SELECT first + count - 1 FROM bundle WHERE chain = ?1 AND seq = ?2")?;
    Ok(find.query_row(params![own.row, seq], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// When the last entry of the own chain's bundle `seq` was written, Unix milliseconds.
pub(crate) fn cut_at(connection: &Connection, grp: GroupRow, seq: u64) -> Result<Option<u64>, StoreError> {
    let own = own_chain(connection, grp)?;
    let last = last_entry(connection, grp, seq)?;
    let mut find = connection.prepare_cached("SELECT hlc FROM entry WHERE chain = ?1 AND n = ?2")?;
    let hlc: Option<u64> = find.query_row(params![own.row, last], |row| row.get(0)).optional()?;
    Ok(hlc.map(|hlc| Hlc(hlc).millis()))
}
