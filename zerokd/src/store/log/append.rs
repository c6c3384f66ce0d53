//! Own entries get their numbers.

use bytes::Bytes;
use rusqlite::{Connection, params};
use zerok_core::{ContentRef, Entry, EntryKind, Hlc};

use super::{GroupRow, INSERT_ENTRY, Positions, StoreError, read::own_chain};
use crate::store::effects;

/// An entry to append. Its channel name was checked.
#[derive(Clone, Debug)]
pub(crate) struct NewEntry {
    /// The channel.
    pub channel: String,
    /// The key, for latest-per-key reads.
    pub key: Option<String>,
    /// Content that the entry names.
    pub refs: Vec<ContentRef>,
    /// The bytes.
    pub body: Bytes,
}

/// Where an appended entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Its number in the own chain.
    pub n: u64,
    /// Its place in the channel's merged log.
    pub pos: u64,
}

/// Takes the next HLC of the group, for what is written into an entry's body.
pub(crate) fn tick(connection: &Connection, grp: GroupRow, now_ms: u64) -> Result<Hlc, StoreError> {
    let own = own_chain(connection, grp)?;
    let hlc = Hlc::tick(own.hlc, now_ms);
    connection.prepare_cached("UPDATE chain SET hlc = ?2 WHERE id = ?1")?.execute(params![own.row, hlc.0])?;
    Ok(hlc)
}

/// Appends entries to the own chain and to their channels' merged logs.
pub(crate) fn append(
    connection: &Connection,
    grp: GroupRow,
    entries: &[NewEntry],
    now_ms: u64,
) -> Result<Vec<Appended>, StoreError> {
    let own = own_chain(connection, grp)?;
    let mut hlc = own.hlc;
    let mut positions = Positions::new(connection, grp);
    let mut insert = connection.prepare_cached(INSERT_ENTRY)?;
    let mut appended = Vec::with_capacity(entries.len());
    let mut n = own.next_n;
    for entry in entries {
        hlc = Hlc::tick(hlc, now_ms);
        let bytes = Entry {
            channel: entry.channel.clone(),
            key: entry.key.clone(),
            kind: EntryKind::Data,
            hlc,
            refs: entry.refs.clone(),
            body: entry.body.clone(),
        }
        .to_bytes();
        let (channel, next) = positions.channel(&entry.channel)?;
        insert.execute(params![own.row, n, channel, *next, hlc.0, entry.key, &bytes[..]])?;
        effects::released(&entry.channel);
        appended.push(Appended { n, pos: *next });
        *next += 1;
        n += 1;
    }
    positions.write_back()?;
    connection
        .prepare_cached("UPDATE chain SET next_n = ?2, hlc = ?3 WHERE id = ?1")?
        .execute(params![own.row, n, hlc.0])?;
    effects::outgoing();
    Ok(appended)
}
