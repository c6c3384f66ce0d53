//! What was last put on or taken from this disk.

use rusqlite::{Connection, Row as SqlRow, params};
use zerok_core::reconcile::{DiskState, Row};
use zerok_core::{Kind, RelPath, Version};
use zerok_protocol::Hash;

use super::{FolderRow, below, join, split};
use crate::folder::stat::{self, Stat};
use crate::store::StoreError;

/// A row, with what only the scanner needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathRow {
    /// Key, and this disk's spelling.
    pub(crate) path: RelPath,
    /// Version and state.
    pub(crate) row: Row,
    /// The stat as it was read back; meaningless without a state.
    pub(crate) stat: Stat,
    /// It may have changed without its stat showing it.
    pub(crate) racy: bool,
}

impl PathRow {
    /// Is the thing on disk, by its stat alone, the one of this row?
    pub(crate) fn is_unchanged(&self, now: &Stat) -> bool {
        let Some(state) = &self.row.state else { return false };
        match state.kind {
            Kind::Directory => now.kind == stat::Kind::Directory && now.owner_only() == state.owner_only,
            Kind::File | Kind::Symlink { .. } => {
                !self.racy
                    && self.stat.same_content_as(now)
                    && now.executable() == state.executable
                    && now.owner_only() == state.owner_only
            }
        }
    }
}

const COLUMNS: &str =
    "parent, name, raw, version, kind, target, size, mtime, inode, device, mode, hash, racy";

fn kind_of(tag: i64, target: Option<String>) -> Option<Kind> {
    Some(match tag {
        0 => Kind::File,
        1 => Kind::Directory,
        2 => Kind::Symlink { target: target? },
        _ => return None,
    })
}

/// The kind as a number of the database.
pub(super) fn kind_number(kind: &Kind) -> i64 {
    match kind {
        Kind::File => 0,
        Kind::Directory => 1,
        Kind::Symlink { .. } => 2,
    }
}

fn read(row: &SqlRow<'_>) -> Result<PathRow, StoreError> {
    const DAMAGED: StoreError = StoreError::Damaged("a folder's path");
    let key = join(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?);
    let path =
        RelPath::with_original(&key, row.get::<_, Option<String>>(2)?.as_deref()).map_err(|_| DAMAGED)?;
    let version = Version::from_bytes(&row.get::<_, Vec<u8>>(3)?).map_err(|_| DAMAGED)?;
    let tag: Option<i64> = row.get(4)?;
    let kind = tag.map(|tag| kind_of(tag, row.get(5).ok().flatten()).ok_or(DAMAGED)).transpose()?;
    let stat = Stat {
        kind: match kind {
            Some(Kind::Directory) => stat::Kind::Directory,
            Some(Kind::Symlink { .. }) => stat::Kind::Symlink,
            _ => stat::Kind::File,
        },
        size: row.get(6)?,
        mtime_ns: row.get(7)?,
        ctime_ns: 0,
        inode: row.get::<_, i64>(8)?.cast_unsigned(),
        device: row.get::<_, i64>(9)?.cast_unsigned(),
        mode: row.get(10)?,
    };
    let hash: Option<[u8; 32]> = row.get(11)?;
    let state = kind.map(|kind| DiskState {
        size: if kind == Kind::File { stat.size } else { 0 },
        mtime_ns: stat.mtime_ns,
        executable: kind == Kind::File && stat.executable(),
        owner_only: stat.owner_only(),
        hash: hash.map(Hash),
        kind,
    });
    Ok(PathRow { path, row: Row { version, state }, stat, racy: row.get(12)? })
}

/// The row of a path.
pub(crate) fn get(
    connection: &Connection,
    folder: FolderRow,
    key: &str,
) -> Result<Option<PathRow>, StoreError> {
    let (parent, name) = split(key);
    let mut find = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM folder_path WHERE folder = ?1 AND parent = ?2 AND name = ?3"
    ))?;
    let mut rows = find.query(params![folder, parent, name])?;
    rows.next()?.map(read).transpose()
}

