//! What stands in the way of a folder or of a path in it. Texts are for the person at this device; they stay in the
//! database and the local API.

use rusqlite::{Connection, params};

use super::FolderRow;
use crate::store::StoreError;

/// A problem; the path is empty when it is the folder's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FolderProblem {
    /// The path's key.
    pub(crate) path: String,
    /// For programs.
    pub(crate) code: String,
    /// For people.
    pub(crate) text: String,
    /// What to do about it.
    pub(crate) hint: String,
}

/// Most problems that are kept of one folder.
const MOST: u32 = 1000;

/// Notes a problem.
pub(crate) fn put(
    connection: &Connection,
    folder: FolderRow,
    problem: &FolderProblem,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO folder_problem(folder, path, code, text, hint) SELECT ?1, ?2, ?3, ?4, ?5 \
             WHERE (SELECT COUNT(*) FROM folder_problem WHERE folder = ?1) < ?6",
        )?
        .execute(params![folder, problem.path, problem.code, problem.text, problem.hint, MOST])?;
    Ok(())
}

/// A path has no problem any more.
pub(crate) fn clear(connection: &Connection, folder: FolderRow, path: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM folder_problem WHERE folder = ?1 AND path = ?2")?
        .execute(params![folder, path])?;
    Ok(())
}

/// One problem of a path is over.
pub(crate) fn clear_code(
    connection: &Connection,
    folder: FolderRow,
    path: &str,
    code: &str,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM folder_problem WHERE folder = ?1 AND path = ?2 AND code = ?3")?
        .execute(params![folder, path, code])?;
    Ok(())
}

/// Forgets the problems of paths that a scan finds anew.
pub(crate) fn clear_scanned(connection: &Connection, folder: FolderRow) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM folder_problem WHERE folder = ?1 AND code IN ('unsyncable', 'unreadable', 'name', 'ignore')",
        )?
        .execute([folder])?;
    Ok(())
}

/// The first problems, the folder's own before those of its paths.
pub(crate) fn list(
    connection: &Connection,
    folder: FolderRow,
    limit: u32,
) -> Result<Vec<FolderProblem>, StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT path, code, text, hint FROM folder_problem WHERE folder = ?1 ORDER BY path, code LIMIT ?2",
    )?;
    let rows = find.query_map(params![folder, limit], |row| {
        Ok(FolderProblem { path: row.get(0)?, code: row.get(1)?, text: row.get(2)?, hint: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
