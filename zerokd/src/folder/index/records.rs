//! The undominated records of every path.
//!
//! An inline content is not stored a second time: its record is kept *elided*, as if it were chunked under a root of
//! zeros, with the size and hash that merging needs; the bytes stand in the log.

use rusqlite::{Connection, Row as SqlRow, params};
use zerok_core::{Content, ContentRef, Hlc, Kind, Record, RelPath, Version};
use zerok_protocol::{ChainId, EpochId, Hash};

use super::rows::kind_number;
use super::{FolderRow, below, join, split};
use crate::store::StoreError;

/// Where in the log a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    /// Its author's chain.
    pub(crate) chain: ChainId,
    /// Its number there.
    pub(crate) n: u64,
}

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Elided if its contents are inline.
    pub(crate) record: Record,
    /// Where it, or what it is derived from, stands in the log.
    pub(crate) source: Source,
    /// The path whose conflict it is derived from.
    pub(crate) origin: Option<String>,
}

const ELIDED: Hash = Hash([0; 32]);

/// The record with inline contents left out.
pub(crate) fn elide(record: &Record) -> Record {
    let content = match &record.content {
        Content::Inline(bytes) => Content::Chunked(ContentRef {
            root: ELIDED,
            epoch: EpochId { number: 0, tag: 0 },
            size: record.size,
            hash: Hash::of(bytes),
        }),
        other => other.clone(),
    };
    Record { content, ..record.clone() }
}

/// Were its contents left out?
pub(crate) fn is_elided(record: &Record) -> bool {
    matches!(&record.content, Content::Chunked(content) if content.root == ELIDED)
}

/// Tells records of one path apart: a derived copy is another row than the same record in the log.
fn digest(stored: &Stored) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&stored.record.to_bytes());
    hasher.update(stored.origin.as_deref().unwrap_or_default().as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(hasher.finalize().as_bytes().get(..8).unwrap_or(&[0; 8]));
    i64::from_be_bytes(first)
}

const COLUMNS: &str = "parent, name, origin, raw, kind, target, size, mtime, executable, owner_only, deleted, hash, \
                       root, epoch, tag, version, by_chain, hlc, chain, n";

fn read(row: &SqlRow<'_>) -> Result<Stored, StoreError> {
    const DAMAGED: StoreError = StoreError::Damaged("a folder's record");
    let key = join(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?);
    let path =
        RelPath::with_original(&key, row.get::<_, Option<String>>(3)?.as_deref()).map_err(|_| DAMAGED)?;
    let kind = match row.get::<_, i64>(4)? {
        0 => Kind::File,
        1 => Kind::Directory,
        2 => Kind::Symlink { target: row.get(5)? },
        _ => return Err(DAMAGED),
    };
    let size = row.get(6)?;
    let content = match row.get::<_, Option<[u8; 32]>>(11)? {
        None => Content::None,
        Some(hash) => {
            let root: Option<[u8; 32]> = row.get(12)?;
            let tag = row.get::<_, Option<i64>>(14)?.unwrap_or(0).cast_unsigned();
            let epoch = EpochId { number: row.get::<_, Option<u64>>(13)?.unwrap_or(0), tag };
            Content::Chunked(ContentRef { root: root.map_or(ELIDED, Hash), epoch, size, hash: Hash(hash) })
        }
    };
    let record = Record {
        path,
        kind,
        size,
        mtime_ns: row.get(7)?,
        executable: row.get(8)?,
        owner_only: row.get(9)?,
        content,
        deleted: row.get(10)?,
        version: Version::from_bytes(&row.get::<_, Vec<u8>>(15)?).map_err(|_| DAMAGED)?,
        by: ChainId(row.get(16)?),
        hlc: Hlc(row.get(17)?),
    };
    let source = Source { chain: ChainId(row.get(18)?), n: row.get(19)? };
    Ok(Stored { record, source, origin: row.get(2)? })
}

/// The records of a path, derived copies included.
pub(crate) fn of(connection: &Connection, folder: FolderRow, key: &str) -> Result<Vec<Stored>, StoreError> {
    let (parent, name) = split(key);
    let mut find = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM folder_record WHERE folder = ?1 AND parent = ?2 AND name = ?3 ORDER BY digest"
    ))?;
    let mut rows = find.query(params![folder, parent, name])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// The copies derived from a path's conflict.
pub(crate) fn derived_from(
    connection: &Connection,
    folder: FolderRow,
    key: &str,
) -> Result<Vec<Stored>, StoreError> {
    let mut find = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM folder_record WHERE folder = ?1 AND origin = ?2 ORDER BY parent, name, digest"
    ))?;
    let mut rows = find.query(params![folder, key])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Adds a record.
pub(crate) fn put(connection: &Connection, folder: FolderRow, stored: &Stored) -> Result<(), StoreError> {
    let record = &stored.record;
    let (parent, name) = split(record.path.key());
    let target = match &record.kind {
        Kind::Symlink { target } => Some(target),
        _ => None,
    };
    let content = match &record.content {
        Content::Chunked(content) => Some(content),
        _ => None,
    };
    let chunked = content.filter(|content| content.root != ELIDED);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO folder_record(folder, parent, name, digest, origin, raw, kind, target, size, mtime, \
             executable, owner_only, deleted, hash, root, epoch, tag, version, by_chain, hlc, chain, n) VALUES (?1, ?2, \
             ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)",
        )?
        .execute(params![
            folder,
            parent,
            name,
            digest(stored),
            stored.origin,
            record.path.original(),
            kind_number(&record.kind),
            target,
            record.size,
            record.mtime_ns,
            record.executable,
            record.owner_only,
            record.deleted,
            content.map(|c| c.hash.as_bytes()),
            chunked.map(|c| c.root.as_bytes()),
            chunked.map(|c| c.epoch.number),
            chunked.map(|c| c.epoch.tag.cast_signed()),
            record.version.to_bytes(),
            record.by.as_bytes(),
            record.hlc.0,
            stored.source.chain.as_bytes(),
            stored.source.n,
        ])?;
    Ok(())
}

/// Removes a record.
pub(crate) fn remove(connection: &Connection, folder: FolderRow, stored: &Stored) -> Result<(), StoreError> {
    let (parent, name) = split(stored.record.path.key());
    connection
        .prepare_cached(
            "DELETE FROM folder_record WHERE folder = ?1 AND parent = ?2 AND name = ?3 AND digest = ?4",
        )?
        .execute(params![folder, parent, name, digest(stored)])?;
    Ok(())
}

/// Does anything live below this path?
pub(crate) fn live_below(connection: &Connection, folder: FolderRow, key: &str) -> Result<bool, StoreError> {
    let (low, high) = below(key);
    let mut find = connection.prepare_cached(
        "SELECT EXISTS(SELECT 1 FROM folder_record WHERE folder = ?1 AND parent = ?2 AND deleted = 0) \
         OR EXISTS(SELECT 1 FROM folder_record WHERE folder = ?1 AND parent >= ?3 AND parent < ?4 AND deleted = 0)",
    )?;
    Ok(find.query_row(params![folder, key, low, high], |row| row.get(0))?)
}