/// Writes a row.
pub(crate) fn put(connection: &Connection, folder: FolderRow, row: &PathRow) -> Result<(), StoreError> {
    let (parent, name) = split(row.path.key());
    let state = row.row.state.as_ref();
    let kind = state.map(|s| kind_number(&s.kind));
    let target = state.and_then(|s| match &s.kind {
        Kind::Symlink { target } => Some(target),
        _ => None,
    });
    let hash = state.and_then(|s| s.hash.as_ref()).map(Hash::as_bytes);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO folder_path(folder, parent, name, raw, version, kind, target, size, mtime, inode, \
             device, mode, hash, racy) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            folder,
            parent,
            name,
            row.path.original(),
            row.row.version.to_bytes(),
            kind,
            target,
            row.stat.size,
            row.stat.mtime_ns,
            row.stat.inode.cast_signed(),
            row.stat.device.cast_signed(),
            row.stat.mode,
            hash,
            row.racy,
        ])?;
    Ok(())
}

/// Removes a row.
pub(crate) fn remove(connection: &Connection, folder: FolderRow, key: &str) -> Result<(), StoreError> {
    let (parent, name) = split(key);
    connection
        .prepare_cached("DELETE FROM folder_path WHERE folder = ?1 AND parent = ?2 AND name = ?3")?
        .execute(params![folder, parent, name])?;
    Ok(())
}

/// The rows of a directory's names after `after` and up to `to`, in the order of their bytes.
pub(crate) fn children(
    connection: &Connection,
    folder: FolderRow,
    parent: &str,
    after: Option<&str>,
    to: Option<&str>,
) -> Result<Vec<PathRow>, StoreError> {
    let mut find = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM folder_path WHERE folder = ?1 AND parent = ?2 AND name > COALESCE(?3, '') \
         AND (?4 IS NULL OR name <= ?4) ORDER BY name"
    ))?;
    let mut rows = find.query(params![folder, parent, after, to])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// The paths below a directory that were on this disk, at most `limit`, after the last one of the page before.
pub(crate) fn on_disk_below(
    connection: &Connection,
    folder: FolderRow,
    directory: &str,
    after: Option<(&str, &str)>,
    limit: usize,
) -> Result<Vec<RelPath>, StoreError> {
    let mut found = Vec::new();
    let (low, high) = below(directory);
    let deeper = after.filter(|(parent, _)| *parent != directory);
    if deeper.is_none() {
        let mut find = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM folder_path WHERE folder = ?1 AND parent = ?2 AND name > ?3 AND kind IS NOT NULL \
             ORDER BY name LIMIT ?4"
        ))?;
        let mut rows = find.query(params![folder, directory, after.map_or("", |(_, name)| name), limit])?;
        while let Some(row) = rows.next()? {
            found.push(read(row)?.path);
        }
    }
    let (parent, name) = deeper.unwrap_or((&low, ""));
    let mut find = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM folder_path WHERE folder = ?1 AND parent >= ?2 AND parent < ?3 \
         AND (parent, name) > (?2, ?4) AND kind IS NOT NULL ORDER BY parent, name LIMIT ?5"
    ))?;
    let mut rows = find.query(params![folder, parent, high, name, limit - found.len().min(limit)])?;
    while let Some(row) = rows.next()? {
        found.push(read(row)?.path);
    }
    Ok(found)
}

/// A large file on this disk that had these contents when it was last looked at.
pub(crate) fn with_content(
    connection: &Connection,
    folder: FolderRow,
    hash: &Hash,
) -> Result<Vec<PathRow>, StoreError> {
    let mut find = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM folder_path WHERE folder = ?1 AND hash = ?2 AND size > 32768 AND kind = 0 LIMIT 4"
    ))?;
    let mut rows = find.query(params![folder, hash.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Number of files and links on this disk, and the files' bytes.
pub(crate) fn count(connection: &Connection, folder: FolderRow) -> Result<(u64, u64), StoreError> {
    let mut sum = connection.prepare_cached(
        "SELECT COUNT(*), COALESCE(SUM(CASE kind WHEN 0 THEN size ELSE 0 END), 0) FROM folder_path \
         WHERE folder = ?1 AND kind IN (0, 2)",
    )?;
    Ok(sum.query_row([folder], |row| Ok((row.get(0)?, row.get(1)?)))?)
}
