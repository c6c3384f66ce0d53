//! The folders themselves: announced by some device, or kept in step here.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use zerok_core::{FolderId, Hlc};
use zerok_protocol::DeviceId;

use super::FolderRow;
use crate::store::StoreError;
use crate::store::log::GroupRow;

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FolderInfo {
    /// Its row.
    pub(crate) row: FolderRow,
    /// The group's row.
    pub(crate) grp: GroupRow,
    /// Its id.
    pub(crate) id: FolderId,
    /// Its name.
    pub(crate) name: String,
    /// Where it is on this device; `None` if it is not.
    pub(crate) path: Option<PathBuf>,
}

const COLUMNS: &str = "id, grp, fid, name, path";

fn read(row: &SqlRow<'_>) -> Result<FolderInfo, StoreError> {
    Ok(FolderInfo {
        row: row.get(0)?,
        grp: row.get(1)?,
        id: FolderId::from(row.get::<_, [u8; 16]>(2)?),
        name: row.get(3)?,
        path: row.get::<_, Option<String>>(4)?.map(PathBuf::from),
    })
}

/// The folders of a group, or of all, that were not removed.
pub(crate) fn all(connection: &Connection, grp: Option<GroupRow>) -> Result<Vec<FolderInfo>, StoreError> {
    let mut find = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM folder WHERE (?1 IS NULL OR grp = ?1) AND (removed = 0 OR path IS NOT NULL) \
         ORDER BY name, fid"
    ))?;
    let mut rows = find.query([grp])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Takes in an announcement; an older one than the last changes nothing.
pub(crate) fn announce(
    connection: &Connection,
    grp: GroupRow,
    id: &FolderId,
    announced: &Announced<'_>,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO folder(grp, fid, name, created_by, removed, announced) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT(grp, fid) DO UPDATE SET name = ?3, created_by = ?4, removed = ?5, announced = ?6 \
             WHERE announced < ?6",
        )?
        .execute(params![
            grp,
            id.as_bytes(),
            announced.name,
            announced.created_by.as_bytes(),
            announced.removed,
            announced.hlc.0
        ])?;
    Ok(())
}

/// What an announcement says.
pub(crate) struct Announced<'a> {
    /// The folder's name.
    pub(crate) name: &'a str,
    /// Who added it.
    pub(crate) created_by: DeviceId,
    /// It is shared no more.
    pub(crate) removed: bool,
    /// When.
    pub(crate) hlc: Hlc,
}

/// The folder is kept in step at `path` from now on. What an earlier stay left in the index is forgotten: what is
/// absent from an empty index is not deleted.
pub(crate) fn settle_at(
    connection: &Connection,
    grp: GroupRow,
    id: &FolderId,
    path: &Path,
) -> Result<FolderInfo, StoreError> {
    let path = path.to_str().ok_or(StoreError::Damaged("a folder's path"))?;
    let row: FolderRow = connection
        .prepare_cached("UPDATE folder SET path = ?3, read = 0 WHERE grp = ?1 AND fid = ?2 RETURNING id")?
        .query_row(params![grp, id.as_bytes(), path], |r| r.get(0))?;
    forget(connection, row)?;
    get(connection, row)?.ok_or(StoreError::Damaged("a folder"))
}

/// The folder is not kept in step here any more.
pub(crate) fn leave(connection: &Connection, row: FolderRow) -> Result<(), StoreError> {
    connection.prepare_cached("UPDATE folder SET path = NULL, read = 0 WHERE id = ?1")?.execute([row])?;
    forget(connection, row)
}

fn forget(connection: &Connection, row: FolderRow) -> Result<(), StoreError> {
    for table in ["folder_path", "folder_record", "folder_pending", "folder_intent", "folder_problem"] {
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE folder = ?1"))?.execute([row])?;
    }
    Ok(())
}

/// One folder.
pub(crate) fn get(connection: &Connection, row: FolderRow) -> Result<Option<FolderInfo>, StoreError> {
    let mut find = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM folder WHERE id = ?1"))?;
    let mut rows = find.query([row])?;
    rows.next()?.map(read).transpose()
}

/// Up to where the folder's records are taken in.
pub(crate) fn read_position(connection: &Connection, row: FolderRow) -> Result<u64, StoreError> {
    Ok(connection.prepare_cached("SELECT read FROM folder WHERE id = ?1")?.query_row([row], |r| r.get(0))?)
}

/// They are taken in up to here.
pub(crate) fn set_read_position(
    connection: &Connection,
    row: FolderRow,
    read: u64,
) -> Result<(), StoreError> {
    connection.prepare_cached("UPDATE folder SET read = ?2 WHERE id = ?1")?.execute(params![row, read])?;
    Ok(())
}

/// Up to where a group's announcements are taken in.
pub(crate) fn announced_position(connection: &Connection, grp: GroupRow) -> Result<u64, StoreError> {
    let mut find = connection.prepare_cached("SELECT read FROM folder_announced WHERE grp = ?1")?;
    Ok(find.query_row([grp], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// They are taken in up to here.
pub(crate) fn set_announced_position(
    connection: &Connection,
    grp: GroupRow,
    read: u64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO folder_announced(grp, read) VALUES (?1, ?2)")?
        .execute(params![grp, read])?;
    Ok(())
}
